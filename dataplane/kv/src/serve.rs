//! From arguments to a serving process, and from its end to an exit code.
//!
//! Order: configuration, management thread (so that `Report` answers while recovery runs), journal
//! and recovery, listeners, event loop. The end goes backwards.

mod course;
mod doors;
mod ending;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use orrery_api::kv::KvConfig;
use orrery_carrying::{CarryingError, CopyError as CopyingError};
use orrery_kit::certificates::CertificateError;
use orrery_kit::health::Health;
use orrery_kit::identity::Identity;
use orrery_kit::secrets::{Secret, Secrets};
use orrery_kit::{EXIT_POISONED, listen, management};
use orrery_operand::v1::Role;

use self::course::Course;
pub(crate) use self::course::Member;
use self::ending::Ending;
use crate::cluster::{Known, Node, Place, Topology};
use crate::config::{Config, Spread, Unusable};
use crate::metrics::{self, Shared, View};
use crate::operand::{Archiving, KvOperand};
use crate::persistence::PersistenceError;
use crate::replication::copy::CopyError;
use crate::replication::grants::{Grants, GrantsError};
use crate::replication::lease::Moments;
use crate::server::group::Membership;
use crate::server::listener::ListenError;
use crate::server::users::file::UsersFile;
use crate::server::users::{Users, UsersError};
use crate::watch;
use crate::watch::http::WatchError;
use orrery_archiving::recover::RecoverError;
use orrery_kit::volume::Volume;

/// Name of the port for clients that speak HTTP.
const API: &str = "api";
/// Environment variable with the name of this process to its group.
const POD: &str = "ORRERY_POD";
/// Folder with a folder for each shard, where there are several.
const SHARDS: &str = "shards";

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
    #[error(transparent)]
    Copying(#[from] CopyingError),
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
    #[error("several shards cannot take a Redis over")]
    AdoptInCluster,
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
    let pod = std::env::var(POD).unwrap_or_default();
    let config = Config::of(loaded.value, &pod)?;
    let secrets = Secrets::new(args.secrets.as_deref());
    let logins = logins(secrets.get("password")?.as_ref(), args)?;
    let identity = identity(args)?;
    check(&config, args)?;
    let tls = Arc::default();
    let mut parties = vec![];
    for id in config.shards() {
        let data = data_of(&config, args, id);
        let membership = membership(&config, &data, &secrets, identity.clone())?;
        let view = initial_view(membership.as_ref());
        let member = Member {
            id,
            data,
            shared: Arc::new(Shared::new(Health::default(), view, Arc::clone(&tls))),
            event_loop: Arc::default(),
            posts: Arc::default(),
            moments: membership.as_ref().map(|of| of.moments),
        };
        parties.push((member, membership));
    }
    let members: Vec<Member> = parties.iter().map(|(member, _)| member.clone()).collect();
    let known = Arc::new(Known::new(config.spread.as_ref().map_or_else(Topology::default, alone)));
    let archiving = config.archive.as_ref().zip(members.first()).map(|(archive, member)| {
        Archiving { to: archive.to.to_string(), posts: Arc::clone(&member.posts) }
    });
    let health = Health::of_all(
        members.iter().map(|member| (format!("shard {}", member.id), member.shared.health.clone())),
    );
    let operand = KvOperand::new(
        members.clone(),
        health.clone(),
        config.spread.as_ref().map(|spread| (spread.layout, Arc::clone(&known))),
        loaded.hash,
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
        metrics::registry(
            members.iter().map(|member| (member.id, Arc::clone(&member.shared))).collect(),
            health.clone(),
            args.data.clone(),
        ),
        health,
    )?;
    for member in &members {
        member.shared.health.set_not_ready("Recovering", "reading the journal");
    }
    if let (Some(address), [member]) = (listen::given(API)?, &*members) {
        watch::http::start(address, args.tls.clone(), Arc::clone(&member.event_loop))?;
    }
    let ending = Ending::of(&members);
    let courses = parties.into_iter().enumerate().map(|(index, (member, membership))| Course {
        member,
        config: &config,
        args,
        logins: logins.clone(),
        identity: identity.clone(),
        membership,
        is_first: index == 0,
        known: Arc::clone(&known),
        ending: &ending,
    });
    run_all(courses.collect(), &ending)
}

/// Runs every shard to its end. One that cannot go on ends the others, in order: the process begins
/// again with all of them.
fn run_all(courses: Vec<Course<'_>>, ending: &Ending) -> Result<u8, ServeError> {
    let run = |course: Course<'_>| {
        let done = course.run();
        ending.ask();
        done
    };
    thread::scope(|scope| {
        let threads = courses.into_iter().map(|course| {
            let name = format!("course-{}", course.member.id);
            thread::Builder::new().name(name).spawn_scoped(scope, move || run(course))
        });
        let threads: Vec<_> = threads.collect();
        let mut worst = Ok(0);
        for thread in threads {
            let done = thread
                .map_err(ServeError::Loop)
                .and_then(|thread| thread.join().unwrap_or(Ok(EXIT_POISONED)));
            worst = match (worst, done) {
                (Err(first), _) => Err(first),
                (_, Err(error)) => Err(error),
                (Ok(one), Ok(other)) => Ok(one.max(other)),
            };
        }
        worst
    })
}

/// What cannot go together.
fn check(config: &Config, args: &ServeArgs) -> Result<(), ServeError> {
    if args.adopt.is_some() && config.is_grouped {
        return Err(ServeError::AdoptInGroup);
    }
    if args.adopt.is_some() && config.has_several() {
        return Err(ServeError::AdoptInCluster);
    }
    if args.tls.is_some() && config.is_grouped && args.identity.is_none() {
        return Err(ServeError::TlsInGroup);
    }
    Ok(())
}

/// Where a process that has every shard serves them, before anyone tells.
fn alone(spread: &Spread) -> Topology {
    if spread.layout.pods > 1 {
        return Topology::default();
    }
    let place = |shard: u32| {
        let port = doors::resp(&spread.layout, shard).ok()?.port();
        let primary = Some(Node { name: spread.pod.clone(), host: None, port });
        Some(Place { primary, ..Place::default() })
    };
    let places: Option<Vec<Place>> = (0..spread.layout.shards).map(place).collect();
    Topology { hash: String::new(), places: places.unwrap_or_default() }
}

/// Where a shard keeps everything: with several, each has what the folder of a process with one holds.
fn data_of(config: &Config, args: &ServeArgs, shard: u32) -> PathBuf {
    if config.has_several() {
        args.data.join(SHARDS).join(shard.to_string())
    } else {
        args.data.clone()
    }
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
    folder: &Path,
    secrets: &Secrets,
    identity: Option<Arc<Identity>>,
) -> Result<Option<Membership>, ServeError> {
    if !config.is_grouped {
        return Ok(None);
    }
    let made = std::fs::create_dir_all(folder);
    made.map_err(|source| ServeError::Folder { path: folder.to_owned(), source })?;
    Ok(Some(Membership {
        grants: Grants::load(folder)?,
        token: secrets.get("management-token")?,
        identity,
        name: std::env::var(POD).unwrap_or_default(),
        moments: Moments::new(Instant::now(), random()),
        data: folder.to_owned(),
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

pub(crate) fn random() -> u64 {
    use orrery_kit::env::{Env, SystemEnv};
    SystemEnv::default().random()
}

/// Forty hexadecimal digits that name this run.
fn run_id() -> String {
    let digits = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    digits[..40].to_owned()
}
