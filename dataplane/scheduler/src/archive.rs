//! Outside of the data folder: the journals of all partitions on their way into archives, and the way
//! back.
//!
//! | module | job |
//! |---|---|
//! | `card` | what a partition says of itself in its archive |
//! | `demand` | a snapshot of everything, of one moment |
//! | `recover` | fills an empty data folder, once |
//! | `mend` | what partitions told each other, where their archives end at different moments |
//!
//! Each partition has an archive of its own below that of the object, `partitions/<NNN>`.
//!
//! Must not: be waited for by launches. An archive that cannot be written degrades the engine alone.

mod card;
mod demand;
mod mend;
mod recover;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use orrery_api::scheduler::SchedulerConfig;
use orrery_archiving::config::{ArchiveConfig, ConfigError, RecoveryConfig};
use orrery_archiving::post::{Mandate, Posts};
use orrery_archiving::writer::{Archiver, Assignment, Engine};
use orrery_archiving::{Figure, Figures, History};
use orrery_blob::Address;
use orrery_journal::Journal;

pub(crate) use card::{Inherited, read as inherited};
pub(crate) use demand::Moment;
pub(crate) use recover::recover;

use crate::partition::Handle;

/// Where a partition is archived, below the archive of its object.
fn of_partition(address: &Address, partition: u16) -> Address {
    address.join("partitions").join(&format!("{partition:03}"))
}

/// Refused what the configuration says of archives.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("journal {0} cannot be archived or recovered by this version")]
    Carried(&'static str),
    #[error("recovery.targetPosition: each partition has positions of its own; use targetTimeUs")]
    Position,
}

/// What the configuration says of archives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stores {
    pub(crate) archive: Option<ArchiveConfig>,
    pub(crate) recovery: Option<RecoveryConfig>,
}

impl Stores {
    pub(crate) fn of(config: &SchedulerConfig, snapshot_after: u64) -> Result<Self, Refused> {
        let asked = config.archive.is_some() || config.recovery.is_some();
        if asked && config.journal.caps().carried {
            return Err(Refused::Carried(config.journal.as_str()));
        }
        if config.recovery.as_ref().is_some_and(|from| from.target_position.is_some()) {
            return Err(Refused::Position);
        }
        let object = format!("{}/{}", config.object.namespace, config.object.name);
        let of = |file| ArchiveConfig::of(file, object, snapshot_after);
        let archive = config.archive.clone().map(of).transpose()?;
        let recovery = config.recovery.clone().map(RecoveryConfig::of).transpose()?;
        Ok(Self { archive, recovery })
    }
}

/// The archive of one partition, as the partition and those who ask see it.
#[derive(Debug, Clone, Default)]
pub struct Archived {
    pub(crate) posts: Arc<Posts>,
    pub(crate) figures: Arc<Figures>,
    /// Position of the newest snapshot in its journal.
    snapshot: Arc<Figure>,
    archiver: Arc<Mutex<Option<Archiver>>>,
}

impl Archived {
    /// The partition writes this journal, which has a snapshot of that position.
    pub(crate) fn begin(&self, journal: &Journal, snapshot_position: u64) {
        self.has_snapshot(snapshot_position);
        // Nobody else ever writes it: what is on its disk is safe.
        let mandate = Mandate::new(journal.epoch().0, 0, &History::default(), u64::MAX);
        self.posts.take(journal.feed(), Some(mandate));
    }

    pub(crate) fn has_snapshot(&self, position: u64) {
        self.snapshot.set(position);
    }

    /// The journal ends with `position`: puts the rest, if the archive takes it in time.
    pub(crate) fn end(&self, position: u64) {
        let archiver = self.archiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(archiver) = archiver {
            archiver.finish(position);
        }
    }
}

/// A partition as what archives it sees it.
#[derive(Debug)]
struct Subject {
    snapshot: Arc<Figure>,
    handle: Handle,
}

impl Engine for Subject {
    fn snapshot_position(&self) -> u64 {
        self.snapshot.get()
    }

    fn epoch(&self) -> u64 {
        // That of the mandate: nobody raises it.
        0
    }

    fn ask_for_snapshot(&self) {
        self.handle.want_snapshot();
    }
}

/// The archives of all partitions.
#[derive(Debug)]
pub(crate) struct Archives {
    config: ArchiveConfig,
    pub(crate) each: Vec<Archived>,
}

impl Archives {
    pub(crate) fn new(config: ArchiveConfig, partitions: u16) -> Self {
        Self { config, each: (0..partitions).map(|_| Archived::default()).collect() }
    }

    /// Where they are, as it was configured.
    pub(crate) fn to(&self) -> String {
        self.config.to.to_string()
    }

    /// Begins to archive whatever partitions write, which lie below `folder`. `name` and `before` are
    /// what keys of runs begin with, now and before this engine was recovered.
    pub(crate) fn start(
        &self,
        folder: &Path,
        handles: &[Handle],
        name: &str,
        before: &[Inherited],
    ) -> io::Result<()> {
        let partitions = handles.len();
        for (archived, handle) in self.each.iter().zip(handles) {
            let id = handle.partition;
            let data = folder.join(id.to_string());
            std::fs::create_dir_all(&data)?;
            let card = card::Card::of(id, partitions, name, before);
            let archiver = Archiver::start(Assignment {
                config: ArchiveConfig {
                    to: of_partition(&self.config.to, id),
                    engine: Some(card.to_text()),
                    ..self.config.clone()
                },
                data,
                member: String::new(),
                is_grouped: false,
                posts: Arc::clone(&archived.posts),
                figures: Arc::clone(&archived.figures),
                engine: Arc::new(Subject {
                    snapshot: Arc::clone(&archived.snapshot),
                    handle: handle.clone(),
                }),
            })?;
            *archived.archiver.lock().unwrap_or_else(PoisonError::into_inner) = Some(archiver);
        }
        Ok(())
    }

    /// Why one of them cannot be written now; empty when all can.
    pub(crate) fn trouble(&self) -> String {
        let all = self.each.iter().map(|archived| archived.figures.trouble());
        all.into_iter().find(|trouble| !trouble.is_empty()).unwrap_or_default()
    }

    /// Durable records that are in no archive.
    pub(crate) fn lag_records(&self) -> u64 {
        self.sum(|figures| figures.lag_records.get())
    }

    /// How long the one that is behind most has been so, in seconds.
    pub(crate) fn lag_s(&self, now_s: u64) -> u64 {
        self.each.iter().map(|archived| archived.figures.lag_s(now_s)).max().unwrap_or(0)
    }

    /// When something was put into any of them last, in seconds of Unix time; 0 before the first.
    pub(crate) fn put_at_s(&self) -> u64 {
        self.each.iter().map(|archived| archived.figures.put_at_s.get()).max().unwrap_or(0)
    }

    /// A figure over all of them.
    pub(crate) fn sum(&self, of: impl Fn(&Figures) -> u64) -> u64 {
        self.each.iter().map(|archived| of(&archived.figures)).sum()
    }
}
