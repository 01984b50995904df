//! The life of one shard in a process: its folder, its journal, its event loop, again and again where
//! another journal takes the place of its own.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use orrery_archiving::config::RecoveryConfig;
use orrery_archiving::fill::fill as fill_journal;
use orrery_archiving::post::Posts;
use orrery_archiving::recover::Recovery;
use orrery_archiving::writer::{Archiver, Assignment};
use orrery_carrying as carrying;
use orrery_journal::{Carrier, Journal, JournalError, Options, RealDisk};
use orrery_kit::EXIT_POISONED;
use orrery_kit::identity::Identity;

use super::ending::Ending;
use super::{Logins, ServeArgs, ServeError, doors, random, run_id};
use crate::adopt::{self, Adoption, Tls};
use crate::archive::Archived;
use crate::cluster::{Cluster, Known};
use crate::config::{Config, Spread};
use crate::machine::{Machine, MachineOptions, MemoryPolicy};
use crate::metrics::Shared;
use crate::operand::Loop;
use crate::persistence::PersistenceError;
use crate::persistence::log::Log;
use crate::persistence::recovery::{self, Recovered};
use crate::persistence::snapshots::Snapshots;
use crate::replication;
use crate::replication::lease::Moments;
use crate::server::fence;
use crate::server::group::{Group, Membership};
use crate::server::requests::QUEUE;
use crate::server::settings::Settings;
use crate::server::{self, Left, Parts, Seat, Shard};

/// Longest wait until those who read a journal have let go of it: the archiver, links to followers.
const LET_GO: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// One shard of a process, as the threads beside its own see it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: u32,
    /// Everything it keeps.
    pub(crate) data: PathBuf,
    pub(crate) shared: Arc<Shared>,
    /// Set once recovery is over.
    pub(crate) event_loop: Arc<OnceLock<Loop>>,
    pub(crate) posts: Arc<Posts>,
    /// Of a process in a group.
    pub(crate) moments: Option<Moments>,
}

/// What one shard is started with.
pub(super) struct Course<'a> {
    pub(super) member: Member,
    pub(super) config: &'a Config,
    pub(super) args: &'a ServeArgs,
    pub(super) logins: Logins,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) membership: Option<Membership>,
    /// The first of its process has the doors that are for any of them.
    pub(super) is_first: bool,
    pub(super) known: Arc<Known>,
    pub(super) ending: &'a Ending,
}

impl Course<'_> {
    /// Serves until the end of the process; gives its exit code.
    pub(super) fn run(self) -> Result<u8, ServeError> {
        let Self { member, config, args, logins, membership, known, ending, .. } = self;
        let Member { id, data, shared, event_loop, posts, .. } = &member;
        let mut discarded = replication::copy::settle(data, *id)?;
        if args.adopt.is_none() && adopt::is_half_loaded(data) {
            return Err(ServeError::HalfAdopted);
        }
        let is_filled = fill(config, membership.as_ref(), &member)?;
        let carrier = config.carried.as_ref().map(|carried| carrying::open(carried, *id));
        let carrier = carrier.transpose()?;
        let open = || recover(config, &member, carrier.as_ref());
        let mut recovered = open()?;
        let mut archiver = archiver(config, &member)?;
        let listeners = doors::listeners(config, args, &member, self.identity, self.is_first)?;
        let settings = doors::settings(config, args, &logins.0, &listeners);
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
                Some(Box::new(Adoption::start(secret, tls, data, waker)?))
            }
            None => None,
        };
        loop {
            if let Some(group) = &mut group {
                group.settle_epochs(&recovered.1, discarded, is_filled)?;
            }
            let mut parts = parts(config, recovered, &settings, logins.clone(), &run_id, shared);
            parts.id = *id;
            parts.group = group;
            let spread = config.spread.as_ref();
            parts.cluster = spread.map(|spread| Box::new(cluster(spread, *id, &known)));
            parts.adoption = adoption.take();
            parts.fence = args.live.as_deref().map(fence::of);
            parts.posts = Arc::clone(posts);
            // Before the shard says anything of itself: who hears it may ask for more at once.
            if event_loop.set(to_loop.clone()).is_ok() {
                ending.is_up(&to_loop)?;
            }
            let shard = Shard::new(seat, parts)?;
            let left = match serve(shard, *id, shared, &mut archiver)? {
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
            discarded = replication::copy::settle(data, *id)?;
            recovered = once_let_go(open)?;
        }
    }
}

