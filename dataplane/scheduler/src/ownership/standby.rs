//! Standing by: a copy of every partition is kept as warm as it can be, until this process is told to
//! take over.
//!
//! Must not: launch anything, nor carry anything before it is the owner.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use orrery_carrying::{Caught, CopyError};
use orrery_journal::{Carrier, CarrierError, Epoch, JournalError, Owner, Position};
use orrery_kit::env::Env;

use super::{LENGTH, Seat, Standing};
use crate::engine::{Figures, Shared};
use crate::partition::{Place, RecoverError, Recovered, recover_anew, recover_copy, write_copy};

/// Pause between two looks at a journal that changes, and the longest at one that does not.
const LOOK: Duration = Duration::from_millis(200);
const LOOK_MAX: Duration = Duration::from_secs(2);
/// Pause before a call that was not answered is made again.
const PAUSE: Duration = Duration::from_millis(50);
/// How often the ledgers of copies are cut.
const FORGET: Duration = Duration::from_mins(1);

/// Failed to stand by. What passes is tried again instead.
#[derive(Debug, thiserror::Error)]
pub enum StandbyError {
    #[error(transparent)]
    Recover(#[from] RecoverError),
    #[error("failed to use the journal that is carried elsewhere: {0}")]
    Carrier(#[from] CarrierError),
    #[error("failed to own the journal of partition {partition}: {source}")]
    Own { partition: u16, source: JournalError },
}

impl StandbyError {
    fn is_passing(&self) -> bool {
        match self {
            Self::Recover(RecoverError::Copy(error)) => error.is_passing(),
            Self::Carrier(error) => error.is_passing(),
            _ => false,
        }
    }

    fn fenced_by(&self) -> Option<Epoch> {
        match self {
            Self::Carrier(CarrierError::Fenced { held }) => Some(*held),
            _ => None,
        }
    }
}

/// What an owner begins with.
pub(crate) struct Owned {
    pub(crate) owner: Owner,
    pub(crate) seat: Seat,
    /// What the engine is called in keys of runs.
    pub(crate) name: String,
    pub(crate) partitions: Vec<Recovered>,
    /// When it asked for the seat.
    pub(crate) asked: Instant,
    /// Until then the owner before may be sending runs that it launched.
    pub(crate) others_until: Instant,
}

/// What was taken over, and as whom.
struct Taken {
    owner: Owner,
    name: String,
    asked: Instant,
    others_until: Instant,
}

/// One partition.
struct Copy {
    place: Place,
    carrier: Arc<dyn Carrier>,
    /// None before it is opened, and after an error until it is again.
    recovered: Option<Recovered>,
    look_at: Instant,
    pause: Duration,
}

/// See the module.
pub(crate) struct Standby {
    seat: Seat,
    copies: Vec<Copy>,
    standing: Arc<Standing>,
    env: Arc<dyn Env>,
    shared: Arc<Shared>,
    history_seconds: i64,
    snapshot_after_bytes: u64,
    forget_at: Instant,
}

/// What a standby is made of.
pub(crate) struct Parts<'a> {
    /// Folder of the partitions.
    pub(crate) folder: &'a Path,
    pub(crate) seat: Arc<dyn Carrier>,
    pub(crate) carriers: Vec<Arc<dyn Carrier>>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) env: Arc<dyn Env>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) history_seconds: i64,
    pub(crate) snapshot_after_bytes: u64,
}

impl Standby {
    pub(crate) fn new(parts: Parts<'_>) -> Self {
        let now = Instant::now();
        let copy = |(id, carrier): (usize, Arc<dyn Carrier>)| Copy {
            place: Place { partition: id as u16, folder: parts.folder.join(id.to_string()) },
            carrier,
            recovered: None,
            look_at: now,
            pause: LOOK,
        };
        Self {
            seat: Seat::new(parts.seat),
            copies: parts.carriers.into_iter().enumerate().map(copy).collect(),
            standing: parts.standing,
            env: parts.env,
            shared: parts.shared,
            history_seconds: parts.history_seconds,
            snapshot_after_bytes: parts.snapshot_after_bytes,
            forget_at: now + FORGET,
        }
    }

