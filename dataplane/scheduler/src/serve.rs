//! From arguments to a serving process, and from its end to an exit code.
//!
//! Order: configuration, management thread (so that `Report` answers while recovery runs), partitions,
//! API. The end goes backwards.

mod course;
mod fence;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use orrery_api::scheduler::SchedulerConfig;
use orrery_api::scheduler::config::API_TOKEN_KEY;
use orrery_carrying::CarryingError;
use orrery_kit::certificates::CertificateError;
use orrery_kit::env::{Env, SystemEnv};
use orrery_kit::health::Health;
use orrery_kit::identity::Identity;
use orrery_kit::secrets::Secrets;
use orrery_kit::volume::Volume;
use orrery_kit::{EXIT_POISONED, listen, management};
use orrery_recurrence::Zones;

use self::course::{Served, carriers};
use crate::archive::{self, Archives, Stores};
use crate::assembly::{Assembly, AssemblyError, Parts, snapshot_after_bytes};
use crate::dispatch::Options;
use crate::engine::Resolver;
use crate::operand::SchedulerOperand;
use crate::ownership::{StandbyError, Standing};
use crate::partition::{Handle, Partition, Poisoned, RecoverError};
use crate::{api, metrics};

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
    /// Folder of what is read again when it changes: whether anything may be launched or changed.
    pub live: Option<PathBuf>,
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
    Assembly(#[from] AssemblyError),
    #[error(transparent)]
    Carrying(#[from] CarryingError),
    #[error(transparent)]
    Standby(#[from] StandbyError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error(transparent)]
    Archive(#[from] archive::Refused),
    #[error(transparent)]
    FromArchive(#[from] orrery_archiving::recover::RecoverError),
    #[error("failed to use the data folder {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Api(#[from] api::ApiError),
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
    let Stores { archive, recovery } = Stores::of(&config, snapshot_after_bytes(&config))?;
    let archives = archive.map(|archive| Arc::new(Archives::new(archive, partitions)));
    let secrets = Secrets::new(args.secrets.as_deref());
    let token = secrets.get(API_TOKEN_KEY)?;
    let identity = match &args.identity {
        Some((folder, name)) => Some(Arc::new(Identity::load(folder, name)?)),
        None => None,
    };
    let env: Arc<dyn Env> = Arc::new(SystemEnv::default());
    let health = Health::default();
    health.set_not_ready("Recovering", "reading the journals");
    let carriers = carriers(&config, partitions)?;
    let standing = Arc::new(match &carriers {
        Some(_) => Standing::grouped(),
        None => Standing::alone(),
    });
    let mut parts = Parts {
        health: health.clone(),
        standing: Arc::clone(&standing),
        targets: args.targets.as_deref(),
        ..Parts::alone(
            &config,
            Resolver::unnamed(&config.targets)
                .with_pools(&config.pools)
                .in_namespace(&config.object.namespace),
            Arc::clone(&env),
        )
    };
    if let Some(folder) = std::env::var_os(ZONES) {
        parts.zones = Zones::folder(PathBuf::from(folder));
    }
    // Without a token there is no cluster, and whoever is on this machine may do all of this.
    parts.dispatch = Options { allow_loopback: token.is_none(), ..parts.dispatch };
    let mut assembly = Assembly::new(parts)?;
    assembly.archived = archives.iter().flat_map(|archives| archives.each.clone()).collect();
    let crew = assembly.crew.clone();
    let operand = SchedulerOperand::new(
        Arc::clone(&assembly.engine),
        Arc::clone(&crew.dispatcher),
        health.clone(),
        loaded.hash,
        identity.clone(),
        Arc::clone(&env),
        Volume::of(args.data.clone()),
    )
    .with_archives(archives.clone());
    let _management = management::start(
        management::Options {
            management: listen::address("management", SocketAddr::from(([127, 0, 0, 1], 9400)))?,
            http: listen::address("http", SocketAddr::from(([127, 0, 0, 1], 9401)))?,
            token: secrets.get("management-token")?,
            identity,
        },
        Arc::new(operand),
        metrics::registry(
            Arc::clone(&crew.shared),
            Arc::clone(&crew.dispatcher),
            archives.clone(),
            health.clone(),
            args.data.clone(),
        ),
        health,
    )?;
    let near = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let grpc = config.grpc.then(|| listen::address("grpc", near(9090))).transpose()?;
    let options = api::Options {
        http: listen::address("api", near(8080))?,
        grpc,
        token,
        tls: args.tls.clone(),
    };
    let serve = {
        let (engine, crew) = (Arc::clone(&assembly.engine), crew.clone());
        move || {
            let started = api::start(options, engine, crew.dispatcher, crew.env);
            started.map_err(ServeError::from)
        }
    };
    if let Some(live) = &args.live {
        fence::watch(live, &crew.shared, &assembly.handles)?;
    }
    let served = Served { args, config: &config, env: Arc::clone(&env), recovery, archives };
    let ended = match carriers {
        None => served.alone(assembly, serve)?,
        Some(carriers) => {
            // Who stands by says so to clients.
            let api = serve()?;
            let ended = served.grouped(assembly, carriers, &standing)?;
            drop(api);
            ended
        }
    };
    crew.dispatcher.stop(Duration::ZERO);
    Ok(ended)
}

/// Runs every partition to its end. One that cannot go on ends the others in order.
fn work(partitions: Vec<Partition>, handles: &[Handle]) -> Result<u8, ServeError> {
    let all = handles.to_vec();
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
