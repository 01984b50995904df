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
//! | the same with types | `grpc` |
//! | what this is | `openapi`, `page` |
//!
//! Must not: decide anything about jobs. It reads requests, asks the engine, and writes answers.

mod access;
mod ahead;
mod bulk;
mod dkron;
pub mod grpc;
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
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use orrery_kit::certificates::CertificateError;
use orrery_kit::env::Env;
use orrery_kit::secrets::Secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::listen::Protocol;
use self::problem::Problem;
use self::tls::Certificates;
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
    /// Where REST listens.
    pub address: SocketAddr,
    /// Where gRPC does.
    pub grpc: Option<SocketAddr>,
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

/// Where and for whom the API is served.
#[derive(Debug)]
pub struct Options {
    /// REST, and the page.
    pub http: SocketAddr,
    /// gRPC; none: it is not served.
    pub grpc: Option<SocketAddr>,
    /// Whoever does not show it is refused; none: whoever is not on this machine.
    pub token: Option<Secret>,
    /// Folder of the certificate; with it TLS alone is spoken.
    pub tls: Option<PathBuf>,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("failed to listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("failed to start the threads of the API: {0}")]
    Start(#[from] std::io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Serves the API.
pub fn start(
    options: Options,
    engine: Arc<Engine>,
    dispatcher: Arc<Dispatcher>,
    env: Arc<dyn Env>,
) -> Result<Api, ApiError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(listen::BLOCKING_MAX)
        .thread_name("api")
        .enable_all()
        .build()?;
    let http = Door::open(options.http, Protocol::Http1, options.tls.as_deref())?;
    let grpc = options.grpc.map(|at| Door::open(at, Protocol::Http2, options.tls.as_deref()));
    let grpc = grpc.transpose()?;
    let address = http.address;
    let is_paused = AtomicBool::new(false);
    let (bulk, reading) = (Semaphore::new(BULK_MAX), Arc::new(Semaphore::new(READING_MAX)));
    let token = options.token;
    let app = App { engine, dispatcher, token, env, address, is_paused, bulk, reading };
    let router = routes::router(Arc::new(app));
    let grpc_address = grpc.as_ref().map(|door| door.address);
    if let Some(door) = grpc {
        door.serve(&runtime, grpc::router(router.clone()))?;
    }
    http.serve(&runtime, router)?;
    Ok(Api { address, grpc: grpc_address, runtime: Some(runtime) })
}

/// A port, and what is spoken there.
struct Door {
    listener: std::net::TcpListener,
    address: SocketAddr,
    protocol: Protocol,
    tls: Option<Certificates>,
}

impl Door {
    fn open(at: SocketAddr, protocol: Protocol, tls: Option<&Path>) -> Result<Self, ApiError> {
        let failed = |source| ApiError::Listen { address: at, source };
        let listener = std::net::TcpListener::bind(at).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tls = tls.map(|folder| Certificates::load(folder, protocol.name())).transpose()?;
        Ok(Self { listener, address, protocol, tls })
    }

    fn serve(self, runtime: &tokio::runtime::Runtime, router: Router) -> std::io::Result<()> {
        let _entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        runtime.spawn(listen::accept(listener, router, self.protocol, self.tls));
        Ok(())
    }
}
