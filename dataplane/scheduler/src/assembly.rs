//! All parts of an engine put together: for the process, for tests in a process, and for measurements.
//!
//! Must not: read the environment, nor choose where anything lies.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use orrery_api::scheduler::SchedulerConfig;
use orrery_kit::env::Env;
use orrery_kit::health::Health;
use orrery_recurrence::Zones;

use crate::archive::Archived;
use crate::dispatch::{Dispatcher, Options, Settled};
use crate::engine::{Engine, Resolver, Shared, TargetError, pools, targets};
use crate::machine::Bounds;
use crate::machine::definition::CatchUp;
use crate::ownership::Standing;
use crate::partition::{
    Crew, Handle, Mailbox, Partition, PartitionOptions, RecoverError, Recovered,
};

/// Bytes of journal of one partition behind which it writes a snapshot.
pub const SNAPSHOT_AFTER_BYTES: u64 = 16 << 20;
/// Runs in flight of the whole process, queued at their targets or sent.
pub const RUNNING_MAX: usize = 200_000;
/// Of those, runs to one target: the rest stay due, undecided, until it has answered some.
pub const OF_TARGET_MAX: usize = 20_000;

/// Overdue runs of a partition that somebody is yet to be told of; of more nobody is told.
const NOTICES_MAX: usize = 1_000;

/// What an engine is made of.
pub struct Parts<'a> {
    pub config: SchedulerConfig,
    /// A power of two from 1 to 256.
    pub partitions: u16,
    pub zones: Zones,
    pub resolver: Resolver,
    pub env: Arc<dyn Env>,
    pub health: Health,
    pub standing: Arc<Standing>,
    /// Its lease is that of `standing`.
    pub dispatch: Options,
    /// Folder with one folder per target that has Secrets.
    pub targets: Option<&'a Path>,
    /// Runs in flight of all partitions, and of those to one target.
    pub running_max: usize,
    pub of_target_max: usize,
}

impl std::fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Parts<'_> {
    /// The usual ones of a process that is alone.
    pub fn alone(config: &SchedulerConfig, resolver: Resolver, env: Arc<dyn Env>) -> Self {
        Self {
            config: config.clone(),
            partitions: u16::try_from(config.partitions).unwrap_or(0),
            zones: Zones::bundled(),
            resolver,
            env,
            health: Health::default(),
            standing: Arc::new(Standing::alone()),
            dispatch: Options { calls_max: RUNNING_MAX, ..Options::default() },
            targets: None,
            running_max: RUNNING_MAX,
            of_target_max: OF_TARGET_MAX,
        }
    }
}

/// Failed to put an engine together.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("failed to start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// An engine whose partitions are yet to be opened.
#[derive(Debug)]
pub struct Assembly {
    pub engine: Arc<Engine>,
    pub crew: Crew,
    pub handles: Vec<Handle>,
    mailboxes: Vec<Mailbox>,
    bounds: Bounds,
    /// Where the partitions are archived, by their numbers; empty: nowhere.
    pub(crate) archived: Vec<Archived>,
}

impl Assembly {
    pub fn new(parts: Parts<'_>) -> Result<Self, AssemblyError> {
        let Parts { config, partitions, zones, env, health, standing, .. } = parts;
        let (handles, mailboxes): (Vec<Handle>, Vec<Mailbox>) =
            (0..partitions).map(Partition::handle).unzip();
        let bounds = bounds(&config, partitions, parts.running_max, parts.of_target_max);
        let options = Options { lease: Arc::clone(&standing.lease), ..parts.dispatch };
        let shared = Arc::new(Shared::of(partitions, health, standing));
        let resolver = Arc::new(parts.resolver.telling(config.overdue.clone()));
        let dispatcher = {
            let handles = handles.clone();
            let mut targets = targets(&config.targets, parts.targets)?;
            targets.extend(pools(&config.pools, parts.targets)?);
            Arc::new(Dispatcher::start_batched(options, targets, move |settled| {
                for Settled { run, attempt, outcome } in settled {
                    if let Some(handle) = handles.get(usize::from(run.partition)) {
                        handle.outcome(run.number, attempt, outcome);
                    }
                }
            })?)
        };
        let engine = Engine::new(
            config,
            handles.clone(),
            Arc::new(zones),
            Arc::clone(&resolver),
            Arc::clone(&shared),
        );
        let crew = Crew { env, dispatcher, resolver, shared };
        Ok(Self { engine: Arc::new(engine), crew, handles, mailboxes, bounds, archived: vec![] })
    }

    /// What the partition `id` works with.
    fn options(&self, id: u16, folder: PathBuf) -> PartitionOptions {
        let config = &self.engine.config;
        PartitionOptions {
            id,
            folder,
            bounds: self.bounds,
            history_seconds: config.history.keep_seconds,
            snapshot_after_bytes: snapshot_after_bytes(config),
            zones: Arc::clone(&self.engine.zones),
            peers: self.handles.clone().into(),
            archived: self.archived.get(usize::from(id)).cloned(),
        }
    }

    /// Opens every partition in a folder of its number below `folder`.
    pub fn open(&mut self, folder: &Path) -> Result<Vec<Partition>, RecoverError> {
        let all = self.mailboxes();
        let open = |(handle, mailbox): (Handle, Mailbox)| {
            let options = self.options(handle.partition, folder.join(handle.partition.to_string()));
            Partition::open(options, self.crew.clone(), (handle, mailbox))
        };
        all.into_iter().map(open).collect()
    }

    /// Goes on with every partition as it was recovered, in their order. Until `others_until` another
    /// process may be sending runs that were launched.
    pub(crate) fn go_on(
        &mut self,
        folder: &Path,
        recovered: Vec<Recovered>,
        others_until: Instant,
    ) -> Vec<Partition> {
        let all = self.mailboxes().into_iter().zip(recovered);
        let go_on = |((handle, mailbox), recovered): ((Handle, Mailbox), Recovered)| {
            let options = self.options(handle.partition, folder.join(handle.partition.to_string()));
            let pair = (handle, mailbox);
            Partition::new(options, self.crew.clone(), pair, recovered, Some(others_until))
        };
        all.map(go_on).collect()
    }

    fn mailboxes(&mut self) -> Vec<(Handle, Mailbox)> {
        self.handles.iter().cloned().zip(std::mem::take(&mut self.mailboxes)).collect()
    }
}

/// Bytes of journal of one partition behind which it writes a snapshot.
pub(crate) fn snapshot_after_bytes(config: &SchedulerConfig) -> u64 {
    let given = config.snapshot_after_bytes.and_then(|bytes| u64::try_from(bytes).ok());
    given.unwrap_or(SNAPSHOT_AFTER_BYTES)
}

/// What a partition may have in flight, and how it makes up for what was missed.
fn bounds(
    config: &SchedulerConfig,
    partitions: u16,
    running_max: usize,
    of_target_max: usize,
) -> Bounds {
    let (catch_up, partitions) = (&config.catch_up_default, usize::from(partitions).max(1));
    Bounds {
        catch_up: CatchUp {
            policy: catch_up.policy,
            runs_max: u64::try_from(catch_up.max_runs).unwrap_or(1),
            seconds_max: catch_up.max_seconds,
        },
        running_max: running_max / partitions,
        of_target_max: of_target_max / partitions,
        notices_max: if config.overdue.is_some() { NOTICES_MAX } else { 0 },
    }
}
