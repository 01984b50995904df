//! From arguments to a serving process, and from its end to an exit code.
//!
//! Order: configuration, management thread (so that `Report` answers while recovery runs), partitions,
//! API. The end goes backwards.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use orrery_api::scheduler::SchedulerConfig;
use orrery_api::scheduler::config::API_TOKEN_KEY;
use orrery_kit::certificates::CertificateError;
use orrery_kit::env::{Env, SystemEnv};
use orrery_kit::health::Health;
use orrery_kit::identity::Identity;
use orrery_kit::secrets::Secrets;
use orrery_kit::shutdown::Shutdown;
use orrery_kit::volume::Volume;
use orrery_kit::{EXIT_POISONED, listen, management};
use orrery_recurrence::Zones;

use crate::api;
use crate::dispatch::{Dispatcher, Options, Settled};
use crate::engine::{Engine, Resolver, Shared, TargetError, targets};
use crate::instance;
use crate::machine::Bounds;
use crate::machine::definition::CatchUp;
use crate::metrics;
use crate::operand::SchedulerOperand;
use crate::partition::{Handle, Partition, PartitionOptions, Poisoned, RecoverError};

/// Folder of the partitions in the data folder.
const PARTITIONS: &str = "partitions";
/// Bytes of journal of one partition behind which it writes a snapshot.
const SNAPSHOT_AFTER_BYTES: u64 = 16 << 20;
/// Runs in flight of the whole process, queued at their targets or sent.
const RUNNING_MAX: usize = 200_000;
/// Of those, runs to one target: the rest stay due, undecided, until it has answered some.
const OF_TARGET_MAX: usize = 20_000;
/// Folder with a newer time zone database than the one that is built in.
const ZONES: &str = "TZDIR";

/// Where everything of a process is.
#[derive(Debug, Clone, Default)]
pub struct ServeArgs {
    /// The configuration file.
    pub config: PathBuf,
    /// The data folder.
    pub data: PathBuf,
    /// Folder of the generated Secret.
    pub secrets: Option<PathBuf>,
    /// Folder with the certificate for clients.
    pub tls: Option<PathBuf>,
    /// Folder of the certificate of this process, and the name that its kind has.
    pub identity: Option<(PathBuf, String)>,
    /// Folder with one folder per target that has Secrets: `<target>/auth/…`, `<target>/signing/…`.
    pub targets: Option<PathBuf>,
}