    /// Keeps the copies until it is the owner; none when the process is to end.
    pub(crate) fn wait(mut self) -> Result<Option<Owned>, StandbyError> {
        loop {
            if self.standing.ends() {
                return Ok(None);
            }
            if let Some(epoch) = self.standing.asked(self.rest()) {
                if let Some(Taken { owner, name, asked, others_until }) = self.take_over(epoch)? {
                    let recovered = self.copies.into_iter().filter_map(|copy| copy.recovered);
                    let (seat, partitions) = (self.seat, recovered.collect());
                    return Ok(Some(Owned { owner, seat, name, partitions, asked, others_until }));
                }
                continue;
            }
            match self.look() {
                Ok(()) => self.shared.health.set_ready(),
                Err(error) if error.is_passing() => self.says(&error),
                Err(error) => return Err(error),
            }
        }
    }

    fn says(&self, error: &StandbyError) {
        let text = format!("{error}; it goes on when it can");
        if self.shared.health.readiness().message != text {
            tracing::warn!(%error, "the copies of the journals are not kept up to date");
        }
        self.shared.health.set_not_ready("JournalAway", text);
    }

    /// How long there is nothing to look at.
    fn rest(&self) -> Duration {
        let next = self.copies.iter().map(|copy| copy.look_at).min();
        let rest = next.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
        rest.min(LOOK)
    }

    /// Looks at what is due.
    fn look(&mut self) -> Result<(), StandbyError> {
        self.seat.look()?;
        let now = Instant::now();
        for copy in &mut self.copies {
            if copy.look_at <= now {
                copy.look(self.snapshot_after_bytes, &self.shared)?;
            }
            // Many records may have come: a promotion does not wait for the others.
            if self.standing.asked(Duration::ZERO).is_some() {
                return Ok(());
            }
        }
        let is_warm = self.copies.iter().all(|copy| copy.recovered.is_some());
        self.standing.seen(self.seat.held(), self.seat.left(), is_warm);
        if self.forget_at <= now {
            self.forget_at = now + FORGET;
            let oldest_ms = self.env.wall_us() / 1000 - self.history_seconds.saturating_mul(1000);
            for copy in &mut self.copies {
                copy.forget(oldest_ms)?;
            }
        }
        Ok(())
    }

    /// Becomes the owner: of the seat first, then of all partitions at once. None when another one has
    /// it, or the engine does not answer: it is asked again.
    fn take_over(&mut self, epoch: u64) -> Result<Option<Taken>, StandbyError> {
        let started = Instant::now();
        let owner = Owner { epoch: Epoch(epoch), token: self.env.random() };
        let (name, may_send) = match self.seat.take(owner, &*self.env) {
            Ok(taken) => taken,
            Err(error) => return self.not_taken(epoch, error.into()).map(|()| None),
        };
        let others_until = if may_send { Instant::now() + LENGTH } else { started };
        loop {
            if self.standing.ends() {
                return Ok(None);
            }
            let results: Vec<Result<(), StandbyError>> = thread::scope(|scope| {
                let take = |copy| scope.spawn(move || Copy::take(copy, owner));
                let threads: Vec<_> = self.copies.iter_mut().map(take).collect();
                let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
                joined.map(|joined| joined.unwrap_or_else(|_| Err(lost()))).collect()
            });
            let failed = results.into_iter().find_map(Result::err);
            let Some(error) = failed else { break };
            if !error.is_passing() {
                // Some journals may be owned: the next process begins without that.
                return Err(error);
            }
            // The seat is taken: nobody else goes on until this one does.
            self.says(&error);
            thread::sleep(PAUSE);
        }
        tracing::info!(
            epoch,
            milliseconds = started.elapsed().as_millis() as u64,
            "took the journals over"
        );
        Ok(Some(Taken { owner, name, asked: started, others_until }))
    }

