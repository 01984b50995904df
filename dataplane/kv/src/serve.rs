//! From arguments to a serving process, and from its end to an exit code.
//!
//! Order: configuration, management thread (so that `Report` answers while recovery runs), journal
//! and recovery, listeners, event loop. The end goes backwards.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use orrery_api::kv::KvConfig;
use orrery_journal::{Journal, Options, RealDisk};
use orrery_kit::health::Health;
use orrery_kit::secrets::Secrets;
use orrery_kit::shutdown::Shutdown;
use orrery_kit::{EXIT_POISONED, listen, management};

use crate::config::{Config, Unusable};
use crate::machine::{Machine, MachineOptions, MemoryPolicy};
use crate::metrics::{self, Shared};
use crate::operand::{KvOperand, Loop};
use crate::persistence::PersistenceError;
use crate::persistence::log::Log;
use crate::persistence::recovery::{self, Recovered};
use crate::persistence::snapshots::Snapshots;
use crate::process;
use crate::server::listener::{ListenError, Listener};
use crate::server::requests::{QUEUE, Request};
use crate::server::settings::Settings;
use crate::server::{self, Parts, Shard};

/// What `orrery serve kv` was given.
#[derive(Debug, Clone)]
pub struct ServeArgs {
    /// The configuration file.
    pub config: PathBuf,
    /// Folder for journal and snapshots.
    pub data: PathBuf,
    /// Folder of secret files: `password`, `management-token`.
    pub secrets: Option<PathBuf>,
}