/// Fills an empty folder from an archive, where one is configured. Of a group one member is filled; the
/// others copy from it. True for that one, at later starts as well.
fn fill(
    config: &Config,
    membership: Option<&Membership>,
    member: &Member,
) -> Result<bool, ServeError> {
    let is_own =
        |from: &&RecoveryConfig| membership.is_none_or(|of| from.member.as_ref() == Some(&of.name));
    let Some(from) = config.recovery.as_ref().filter(is_own) else { return Ok(false) };
    let recovery = Recovery {
        from: &from.from,
        data: &member.data,
        folder: replication::copy::SHARD,
        health: &member.shared.health,
    };
    let position = recovery.run(|runtime, folder, say| {
        runtime.block_on(fill_journal(from, Options::default(), folder, say))
    })?;
    member.shared.recovered_position.set(position);
    member.shared.health.set_not_ready("Recovering", "reading the journal");
    Ok(true)
}

fn cluster(spread: &Spread, shard: u32, known: &Arc<Known>) -> Cluster {
    let (layout, pod) = (spread.layout, spread.pod.clone());
    Cluster { layout, shard, pod, known: Arc::clone(known) }
}

fn archiver(config: &Config, member: &Member) -> Result<Option<Archiver>, ServeError> {
    let Some(to) = config.archive.clone() else { return Ok(None) };
    let assignment = Assignment {
        config: to,
        data: member.data.clone(),
        member: std::env::var(super::POD).unwrap_or_default(),
        is_grouped: config.is_grouped,
        posts: Arc::clone(&member.posts),
        figures: Arc::clone(&member.shared.archive),
        engine: Arc::new(Archived {
            shared: Arc::clone(&member.shared),
            event_loop: Arc::clone(&member.event_loop),
        }),
    };
    Ok(Some(Archiver::start(assignment)?))
}

/// Opens a folder that this process has just closed, as soon as nobody reads it any more.
fn once_let_go<T>(open: impl Fn() -> Result<T, ServeError>) -> Result<T, ServeError> {
    let until = Instant::now() + LET_GO;
    loop {
        match open() {
            Err(
                ServeError::Persistence(PersistenceError::Journal(JournalError::Locked))
                | ServeError::Copying(carrying::CopyError::Journal(JournalError::Locked)),
            ) if Instant::now() < until => {
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

fn parts(
    config: &Config,
    (machine, recovered): (Machine, Recovered),
    settings: &Settings,
    (users, users_file): Logins,
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
        group: None,
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
    id: u32,
    shared: &Shared,
    archiver: &mut Option<Archiver>,
) -> Result<Served, ServeError> {
    let name = format!("shard-{id}");
    let thread = thread::Builder::new().name(name).spawn(move || shard.serve_until_end())?;
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
    member: &Member,
    carrier: Option<&Arc<dyn Carrier>>,
) -> Result<(Machine, Recovered), ServeError> {
    let started = Instant::now();
    let folder = member.data.join(replication::copy::SHARD);
    let options = Options { shard: member.id, ..Options::default() };
    let opened = if let Some(carrier) = carrier {
        carrying::open_copy(&folder, options, carrier)?
    } else {
        let disk = RealDisk::new(&folder);
        let disk = disk.map_err(|source| ServeError::Folder { path: folder, source })?;
        Journal::open(Arc::new(disk), options).map_err(PersistenceError::Journal)?
    };
    let default_class = config.default_class;
    let mut machine = Machine::new(&MachineOptions {
        databases: config.databases,
        default_class,
        hash_seed: random(),
        random_seed: random(),
    });
    let recovered = recovery::recover(opened, &mut machine, config.databases, default_class)?;
    machine.set_memory_limit(config.memory_of_shard(), MemoryPolicy::default());
    tracing::info!(
        shard = member.id,
        keys = recovered.keys_loaded,
        records = recovered.records_replayed,
        snapshot = recovered.snapshot_position,
        milliseconds = started.elapsed().as_millis() as u64,
        "recovered"
    );
    Ok((machine, recovered))
}
