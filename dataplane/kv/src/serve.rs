//! From arguments to a serving process, and from its end to an exit code.
//!
//! Order: configuration, management thread (so that `Report` answers while recovery runs), journal
//! and recovery, listeners, event loop. The end goes backwards.

mod doors;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use orrery_api::kv::KvConfig;
use orrery_journal::{Carrier, JournalError};
use orrery_kit::certificates::CertificateError;
use orrery_kit::health::Health;
use orrery_kit::identity::Identity;
use orrery_kit::secrets::{Secret, Secrets};
use orrery_kit::shutdown::Shutdown;
use orrery_kit::{EXIT_POISONED, listen, management};
use orrery_operand::v1::Role;

use crate::adopt::{self, Adoption, Tls};
use crate::archive;
use crate::archive::config::RecoveryConfig;
use crate::archive::post::Posts;
use crate::archive::recover::RecoverError;
use crate::archive::writer::{Archiver, Assignment};
use crate::carrying::{self, CarryingError};
use crate::config::{Config, Unusable};
use crate::machine::{Machine, MachineOptions, MemoryPolicy};
use crate::metrics::{self, Shared, View};
use crate::operand::{Archiving, KvOperand, Loop};
use crate::persistence::PersistenceError;
use crate::persistence::log::Log;
use crate::persistence::recovery::{self, Recovered};
use crate::persistence::snapshots::Snapshots;
use crate::replication;
use crate::replication::copy::CopyError;
use crate::replication::grants::{Grants, GrantsError};
use crate::replication::lease::Moments;
use crate::server::fence::Fence;
use crate::server::group::{Group, Membership};
use crate::server::listener::ListenError;
use crate::server::requests::{QUEUE, Request};
use crate::server::settings::Settings;
use crate::server::users::file::UsersFile;
use crate::server::users::{Users, UsersError};
use crate::server::{self, Left, Parts, Seat, Shard};
use crate::volume::Volume;
use crate::watch;
use crate::watch::http::WatchError;

/// Longest wait until those who read a journal have let go of it: the archiver, links to followers.
const LET_GO: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// Name of the port for clients that speak HTTP.
const API: &str = "api";
/// Environment variable with the name of this process to its group.
const POD: &str = "ORRERY_POD";

