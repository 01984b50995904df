//! What waits for the committer: one buffer of whole frames, filled by the owner of the journal,
//! emptied by the committer. Its bound is kept by the owner, who counts what is in flight too.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Buffers larger than this go back to the allocator after use.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// The same once nothing waits: what a burst needed is not kept for the calm behind it.
const KEPT_BYTES_CALM: usize = 256 << 10;

#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<u8>,
    /// Position of the last record in `frames`.
    last: u64,
    /// The committer sleeps and wants to be woken.
    asleep: bool,
    stop: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// What the committer was woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Work,
    Stop,
    TimedOut,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that can panic runs under this lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over all of `pending`, whose last record is `last`, and leaves it empty.
    pub(crate) fn put(&self, pending: &mut Vec<u8>, last: u64) {
        let mut waiting = self.lock();
        if waiting.frames.is_empty() {
            std::mem::swap(&mut waiting.frames, pending);
        } else {
            waiting.frames.extend_from_slice(pending);
            pending.clear();
        }
        waiting.last = last;
        let asleep = std::mem::take(&mut waiting.asleep);
        // Woken under the lock, the committer would only run into it.
        drop(waiting);
        if asleep {
            self.wake.notify_one();
        }
    }

    /// Takes everything that waits into the empty `group`; gives the position of its last record.
    pub(crate) fn take(&self, group: &mut Vec<u8>) -> Option<u64> {
        debug_assert!(group.is_empty());
        if group.capacity() > KEPT_BYTES_MAX {
            *group = Vec::new();
        }
        let mut waiting = self.lock();
        if waiting.frames.is_empty() {
            return None;
        }
        std::mem::swap(&mut waiting.frames, group);
        Some(waiting.last)
    }

    /// Gives back what a burst needed, once nothing waits.
    pub(crate) fn calm(&self, group: &mut Vec<u8>) {
        let free = |buffer: &mut Vec<u8>| {
            if buffer.is_empty() && buffer.capacity() > KEPT_BYTES_CALM {
                *buffer = Vec::new();
            }
        };
        free(group);
        free(&mut self.lock().frames);
    }

    /// Sleeps until there is work or the journal stops, at most `limit` if one is given.
    pub(crate) fn sleep(&self, limit: Option<Duration>) -> Woken {
        let mut waiting = self.lock();
        loop {
            if limit.is_none() && !waiting.frames.is_empty() {
                return Woken::Work;
            }
            if waiting.stop {
                return Woken::Stop;
            }
            if let Some(limit) = limit {
                // Held-up work is tried again after the limit, whatever arrives meanwhile.
                let woken = self.wake.wait_timeout(waiting, limit);
                let timed_out = woken.unwrap_or_else(PoisonError::into_inner).1.timed_out();
                return if timed_out { Woken::TimedOut } else { Woken::Work };
            }
            waiting.asleep = true;
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Asks the committer to finish what waits and end.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.wake.notify_all();
    }
}
