//! The committer: takes everything that waits, writes it in one write, syncs once, publishes.
//!
//! At most one group is written and not synced at any time. That is what makes the watermark in
//! each frame true, and with it the rule of recovery sound. After a failed write or sync it never
//! tries again: the kernel may have dropped the pages, and a later sync would succeed over nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::carriage::Porter;
use crate::queue::Woken;
use crate::segment::{self, Active};
use crate::shared::Shared;
use crate::{JournalError, frame};

/// How long a group waits for room on the disk between attempts.
const FULL_RETRY: Duration = Duration::from_millis(100);

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Idle,
    Committed,
    /// There is a group and no room on the disk.
    Full,
    /// There is a group and its carrier does not answer.
    Away,
    Failed,
}

#[derive(Debug)]
pub(crate) struct Committer {
    shared: Arc<Shared>,
    porter: Porter,
    /// `None` when the last segment ends in a tear: the next group begins a new one.
    active: Option<Active>,
    /// The group being committed; kept while the disk is full.
    group: Vec<u8>,
    /// Position of the last record in `group`.
    last: u64,
    /// Whether records were written that no mark vouches for.
    unmarked: bool,
    /// Epoch of the last record committed. A mark repeats it: one with the epoch of the owner would
    /// stand in the way of records of an older epoch that a later leader still has to hand over.
    epoch: u64,
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        active: Option<Active>,
        unmarked: bool,
        epoch: u64,
    ) -> Self {
        Self {
            shared,
            porter: Porter::default(),
            active,
            group: Vec::new(),
            last: 0,
            unmarked,
            epoch,
        }
    }

    /// Commits one group, if any waits.
    pub(crate) fn turn(&mut self) -> Turn {
        if self.shared.is_failed() {
            return Turn::Failed;
        }
        if self.group.is_empty() {
            match self.shared.queue.take(&mut self.group) {
                Some(last) => self.last = last,
                None => return Turn::Idle,
            }
        }
        let carried = self.porter.carry(&self.shared, &self.group, self.last);
        match carried.and_then(|()| self.commit(self.shared.durable())) {
            Ok(()) => {
                self.porter.next();
                self.unmarked = true;
                self.shared.full.store(false, Ordering::Release);
                let bytes = self.group.len();
                self.group.clear();
                self.shared.publish(self.last, bytes);
                Turn::Committed
            }
            Err(error @ JournalError::DiskFull { .. }) => {
                if !self.shared.full.swap(true, Ordering::AcqRel) {
                    tracing::error!(%error, "accepted records wait for room on the disk");
                    self.shared.tell(false);
                }
                Turn::Full
            }
            Err(JournalError::Away { .. }) => Turn::Away,
            Err(error) => {
                self.shared.poison(error);
                Turn::Failed
            }
        }
    }

    /// Runs until the journal stops and everything handed over is committed.
    pub(crate) fn run(mut self) {
        loop {
            let woken = match self.turn() {
                Turn::Committed => continue,
                Turn::Failed => return,
                Turn::Idle => {
                    self.shared.queue.calm(&mut self.group);
                    self.shared.queue.sleep(None)
                }
                Turn::Full => self.shared.queue.sleep(Some(FULL_RETRY)),
                Turn::Away => self.shared.queue.sleep(Some(self.porter.pause())),
            };
            if woken == Woken::Stop {
                self.mark();
                return;
            }
        }
    }

    /// Vouches for the last group with a mark. Only when everything is committed; a failure costs
    /// nothing but the mark.
    pub(crate) fn mark(&mut self) {
        let ready = self.unmarked && self.group.is_empty() && !self.shared.is_failed();
        let bytes = frame::frame_bytes(0);
        if !ready || !self.active.as_ref().is_some_and(|active| active.has_room(bytes)) {
            return;
        }
        let durable = self.shared.durable();
        frame::encode_mark(&mut self.group, durable, self.epoch);
        if let Err(error) = self.commit(durable) {
            tracing::warn!(error = %error.chain(), "failed to mark the end of the journal");
        }
        self.group.clear();
        self.unmarked = false;
    }

    /// Writes and syncs the group; `watermark` is everything durable before it.
    fn commit(&mut self, watermark: u64) -> Result<(), JournalError> {
        let bytes = self.group.len();
        let roomy = self.active.take().filter(|active| active.has_room(bytes));
        let active = if let Some(active) = roomy {
            active
        } else {
            let epoch = frame::first_epoch(&self.group);
            segment::begin(&self.shared, watermark + 1, epoch)?
        };
        let active = self.active.insert(active);
        let epoch = frame::stamp(&mut self.group, active.seed, watermark);
        active.write(&mut self.group).map_err(|e| JournalError::io("write", &active.name, e))?;
        // What was carried is durable where it was carried to.
        if self.shared.carriage.is_none() {
            active.sync().map_err(|source| JournalError::Io {
                action: "sync",
                file: active.name.clone(),
                source: source.into(),
            })?;
        }
        active.offset += bytes as u64;
        self.epoch = epoch;
        let shared = &self.shared;
        shared.spares.hurry(active.is_half_full(shared.options.segment_bytes));
        Ok(())
    }
}