/// What `orrery serve kv` was given.
#[derive(Debug, Clone)]
pub struct ServeArgs {
    /// The configuration file.
    pub config: PathBuf,
    /// Folder for journal and snapshots.
    pub data: PathBuf,
    /// Folder of secret files: `password`, `management-token`.
    pub secrets: Option<PathBuf>,
    /// Folder of `tls.crt`, `tls.key` and perhaps `ca.crt`; with it, TCP clients must speak TLS.
    pub tls: Option<PathBuf>,
    /// Folder of the certificate that this process shows its operator and the other processes of its
    /// object, and the name those have in common.
    pub identity: Option<(PathBuf, String)>,
    /// Folder of the Secret of a Redis to take over: `address`, `username`, `password`. With it, this
    /// process follows that Redis and refuses writes of clients.
    pub adopt: Option<PathBuf>,
    /// Folder of `ca.crt`, and perhaps `tls.crt` and `tls.key`: that Redis speaks TLS.
    pub adopt_tls: Option<PathBuf>,
    /// The name its certificate must have; else it is the host of its address.
    pub adopt_name: Option<String>,
    /// Folder of what is read again when it changes: the file with the users, see [`USERS_FILE`]. Without
    /// it there is only the user `default`.
    ///
    /// [`USERS_FILE`]: orrery_api::kv::acl::USERS_FILE
    pub live: Option<PathBuf>,
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
    Watch(#[from] WatchError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Management(#[from] management::ManagementError),
    #[error(transparent)]
    Persistence(#[from] PersistenceError),
    #[error(transparent)]
    Grants(#[from] GrantsError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error(transparent)]
    Carrying(#[from] CarryingError),
    #[error("failed to use the data folder {path}: {source}")]
    Folder { path: PathBuf, source: std::io::Error },
    #[error(
        "the data folder holds half of a Redis that was being taken over: set spec.adoptFrom again \
         and wait until it is complete, or make a new object"
    )]
    HalfAdopted,
    #[error(transparent)]
    Users(#[from] UsersError),
    #[error("a group cannot take a Redis over")]
    AdoptInGroup,
    #[error(
        "followers cannot come by the port of clients that speak TLS: the pods of a group with \
         spec.resp.tls need certificates of their own, which the operator does not give"
    )]
    TlsInGroup,
    #[error("failed to start the event loop: {0}")]
    Loop(#[from] std::io::Error),
}

/// Serves until SIGTERM, SIGINT or a failed journal; gives the exit code of the process.
pub fn run(args: &ServeArgs) -> Result<u8, ServeError> {
    let loaded = orrery_kit::config::load::<KvConfig>(&args.config)?;
    let config = Config::try_from(loaded.value)?;
    let secrets = Secrets::new(args.secrets.as_deref());
    let logins = logins(secrets.get("password")?.as_ref(), args)?;
    let identity = identity(args)?;
    let membership = membership(&config, args, &secrets, identity.clone())?;
    let view = initial_view(membership.as_ref());
    let shared = Arc::new(Shared::new(Health::default(), view));
    let event_loop = Arc::new(OnceLock::new());
    let moments = membership.as_ref().map(|membership| membership.moments);
    let posts = Arc::new(Posts::default());
    let archiving = config
        .archive
        .as_ref()
        .map(|archive| Archiving { to: archive.to.to_string(), posts: Arc::clone(&posts) });
    let operand = KvOperand::new(
        Arc::clone(&shared),
        loaded.hash,
        Arc::clone(&event_loop),
        moments,
        archiving,
        identity.clone(),
        Volume::of(args.data.clone()),
    );
    let _management = management::start(
        management::Options {
            management: listen::address("management", SocketAddr::from(([127, 0, 0, 1], 9400)))?,
            http: listen::address("http", SocketAddr::from(([127, 0, 0, 1], 9401)))?,
            token: secrets.get("management-token")?,
            identity: identity.clone(),
        },
        Arc::new(operand),
        metrics::registry(Arc::clone(&shared), args.data.clone()),
        shared.health.clone(),
    )?;
    shared.health.set_not_ready("Recovering", "reading the journal");
    let mut discarded = replication::copy::settle(&args.data)?;
    if args.adopt.is_none() && adopt::is_half_loaded(&args.data) {
        return Err(ServeError::HalfAdopted);
    }
    if args.adopt.is_some() && config.is_grouped {
        return Err(ServeError::AdoptInGroup);
    }
    if args.tls.is_some() && config.is_grouped && args.identity.is_none() {
        return Err(ServeError::TlsInGroup);
    }
    // Of a group one member is filled; the others copy from it.
    let is_filled = |from: &&RecoveryConfig| {
        membership.as_ref().is_none_or(|of| from.member.as_ref() == Some(&of.name))
    };
    let from = config.recovery.as_ref().filter(is_filled);
    if let Some(from) = from {
        archive::recover::recover(from, &args.data, &shared)?;
        shared.health.set_not_ready("Recovering", "reading the journal");
    }
    let is_filled = from.is_some();
    let carrier = config.carried.as_ref().map(carrying::open).transpose()?;
    let mut recovered = recover(&config, args, carrier.as_ref())?;
    let mut archiver = match config.archive.clone() {
        Some(to) => {
            let assignment = Assignment {
                config: to,
                data: args.data.clone(),
                member: std::env::var(POD).unwrap_or_default(),
                is_grouped: config.is_grouped,
                posts: Arc::clone(&posts),
            };
            Some(Archiver::start(assignment, Arc::clone(&shared), Arc::clone(&event_loop))?)
        }
        None => None,
    };

    let listeners = doors::listeners(&config, args, &shared, identity)?;
    let settings = doors::settings(&config, args, &logins.0, &listeners);
    let (requests, received) = mpsc::sync_channel(QUEUE);
    let (poll, waker) = server::poll_and_waker()?;
    let mut group = membership.map(|from| Box::new(Group::new(from, &waker)));
    let to_loop = Loop { requests, waker: Arc::clone(&waker) };
    let mut seat = Seat { poll, waker, listeners, requests: received };
    let run_id = run_id();
    let mut adoption = match &args.adopt {
        Some(secret) => {
            let tls = args.adopt_tls.as_deref();
            let tls = tls.map(|folder| Tls::new(folder, args.adopt_name.clone()));
            let waker = Arc::clone(&to_loop.waker);
            Some(Box::new(Adoption::start(secret, tls, &args.data, waker)?))
        }
        None => None,
    };
    if let Some(address) = listen::given(API)? {
        watch::http::start(address, args.tls.clone(), Arc::clone(&event_loop))?;
    }
    let mut shutdown = None;
    loop {
        if let Some(group) = &mut group {
            group.settle_epochs(&recovered.1, discarded, is_filled)?;
        }
        let mut parts =
            parts(&config, recovered, &settings, logins.clone(), group, &run_id, &shared);
        parts.adoption = adoption.take();
        parts.fence = args.live.as_deref().map(Fence::new);
        parts.posts = Arc::clone(&posts);
        let shard = Shard::new(seat, parts)?;
        if shutdown.is_none() {
            _ = event_loop.set(to_loop.clone());
            let to_loop = to_loop.clone();
            shutdown = Some(Shutdown::on_signals(move || {
                // A loop that is gone has nothing left to drain.
                _ = to_loop.ask(Request::Shutdown);
            })?);
        }
        let left = match serve(shard, &shared, &mut archiver)? {
            Served::Over(code) => return Ok(code),
            Served::Again(left) => left,
        };
        shared.health.set_not_ready("Recovering", "beginning again with what is on disk");
        // The archiver must not hold on to a journal that is replaced.
        posts.leave();
        if !posts.wait_until_left(LET_GO) {
            tracing::warn!("the archiver still reads the journal that is replaced");
        }
        let Left { seat: next, log, group: same, .. } = *left;
        (seat, group) = (next, same);
        match log.replaced_by() {
            Some(epoch) => {
                drop(log);
                replaced(group.as_deref_mut(), epoch)?;
            }
            None => _ = log.close().map_err(PersistenceError::Journal)?,
        }
        discarded = replication::copy::settle(&args.data)?;
        recovered = once_let_go(|| recover(&config, args, carrier.as_ref()))?;
    }
}

/// Opens a folder that this process has just closed, as soon as nobody reads it any more.
fn once_let_go<T>(open: impl Fn() -> Result<T, ServeError>) -> Result<T, ServeError> {
    let until = Instant::now() + LET_GO;
    loop {
        match open() {
            Err(ServeError::Persistence(PersistenceError::Journal(JournalError::Locked)))
                if Instant::now() < until =>
            {
                thread::sleep(LOOK);
            }
            opened => return opened,
        }
    }
}

/// Another owner writes the journal: this process waits to be told what it is to be.
fn replaced(group: Option<&mut Group>, epoch: u64) -> Result<(), ServeError> {
    tracing::warn!(epoch, "another owner has taken the journal over: beginning again");
    group.map_or(Ok(()), |group| group.stand_by(epoch))?;
    Ok(())
}

fn identity(args: &ServeArgs) -> Result<Option<Arc<Identity>>, CertificateError> {
    let Some((folder, name)) = &args.identity else { return Ok(None) };
    Ok(Some(Arc::new(Identity::load(folder, name)?)))
}

/// Users, and where more of them come from.
type Logins = (Users, Option<UsersFile>);

fn logins(password: Option<&Secret>, args: &ServeArgs) -> Result<Logins, UsersError> {
    let alone = Users::new(password.map(Secret::reveal));
    let Some(folder) = &args.live else { return Ok((alone, None)) };
    let (file, users) = UsersFile::open(folder, alone.password())?;
    Ok((users, Some(file)))
}

/// What a process of a group knows before it has read its journal.
fn membership(
    config: &Config,
    args: &ServeArgs,
    secrets: &Secrets,
    identity: Option<Arc<Identity>>,
) -> Result<Option<Membership>, ServeError> {
    if !config.is_grouped {
        return Ok(None);
    }
    let folder = &args.data;
    let made = std::fs::create_dir_all(folder);
    made.map_err(|source| ServeError::Folder { path: folder.clone(), source })?;
    Ok(Some(Membership {
        grants: Grants::load(folder)?,
        token: secrets.get("management-token")?,
        identity,
        name: std::env::var(POD).unwrap_or_default(),
        moments: Moments::new(Instant::now(), random()),
        data: folder.clone(),
    }))
}

fn initial_view(membership: Option<&Membership>) -> View {
    let Some(Membership { grants, .. }) = membership else {
        return View { role: Role::Primary.into(), ..View::default() };
    };
    let held = grants.held();
    View {
        role: Role::Standby.into(),
        epoch: held.promoted,
        known_epoch: held.known,
        completed_epoch: held.completed,
        whole: None,
        discarded: held.discarded,
        last_discarded: held.last_discarded,
        ..View::default()
    }
}

fn parts(
    config: &Config,
    (machine, recovered): (Machine, Recovered),
    settings: &Settings,
    (users, users_file): Logins,
    group: Option<Box<Group>>,
    run_id: &str,
    shared: &Arc<Shared>,
) -> Parts {
    Parts {
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
        log: Log::new(recovered.journal, recovered.fenced_below, recovered.history),
        group,
        cluster: None,
        adoption: None,
        settings: settings.clone(),
        users,
        users_file,
        fence: None,
        run_id: run_id.to_owned(),
        debug_enabled: config.debug_commands,
        snapshot_bytes: config.snapshot_after_bytes,
        shared: Arc::clone(shared),
        posts: Arc::default(),
    }
}

/// How a shard ended.
enum Served {
    Over(u8),
    /// What is on disk now takes its place: a copy of the primary's data, or the same without what
    /// never counted.
    Again(Box<Left>),
}

/// Runs the shard's thread to its end.
fn serve(
    shard: Shard,
    shared: &Shared,
    archiver: &mut Option<Archiver>,
) -> Result<Served, ServeError> {
    let thread =
        thread::Builder::new().name("shard-0".into()).spawn(move || shard.serve_until_end())?;
    let Ok(left) = thread.join() else {
        shared.health.set_dead();
        return Ok(Served::Over(EXIT_POISONED));
    };
    if left.goes_on {
        return Ok(Served::Again(Box::new(left)));
    }
    if let Some(archiver) = archiver.take() {
        archiver.finish(left.log.appended());
    }
    Ok(Served::Over(end(left.log, shared)))
}

/// Closes the journal; gives the exit code of the process.
fn end(log: Log, shared: &Shared) -> u8 {
    if log.is_failed() {
        shared.health.set_dead();
        tracing::error!(reason = log.refusal(), "the journal failed: ending for recovery");
        return EXIT_POISONED;
    }
    match log.close() {
        Ok(position) => {
            tracing::info!(position, "stopped");
            0
        }
        Err(error) => {
            tracing::error!(%error, "failed to close the journal");
            EXIT_POISONED
        }
    }
}

fn recover(
    config: &Config,
    args: &ServeArgs,
    carrier: Option<&Arc<dyn Carrier>>,
) -> Result<(Machine, Recovered), ServeError> {
    let started = Instant::now();
    let folder = args.data.join(replication::copy::SHARD);
    let opened = carrying::open_journal(&folder, carrier)?;
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

pub(crate) fn random() -> u64 {
    use orrery_kit::env::{Env, SystemEnv};
    SystemEnv::default().random()
}

/// Forty hexadecimal digits that name this run.
fn run_id() -> String {
    let digits = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    digits[..40].to_owned()
}
