//! What a partition does beside its jobs: snapshots, and what is too old.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Partition, Poisoned, SWEPT_MAX};
use crate::partition::requests::Newest;
use crate::partition::snapshots::Running;

/// How often it is looked for what is too old, in milliseconds.
const FORGET_EVERY_MS: i64 = 60_000;
/// Pause before a snapshot that was wanted, and did not come, is begun again.
const SNAPSHOT_AGAIN: Duration = Duration::from_secs(1);

impl Partition {
    /// Looks after the journal, the snapshots and the past.
    pub(super) fn keep_house(&mut self) -> Result<(), Poisoned> {
        if let Some(error) = self.recovered.journal.failed() {
            return Err(error.into());
        }
        let is_away = self.recovered.journal.is_away();
        if is_away != self.is_full {
            self.is_full = is_away;
            self.crew.shared.is_full(self.options.id, is_away);
        }
        self.tend_snapshot();
        let now_ms = self.now_ms();
        if now_ms - self.forgotten_ms > FORGET_EVERY_MS {
            self.forgotten_ms = now_ms;
            self.plans.forget_before(now_ms / 1000 - 1);
            let oldest_ms = now_ms - self.options.history_seconds.saturating_mul(1000);
            self.recovered.ledger.forget_before(oldest_ms)?;
            self.decide(now_ms, |turn| turn.sweep(oldest_ms, SWEPT_MAX).map(|_| vec![]))?;
            self.look_at_zones()?;
        }
        Ok(())
    }

    /// Ends a snapshot, and begins the next one that is due or wanted.
    pub(in crate::partition) fn tend_snapshot(&mut self) {
        self.end_snapshot();
        let is_due = self.recovered.bytes_since >= self.options.snapshot_after_bytes;
        let is_wanted = self.snapshot_wanted > self.recovered.snapshot_position
            && Instant::now() >= self.snapshot_from;
        if (is_due || is_wanted) && self.snapshot.is_none() {
            self.snapshot_from = Instant::now() + SNAPSHOT_AGAIN;
            self.begin_snapshot();
        }
    }

    /// Says how far it has written, and has a snapshot of that written if it is wanted.
    pub(in crate::partition) fn say_newest(
        &mut self,
        snapshot: bool,
        answer: oneshot::Sender<Newest>,
    ) {
        let position = self.recovered.journal.last().0;
        if snapshot {
            (self.snapshot_wanted, self.snapshot_from) = (position, Instant::now());
        }
        // Whoever asked may be gone.
        _ = answer.send(Newest { position, last_ms: self.recovered.last_ms });
    }

    fn end_snapshot(&mut self) {
        let Some(snapshot) = self.snapshot.take_if(|snapshot| snapshot.is_over()) else { return };
        let at = snapshot.at;
        match snapshot.result() {
            Ok(_) => {
                self.recovered.snapshot_position = at.0;
                if let Some(archived) = &self.options.archived {
                    archived.has_snapshot(at.0);
                }
            }
            Err(error) => {
                tracing::warn!(partition = self.options.id, %error, "a snapshot failed");
            }
        }
    }

    /// One that cannot begin is tried again after as many bytes.
    fn begin_snapshot(&mut self) {
        let at = self.recovered.journal.last();
        self.recovered.bytes_since = 0;
        let writer = match self.recovered.journal.snapshot_writer(at) {
            Ok(writer) => writer,
            Err(error) => {
                return tracing::warn!(partition = self.options.id, %error, "no snapshot now");
            }
        };
        let state = self.recovered.state.to_snapshot();
        let ledger = &self.recovered.ledger;
        let is_elsewhere =
            self.recovered.journal.owner().is_some() || self.options.archived.is_some();
        let carried = is_elsewhere.then(|| ledger.view());
        match Running::begin(writer, state, ledger.last_file(), carried) {
            Ok(running) => self.snapshot = Some(running),
            Err(error) => tracing::warn!(%error, "failed to begin a snapshot"),
        }
    }
}
