//! From arguments to a serving runner, and from SIGTERM to its end.
//!
//! The end: no new runs; those that go on have the time of grace; then whoever asked has a moment to
//! hear how they ended.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orrery_api::scheduler::runner::{KILL_AFTER_SECONDS, RUNNER_PORT, RUNNER_TOKEN_KEY};
use orrery_kit::listen;
use orrery_kit::secrets::{SecretError, Secrets};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, timeout};

use crate::api::{Access, router};
use crate::leftovers;
use crate::listen::accept;
use crate::runs::Runs;

/// How often processes that commands left behind are looked for.
const CLEAN_EVERY: Duration = Duration::from_secs(5);
/// How long ends of runs that nobody heard of are kept once the pod stops.
const TELL_WITHIN: Duration = Duration::from_secs(10);
/// Longest time for commands to end once they are told to, output included.
const END_WITHIN: Duration = Duration::from_secs(KILL_AFTER_SECONDS + 5);

/// How a runner works.
#[derive(Debug, Clone, Default)]
pub struct RunnerArgs {
    /// Folder with the file `token`. Without it only this machine may ask.
    pub secrets: Option<PathBuf>,
    /// Runs at the same time, 1 at least.
    pub runs_max: usize,
    /// How long runs may go on after SIGTERM.
    pub grace: Duration,
}

/// Why a runner cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    #[error(transparent)]
    Address(#[from] listen::ListenError),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("failed to listen on {0} without a token: others could run commands here")]
    Open(SocketAddr),
    #[error("failed to listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("failed to start: {0}")]
    Start(#[from] std::io::Error),
}

/// Serves until SIGTERM or SIGINT, and then until its runs are over or the time of grace is.
pub fn run(args: &RunnerArgs) -> Result<(), RunnerError> {
    let address = listen::address("runner", SocketAddr::from(([127, 0, 0, 1], RUNNER_PORT)))?;
    let token = Secrets::new(args.secrets.as_deref()).get(RUNNER_TOKEN_KEY)?;
    let access = Access::of(token, address).ok_or(RunnerError::Open(address))?;
    leftovers::adopt();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(args, address, access));
    // Output that nobody takes holds a thread.
    runtime.shutdown_background();
    ended
}

async fn serve(args: &RunnerArgs, address: SocketAddr, access: Access) -> Result<(), RunnerError> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|source| RunnerError::Listen { address, source })?;
    let runs = Arc::new(Runs::new(args.runs_max));
    tokio::spawn(accept(listener, router(Arc::clone(&runs), access)));
    tracing::info!(%address, runs_max = args.runs_max, "ready for runs");
    let mut clean = interval(CLEAN_EVERY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = clean.tick() => runs.clean(),
        }
    }
    runs.stop();
    let mut open = runs.open();
    tracing::info!(runs = open.borrow().0, "stops: no new runs begin");
    if timeout(args.grace, open.wait_for(|(going_on, _)| *going_on == 0)).await.is_err() {
        tracing::warn!("ended what goes on: the time of grace is over");
        runs.end_all();
        _ = timeout(END_WITHIN, open.wait_for(|(going_on, _)| *going_on == 0)).await.is_ok();
    }
    _ = timeout(TELL_WITHIN, open.wait_for(|open| *open == (0, 0))).await.is_ok();
    Ok(())
}
