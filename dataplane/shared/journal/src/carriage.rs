//! A journal and its carrier: how a group and a snapshot get there before they count.
//!
//! The order is carrier first, folder second. So the folder never holds a record that the carrier does
//! not have, and it need not be synced: it is a copy, made again when it is damaged. Readers, followers
//! and snapshots read the folder and need not know.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::carrier::{Carrier, CarrierError, Group, Owner, Saved};
use crate::shared::Shared;
use crate::{JournalError, Position, SnapshotReader};

/// A carrier that does not answer is said to be away after this time: a single lost answer is not
/// worth refusing writes.
const AWAY_AFTER: Duration = Duration::from_secs(2);
/// Pauses between two attempts.
const RETRY_LEAST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_millis(500);
/// How long a snapshot is offered to a carrier that does not answer.
const SAVE_PATIENCE: Duration = Duration::from_mins(2);

/// Where the records of a journal go, and on whose behalf.
#[derive(Debug)]
pub(crate) struct Carriage {
    pub(crate) carrier: Arc<dyn Carrier>,
    /// While there is none, records are what others carried there.
    owner: Mutex<Option<Owner>>,
    away: AtomicBool,
}

impl Carriage {
    pub(crate) fn new(carrier: Arc<dyn Carrier>) -> Self {
        Self { carrier, owner: Mutex::default(), away: AtomicBool::new(false) }
    }

    pub(crate) fn owner(&self) -> Option<Owner> {
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_owner(&self, owner: Option<Owner>) {
        *self.owner.lock().unwrap_or_else(PoisonError::into_inner) = owner;
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }
}

/// Brings one group after the other to the carrier.
#[derive(Debug, Default)]
pub(crate) struct Porter {
    /// The group under way: asked again, it must be the same to the last byte.
    sealed: Option<Group>,
    /// It is there already; the folder had no room for it.
    has_arrived: bool,
    failing: Option<(Instant, Duration)>,
}

impl Porter {
    /// Brings the records behind `durable` up to `last`, whose frames these are, unless they are there.
    /// `Away` if the carrier does not answer: to be tried again after [`pause`](Self::pause).
    pub(crate) fn carry(
        &mut self,
        shared: &Shared,
        frames: &[u8],
        last: u64,
    ) -> Result<(), JournalError> {
        let Some(carriage) = &shared.carriage else { return Ok(()) };
        let Some(owner) = carriage.owner().filter(|_| !self.has_arrived) else { return Ok(()) };
        let (shard, first) = (shared.options.shard, shared.durable() + 1);
        let group = self
            .sealed
            .get_or_insert_with(|| Group::seal(shard, owner.epoch.0, first..=last, frames));
        match carriage.carrier.append(owner, group) {
            Ok(()) => {
                self.sealed = None;
                self.has_arrived = true;
                self.failing = None;
                if carriage.away.swap(false, Ordering::AcqRel) {
                    tracing::info!(carrier = carriage.carrier.name(), "the carrier is back");
                }
                Ok(())
            }
            Err(CarrierError::Unavailable { reason }) => {
                let (since, pause) = self.failing.unwrap_or((Instant::now(), RETRY_LEAST / 2));
                self.failing = Some((since, (pause * 2).min(RETRY_MOST)));
                if since.elapsed() >= AWAY_AFTER && !carriage.away.swap(true, Ordering::AcqRel) {
                    let carrier = carriage.carrier.name();
                    tracing::error!(carrier, reason, "accepted records wait for the carrier");
                    shared.tell(false);
                }
                Err(JournalError::Away { reason })
            }
            Err(CarrierError::Fenced { held }) => {
                Err(JournalError::Fenced { held, asked: owner.epoch })
            }
            Err(error) => Err(JournalError::Carrier(error)),
        }
    }

    /// The group is done with.
    pub(crate) fn next(&mut self) {
        self.has_arrived = false;
    }

    /// How long to wait before the next attempt.
    pub(crate) fn pause(&self) -> Duration {
        self.failing.map_or(RETRY_LEAST, |(_, pause)| pause)
    }
}

/// Gives the snapshot at `at`, which is whole in the folder with so many bytes, to the carrier, and removes there what it
/// makes superfluous. Waits for a carrier that is away, within a bound.
pub(crate) fn save(shared: &Shared, owner: Owner, at: u64, bytes: u64) -> Result<(), JournalError> {
    let Some(carriage) = &shared.carriage else { return Ok(()) };
    let carrier = &*carriage.carrier;
    let saved = Saved { at: Position(at), epoch: owner.epoch, bytes };
    let until = Instant::now() + SAVE_PATIENCE;
    let patiently = |ask: &mut dyn FnMut() -> Result<(), JournalError>| loop {
        match ask() {
            Err(JournalError::Carrier(error))
                if error.is_passing() && !shared.is_failed() && Instant::now() < until =>
            {
                thread::sleep(RETRY_MOST);
            }
            other => return other,
        }
    };
    patiently(&mut || {
        let mut content = SnapshotReader::open(&*shared.disk, at, Some(shared.options.shard))?;
        Ok(carrier.save(owner, saved, &mut content)?)
    })?;
    patiently(&mut || Ok(carrier.trim(owner, saved.at)?))
}
