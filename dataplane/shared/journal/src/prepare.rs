//! Segment files made ahead of time, full of zeros and synced, so that writing a group into one
//! changes no metadata of the file system.
//!
//! Works in small synced chunks with pauses, so that the committer's sync never queues behind much
//! of it, and without pauses once the segment being written is half full.
//! A trimmed segment is as good as a new one and is taken first: its old frames carry the seed of
//! another salt and positions before the new segment's first, so nothing mistakes them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::format::spare_name;
use crate::shared::Shared;
use crate::{Disk, DiskFile, JournalError};

/// Spare files to make: one, since a segment lasts far longer than the making of the next.
const MADE_MAX: usize = 1;
/// Spare files to keep when a trim offers them: each saves the writing of a segment of zeros.
const KEPT_MAX: usize = 4;
/// Zeros written between two syncs.
const CHUNK_BYTES: usize = 256 << 10;
/// Pause between chunks while there is time: 64 MiB take under two seconds.
const PAUSE: Duration = Duration::from_millis(5);
/// How long to wait after a failure before trying again.
const RETRY: Duration = Duration::from_secs(2);

/// A prepared file, still under its spare name.
#[derive(Debug)]
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Spare>,
    next_number: u64,
    stop: bool,
}

/// The prepared files and the preparer's alarm clock.
#[derive(Debug, Default)]
pub(crate) struct Spares {
    state: Mutex<State>,
    wake: Condvar,
    low: AtomicBool,
    urgent: AtomicBool,
}

impl Spares {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next segment could not be prepared for want of room.
    pub(crate) fn space_low(&self) -> bool {
        self.low.load(Ordering::Acquire)
    }

    /// Takes a prepared file and has the next one made.
    pub(crate) fn take(&self) -> Option<Spare> {
        let spare = self.lock().ready.pop();
        self.wake.notify_one();
        spare
    }

    /// How many more files would be welcome that need no writing.
    pub(crate) fn welcome(&self) -> usize {
        KEPT_MAX.saturating_sub(self.lock().ready.len())
    }

    pub(crate) fn put(&self, spare: Spare) {
        self.low.store(false, Ordering::Release);
        self.lock().ready.push(spare);
    }

    /// A name no other spare has.
    pub(crate) fn new_name(&self) -> String {
        let mut state = self.lock();
        state.next_number += 1;
        spare_name(state.next_number)
    }

    /// Keeps new names clear of a spare found on disk.
    pub(crate) fn seen(&self, number: u64) {
        let mut state = self.lock();
        state.next_number = state.next_number.max(number);
    }

    /// Has the preparer look again, because room may have been made.
    pub(crate) fn kick(&self) {
        self.wake.notify_one();
    }

    /// Says whether the segment being written is half full.
    pub(crate) fn hurry(&self, urgent: bool) {
        self.urgent.store(urgent, Ordering::Release);
    }

    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_all();
    }
}

/// Makes spares, a chunk at a time.
#[derive(Debug)]
pub(crate) struct Preparer {
    shared: Arc<Shared>,
    unfinished: Option<Spare>,
}

impl Preparer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, unfinished: None }
    }

    /// Writes one chunk if a spare is missing. `false` when there was nothing to do, or no room.
    pub(crate) fn turn(&mut self) -> bool {
        let enough = self.shared.spares.lock().ready.len() >= MADE_MAX;
        if !self.shared.options.preallocate || enough {
            return false;
        }
        match self.extend() {
            Ok(()) => true,
            Err(error) => {
                self.give_up(&error);
                false
            }
        }
    }

    /// Runs until the journal stops.
    pub(crate) fn run(mut self) {
        loop {
            let worked = self.turn();
            let spares = &self.shared.spares;
            let state = spares.lock();
            if state.stop {
                return;
            }
            let enough = state.ready.len() >= MADE_MAX;
            if worked && !enough && spares.urgent.load(Ordering::Acquire) {
                continue;
            }
            let pause = if worked && !enough { PAUSE } else { RETRY };
            drop(spares.wake.wait_timeout(state, pause));
        }
    }

    fn extend(&mut self) -> Result<(), JournalError> {
        let disk = &*self.shared.disk;
        let mut spare = match self.unfinished.take() {
            Some(spare) => spare,
            None => begin(disk, self.shared.spares.new_name())?,
        };
        let left = self.shared.options.segment_bytes - spare.bytes;
        let chunk = vec![0; left.min(CHUNK_BYTES as u64) as usize];
        let written = spare
            .file
            .write_at(&chunk, spare.bytes)
            .and_then(|()| spare.file.sync())
            .map_err(|e| JournalError::io("prepare", &spare.name, e));
        spare.bytes += chunk.len() as u64;
        let done = spare.bytes >= self.shared.options.segment_bytes;
        if written.is_ok() && done {
            self.shared.spares.put(spare);
        } else {
            self.unfinished = Some(spare);
        }
        written
    }

    /// Gives the room of an unfinished spare back: snapshots may need it more.
    fn give_up(&mut self, error: &JournalError) {
        let full = matches!(error, JournalError::DiskFull { .. });
        let was_full = self.shared.spares.low.swap(full, Ordering::AcqRel);
        // It is tried again ten times a second: once is enough to say that the disk is full.
        if !(full && was_full) {
            tracing::warn!(error = %error.chain(), "the next journal segment cannot be prepared");
        }
        if let Some(spare) = self.unfinished.take() {
            remove(&*self.shared.disk, &spare.name);
        }
    }
}

fn begin(disk: &dyn Disk, name: String) -> Result<Spare, JournalError> {
    let file = disk.create(&name).map_err(|e| JournalError::io("create", &name, e))?;
    Ok(Spare { name, file, bytes: 0 })
}

/// Removes a file whose absence nobody relies on.
pub(crate) fn remove(disk: &dyn Disk, name: &str) {
    if let Err(error) = disk.remove(name) {
        tracing::warn!(file = name, %error, "failed to remove a file no longer needed");
    }
}