/// Failed to start or to end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] orrery_kit::config::ConfigError),
    #[error("failed to use the configuration: {0}")]
    Unusable(#[from] Unusable),
    #[error(transparent)]
    Secret(#[from] orrery_kit::secrets::SecretError),
    #[error(transparent)]
    Address(#[from] listen::ListenError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Management(#[from] management::ManagementError),
    #[error(transparent)]
    Persistence(#[from] PersistenceError),
    #[error("failed to use the data folder {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("failed to start the event loop: {0}")]
    Loop(#[from] std::io::Error),
}

/// Serves until SIGTERM, SIGINT or a failed journal; gives the exit code of the process.
pub fn run(args: &ServeArgs) -> Result<u8, ServeError> {
    let loaded = orrery_kit::config::load::<KvConfig>(&args.config)?;
    let config = Config::try_from(loaded.value)?;
    let secrets = Secrets::new(args.secrets.as_deref());
    let password = secrets.get("password")?;
    let shared = Arc::new(Shared::new(Health::default()));
    let event_loop = Arc::new(OnceLock::new());
    let operand = KvOperand::new(Arc::clone(&shared), loaded.hash, Arc::clone(&event_loop));
    let _management = management::start(
        management::Options {
            management: listen::address("management", SocketAddr::from(([127, 0, 0, 1], 9400)))?,
            http: listen::address("http", SocketAddr::from(([127, 0, 0, 1], 9401)))?,
            token: secrets.get("management-token")?,
        },
        Arc::new(operand),
        metrics::registry(Arc::clone(&shared), args.data.clone()),
        shared.health.clone(),
    )?;
    shared.health.set_not_ready("Recovering", "reading the journal");
    let (machine, recovered) = recover(&config, args)?;

    let listeners = listeners(&config)?;
    let settings = settings(&config, args, password.as_ref(), &listeners);
    let (requests, received) = mpsc::sync_channel(QUEUE);
    let (poll, waker) = server::poll_and_waker()?;
    let parts = Parts {
        id: 0,
        databases: config.databases,
        default_class: config.default_class,
        machine,
        declared: recovered.declared,
        snapshots: Snapshots::resume(
            recovered.snapshot_position,
            recovered.bytes_replayed,
            recovered.records_replayed,
        ),
        log: Log::new(recovered.journal, recovered.fenced_below),
        listeners,
        settings,
        password,
        run_id: run_id(),
        debug_enabled: config.debug_commands,
        snapshot_bytes: config.snapshot_after_bytes,
        requests: received,
        shared: Arc::clone(&shared),
    };
    let shard = Shard::new(poll, Arc::clone(&waker), parts)?;
    let to_loop = Loop { requests, waker };
    _ = event_loop.set(to_loop.clone());
    let _shutdown = Shutdown::on_signals(move || {
        // A loop that is gone has nothing left to drain.
        _ = to_loop.ask(Request::Shutdown);
    })?;
    serve(shard, &shared)
}

/// Runs the shard's thread to its end.
fn serve(shard: Shard, shared: &Shared) -> Result<u8, ServeError> {
    shared.health.set_ready();
    let thread =
        thread::Builder::new().name("shard-0".into()).spawn(move || shard.serve_until_end())?;
    let Ok(log) = thread.join() else {
        shared.health.set_dead();
        return Ok(EXIT_POISONED);
    };
    if log.is_failed() {
        shared.health.set_dead();
        tracing::error!(reason = log.refusal(), "the journal failed: ending for recovery");
        return Ok(EXIT_POISONED);
    }
    match log.close() {
        Ok(position) => {
            tracing::info!(position, "stopped");
            Ok(0)
        }
        Err(error) => {
            tracing::error!(%error, "failed to close the journal");
            Ok(EXIT_POISONED)
        }
    }
}

fn recover(config: &Config, args: &ServeArgs) -> Result<(Machine, Recovered), ServeError> {
    let started = std::time::Instant::now();
    let folder = args.data.join("shard-0");
    let folder_error = |source| ServeError::Folder { path: folder.clone(), source };
    std::fs::create_dir_all(&folder).map_err(folder_error)?;
    let disk = RealDisk::new(&folder).map_err(folder_error)?;
    let opened =
        Journal::open(Arc::new(disk), Options::default()).map_err(PersistenceError::Journal)?;
    let default_class = config.default_class;
    let mut machine = Machine::new(&MachineOptions {
        databases: config.databases,
        default_class,
        hash_seed: random(),
        random_seed: random(),
    });
    let recovered = recovery::recover(opened, &mut machine, config.databases, default_class)?;
    machine.set_memory_limit(config.memory_limit_bytes, MemoryPolicy::default());
    tracing::info!(
        keys = recovered.keys_loaded,
        records = recovered.records_replayed,
        snapshot = recovered.snapshot_position,
        milliseconds = started.elapsed().as_millis() as u64,
        "recovered"
    );
    Ok((machine, recovered))
}

fn listeners(config: &Config) -> Result<Vec<Listener>, ServeError> {
    let address = listen::address("resp", SocketAddr::from(([127, 0, 0, 1], 6379)))?;
    let mut listeners = vec![Listener::tcp(address, false)?];
    if let Some(path) = &config.unix_socket {
        listeners.push(Listener::unix(path)?);
    }
    if let Some(address) = listeners[0].local_address() {
        tracing::info!(%address, "listening");
    }
    Ok(listeners)
}

fn settings(
    config: &Config,
    args: &ServeArgs,
    password: Option<&orrery_kit::secrets::Secret>,
    listeners: &[Listener],
) -> Settings {
    let mut settings = Settings::default();
    if let Some(address) = listeners[0].local_address() {
        settings.put("port", address.port().to_string());
        settings.put("bind", address.ip().to_string());
    }
    settings.put("databases", config.databases.to_string());
    settings.put("maxclients", process::raise_file_limit(config.clients_max).to_string());
    settings.put("maxmemory", config.memory_limit_bytes.to_string());
    if let Some(path) = &config.unix_socket {
        settings.put("unixsocket", path.display().to_string());
    }
    settings.put("dir", args.data.display().to_string());
    settings.put("enable-debug-command", if config.debug_commands { "yes" } else { "no" });
    if password.is_some() {
        // Shown as set, never as text.
        settings.put("requirepass", "(secret)");
    }
    settings
}

fn random() -> u64 {
    use orrery_kit::env::{Env, SystemEnv};
    SystemEnv::default().random()
}

/// Forty hexadecimal digits that name this run.
fn run_id() -> String {
    let digits = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    digits[..40].to_owned()
}