/// Why a process cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Config(#[from] orrery_kit::config::ConfigError),
    #[error("{0} partitions: their number is a power of two from 1 to 256")]
    Partitions(i32),
    #[error(transparent)]
    Listen(#[from] listen::ListenError),
    #[error(transparent)]
    Secret(#[from] orrery_kit::secrets::SecretError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Management(#[from] management::ManagementError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("failed to use the data folder {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error("failed to listen on {address}: {source}")]
    Api { address: SocketAddr, source: std::io::Error },
    #[error("failed to start a thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Serves until SIGTERM, SIGINT or a failed journal; gives the exit code of the process.
pub fn run(args: &ServeArgs) -> Result<u8, ServeError> {
    // Targets may speak TLS, and the management port does. The process may have one already.
    _ = rustls::crypto::ring::default_provider().install_default();
    let loaded = orrery_kit::config::load::<SchedulerConfig>(&args.config)?;
    let config = loaded.value;
    let partitions = u16::try_from(config.partitions).unwrap_or(0);
    if !partitions.is_power_of_two() || partitions > 256 {
        return Err(ServeError::Partitions(config.partitions));
    }
    let secrets = Secrets::new(args.secrets.as_deref());
    let token = secrets.get(API_TOKEN_KEY)?;
    let identity = match &args.identity {
        Some((folder, name)) => Some(Arc::new(Identity::load(folder, name)?)),
        None => None,
    };
    let env: Arc<dyn Env> = Arc::new(SystemEnv::default());
    let health = Health::default();
    health.set_not_ready("Recovering", "reading the journals");
    let shared = Arc::new(Shared::new(partitions, health.clone()));
    let name = instance::name(&args.data, &*env)
        .map_err(|source| ServeError::Folder { path: args.data.clone(), source })?;
    let engine = format!("{}_{}_{name}", config.object.namespace, config.object.name);
    let resolver = Arc::new(Resolver::new(engine, &config.targets));
    let (handles, mailboxes): (Vec<Handle>, Vec<_>) = (0..partitions)
        .map(Partition::handle)
        .map(|(handle, mailbox)| (handle.clone(), (handle, mailbox)))
        .unzip();
    let zones = std::env::var_os(ZONES)
        .map_or_else(Zones::bundled, |folder| Zones::folder(PathBuf::from(folder)));
    let engine = Arc::new(Engine::new(
        config.clone(),
        handles.clone(),
        zones,
        Arc::clone(&resolver),
        Arc::clone(&shared),
    ));
    let dispatcher = {
        let handles = handles.clone();
        let options = Options {
            calls_max: RUNNING_MAX,
            // Without a token there is no cluster, and whoever is on this machine may do all of this.
            allow_loopback: token.is_none(),
            ..Options::default()
        };
        let targets = targets(&config.targets, args.targets.as_deref())?;
        Arc::new(Dispatcher::start_batched(options, targets, move |settled| {
            for Settled { run, attempt, outcome } in settled {
                if let Some(handle) = handles.get(usize::from(run.partition)) {
                    handle.outcome(run.number, attempt, outcome);
                }
            }
        })?)
    };
    let operand = SchedulerOperand::new(
        Arc::clone(&engine),
        health.clone(),
        loaded.hash,
        identity.clone(),
        Arc::clone(&env),
        Volume::of(args.data.clone()),
    );
    let _management = management::start(
        management::Options {
            management: listen::address("management", SocketAddr::from(([127, 0, 0, 1], 9400)))?,
            http: listen::address("http", SocketAddr::from(([127, 0, 0, 1], 9401)))?,
            token: secrets.get("management-token")?,
            identity,
        },
        Arc::new(operand),
        metrics::registry(
            Arc::clone(&shared),
            Arc::clone(&dispatcher),
            health.clone(),
            args.data.clone(),
        ),
        health.clone(),
    )?;
    let peers: Arc<[Handle]> = handles.clone().into();
    let mut opened = vec![];
    for (id, handle) in mailboxes.into_iter().enumerate() {
        let id = id as u16;
        let options = PartitionOptions {
            id,
            folder: args.data.join(PARTITIONS).join(id.to_string()),
            bounds: bounds(&config, partitions),
            history_seconds: config.history.keep_seconds,
            snapshot_after_bytes: config
                .snapshot_after_bytes
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(SNAPSHOT_AFTER_BYTES),
            peers: Arc::clone(&peers),
        };
        opened.push(Partition::open(
            options,
            Arc::clone(&env),
            Arc::clone(&dispatcher),
            Arc::clone(&resolver),
            Arc::clone(&shared),
            handle,
        )?);
    }
    let address = listen::address("api", SocketAddr::from(([127, 0, 0, 1], 8080)))?;
    let api = api::start(address, token, engine, Arc::clone(&dispatcher), env)
        .map_err(|source| ServeError::Api { address, source })?;
    let ended = work(opened, &handles)?;
    drop(api);
    dispatcher.stop(Duration::ZERO);
    Ok(ended)
}

/// What a partition may have in flight, and how it makes up for what was missed.
fn bounds(config: &SchedulerConfig, partitions: u16) -> Bounds {
    let catch_up = &config.catch_up_default;
    Bounds {
        catch_up: CatchUp {
            policy: catch_up.policy,
            runs_max: u64::try_from(catch_up.max_runs).unwrap_or(1),
            seconds_max: catch_up.max_seconds,
        },
        running_max: RUNNING_MAX / usize::from(partitions),
        of_target_max: OF_TARGET_MAX / usize::from(partitions),
    }
}

/// Runs every partition to its end. One that cannot go on ends the others in order.
fn work(partitions: Vec<Partition>, handles: &[Handle]) -> Result<u8, ServeError> {
    let all = handles.to_vec();
    let _shutdown = Shutdown::on_signals({
        let all = all.clone();
        move || all.iter().for_each(Handle::end)
    })?;
    let mut threads: Vec<JoinHandle<Result<(), Poisoned>>> = vec![];
    for (partition, handle) in partitions.into_iter().zip(handles) {
        let all = all.clone();
        let name = format!("partition-{}", handle.partition);
        threads.push(thread::Builder::new().name(name).spawn(move || {
            let ended = partition.run();
            all.iter().for_each(Handle::end);
            ended
        })?);
    }
    let mut code = 0;
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "a partition cannot go on: the process begins again");
                code = EXIT_POISONED;
            }
            Err(_) => {
                tracing::error!("a partition panicked: the process begins again");
                code = EXIT_POISONED;
            }
        }
    }
    Ok(code)
}
