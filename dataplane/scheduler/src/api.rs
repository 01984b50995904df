//! What clients speak: REST below `/v1`, and a page for people at `/`.
//!
//! | part | modules |
//! |---|---|
//! | who is let in, and how much of it | `listen`, `tls`, `stall`, `access`, `timed` |
//! | which route is whose | `routes` |
//! | what comes in and what goes out | `input`, `problem` |
//! | jobs and runs | `jobs`, `bulk`, `once`, `runs`, `ledger` |
//! | rules and what lies ahead | `rules`, `ahead` |
//! | the engine as a whole | `status` |
//! | Dkron's routes | `dkron` |
//! | what this is | `openapi`, `page` |
//!
//! Must not: decide anything about jobs. It reads requests, asks the engine, and writes answers.

mod access;
mod ahead;
mod bulk;
mod dkron;
mod input;
mod jobs;
mod ledger;
mod listen;
mod once;
mod openapi;
mod page;
mod problem;
mod routes;
mod rules;
mod runs;
mod stall;
mod status;
mod timed;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use orrery_kit::env::Env;
use orrery_kit::secrets::Secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::tls::Certificates;

use self::problem::Problem;
use crate::dispatch::Dispatcher;
use crate::engine::Engine;

/// How long work that was begun may take to end once the API stops.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Requests with many jobs at the same time: each holds its body, and jobs made of it.
const BULK_MAX: usize = 4;
/// Requests at the same time that read ledgers: each holds a file of one, and a thread.
const READING_MAX: usize = 4;

/// The running API; dropping it stops it.
#[derive(Debug)]
pub struct Api {
    /// Where it listens.
    pub address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(END_PATIENCE);
        }
    }
}

/// What handlers work with.
pub(crate) struct App {
    engine: Arc<Engine>,
    dispatcher: Arc<Dispatcher>,
    token: Option<Secret>,
    env: Arc<dyn Env>,
    /// Where it listens.
    address: SocketAddr,
    /// New jobs are refused by Dkron's routes.
    is_paused: AtomicBool,
    /// Room for requests with many jobs; those behind wait.
    bulk: Semaphore,
    /// Room for requests that read ledgers; those behind are refused.
    reading: Arc<Semaphore>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl App {
    /// The present second.
    fn now(&self) -> i64 {
        self.now_ms().div_euclid(1000)
    }

    fn now_ms(&self) -> i64 {
        self.env.wall_us().div_euclid(1000)
    }

    /// Room to read ledgers, until it is dropped.
    fn reader(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let room = Arc::clone(&self.reading).try_acquire_owned();
        room.map_err(|_| {
            let detail = format!("{READING_MAX} requests read ledgers already: try again");
            Problem::new(http::StatusCode::TOO_MANY_REQUESTS, "Busy", detail)
        })
    }

    /// The name of this process, where one is asked for.
    fn node(&self) -> String {
        let object = &self.engine.config.object;
        if object.name.is_empty() { "orrery".to_owned() } else { object.name.clone() }
    }
}

/// Serves the API. With a token, whoever does not show it is refused; without one, whoever is not on
/// this machine. With certificates it speaks TLS alone.
pub fn start(
    address: SocketAddr,
    token: Option<Secret>,
    tls: Option<Certificates>,
    engine: Arc<Engine>,
    dispatcher: Arc<Dispatcher>,
    env: Arc<dyn Env>,
) -> std::io::Result<Api> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(listen::BLOCKING_MAX)
        .thread_name("api")
        .enable_all()
        .build()?;
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let is_paused = AtomicBool::new(false);
    let (bulk, reading) = (Semaphore::new(BULK_MAX), Arc::new(Semaphore::new(READING_MAX)));
    let app = App { engine, dispatcher, token, env, address, is_paused, bulk, reading };
    let router = routes::router(Arc::new(app));
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    runtime.spawn(listen::accept(listener, router, tls));
    Ok(Api { address, runtime: Some(runtime) })
}