    fn not_taken(&self, epoch: u64, error: StandbyError) -> Result<(), StandbyError> {
        if let Some(held) = error.fenced_by() {
            tracing::warn!(epoch, held = held.0, "another owner was faster");
            // An epoch that is used up already is as good as a later one.
            self.standing.refused(epoch, held.0.max(epoch));
            return Ok(());
        }
        if !error.is_passing() {
            return Err(error);
        }
        self.says(&error);
        thread::sleep(PAUSE);
        Ok(())
    }
}

fn lost() -> StandbyError {
    let reason = "a thread that took a journal over panicked".to_owned();
    StandbyError::Carrier(CarrierError::Unusable { reason })
}

impl Copy {
    /// The partition, opened where it is not.
    fn opened(&mut self) -> Result<&mut Recovered, StandbyError> {
        if let Some(recovered) = self.recovered.take() {
            return Ok(self.recovered.insert(recovered));
        }
        self.carrier.prepare()?;
        let recovered = recover_copy(&self.place, &self.carrier)?;
        let (here, carried) = (recovered.journal.last(), self.carrier.look()?.last);
        if here > carried {
            let (here, carried) = (here.0, carried.0);
            return Err(RecoverError::Copy(CopyError::Ahead { here, carried }).into());
        }
        Ok(self.recovered.insert(recovered))
    }

    /// Takes what is carried and not here.
    fn catch_up(&mut self) -> Result<Position, StandbyError> {
        let (partition, carrier) = (self.place.partition, Arc::clone(&self.carrier));
        loop {
            let recovered = self.opened()?;
            match recovered.catch_up(partition, &*carrier) {
                Ok(Caught::Up) => return Ok(recovered.journal.last()),
                Ok(Caught::Trimmed) => {
                    tracing::info!(partition, "the copy is too far behind: it begins anew");
                    self.recovered = None;
                    self.recovered = Some(recover_anew(&self.place, &carrier)?);
                }
                Err(error) => {
                    // What it has of the record that failed, nobody knows: it is read again.
                    let error = StandbyError::from(error);
                    if !error.is_passing() {
                        self.recovered = None;
                    }
                    return Err(error);
                }
            }
        }
    }

    fn look(&mut self, snapshot_after_bytes: u64, shared: &Shared) -> Result<(), StandbyError> {
        let before = self.recovered.as_ref().map(|recovered| recovered.journal.last());
        let last = self.catch_up()?;
        let has_news = before != Some(last);
        if has_news {
            // Of the rest the owner speaks.
            shared.tell(
                self.place.partition,
                Figures { durable: last.0, ..Figures::default() },
                false,
            );
        }
        self.pause = if has_news { LOOK } else { (self.pause * 2).min(LOOK_MAX) };
        self.look_at = Instant::now() + self.pause;
        if let Some(recovered) = &mut self.recovered
            && recovered.bytes_since >= snapshot_after_bytes
        {
            write_copy(self.place.partition, recovered);
        }
        Ok(())
    }

    fn forget(&mut self, oldest_ms: i64) -> Result<(), StandbyError> {
        let Some(recovered) = &mut self.recovered else { return Ok(()) };
        let partition = self.place.partition;
        let forgotten = recovered.ledger.forget_before(oldest_ms);
        forgotten.map_err(|source| RecoverError::Ledger { partition, source })?;
        Ok(())
    }

    /// Owns the journal of the partition, with everything that is carried of it.
    fn take(&mut self, owner: Owner) -> Result<(), StandbyError> {
        if self.recovered.as_ref().is_some_and(|own| own.journal.owner() == Some(owner)) {
            return Ok(());
        }
        self.carrier.prepare()?;
        let carried = self.carrier.take_over(owner)?;
        let partition = self.place.partition;
        let last = self.catch_up()?;
        if last != carried.last {
            let (here, carried) = (last.0, carried.last.0);
            return Err(RecoverError::Copy(CopyError::Ahead { here, carried }).into());
        }
        let Some(recovered) = &mut self.recovered else { return Ok(()) };
        let owned = recovered.journal.own(owner);
        owned.map_err(|source| StandbyError::Own { partition, source })
    }
}
