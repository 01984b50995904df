//! What the owner of a journal, its committer, its preparer and snapshot writers share.
//!
//! The committer alone moves `durable`; whoever first fails sets `failed`, once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::carriage::Carriage;
use crate::prepare::Spares;
use crate::queue::Queue;
use crate::wait::Waiters;
use crate::{Disk, JournalError, Lock, Options};

type Progress = Arc<dyn Fn() + Send + Sync>;

/// The files a journal lives in, by position, ascending.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// First positions of the segments; the last one is being written.
    pub(crate) segments: Vec<u64>,
    /// Positions of the snapshots that count.
    pub(crate) snapshots: Vec<u64>,
    /// Who reads along, by number: the last position each has had.
    pub(crate) tails: BTreeMap<u64, u64>,
    /// Number of the next one.
    pub(crate) next_tail: u64,
}

pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: Options,
    /// Where records go before they count; without it they count once they are on this disk.
    pub(crate) carriage: Option<Carriage>,
    pub(crate) queue: Queue,
    pub(crate) spares: Spares,
    pub(crate) waiters: Waiters,
    pub(crate) files: Mutex<Files>,
    pub(crate) snapshot_running: AtomicBool,
    /// Bytes appended and not yet durable.
    pub(crate) waiting_bytes: AtomicUsize,
    /// Accepted records wait for room on the disk.
    pub(crate) full: AtomicBool,
    /// The epoch on disk, for headers of new segments.
    pub(crate) epoch: AtomicU64,
    durable: AtomicU64,
    failed: OnceLock<JournalError>,
    closed: AtomicBool,
    progress: Mutex<Option<Progress>>,
    /// Kept while anyone still holds on to the journal's files.
    _lock: Box<dyn Lock>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("disk", &self.disk)
            .field("durable", &self.durable)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        options: Options,
        carriage: Option<Carriage>,
        lock: Box<dyn Lock>,
        files: Files,
        durable: u64,
        epoch: u64,
    ) -> Self {
        Self {
            disk,
            options,
            carriage,
            queue: Queue::default(),
            spares: Spares::default(),
            waiters: Waiters::default(),
            files: Mutex::new(files),
            snapshot_running: AtomicBool::new(false),
            waiting_bytes: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            epoch: AtomicU64::new(epoch),
            durable: AtomicU64::new(durable),
            failed: OnceLock::new(),
            closed: AtomicBool::new(false),
            progress: Mutex::new(None),
            _lock: lock,
        }
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The failure that poisoned the journal.
    pub(crate) fn failure(&self) -> Option<JournalError> {
        self.failed.get().cloned()
    }

    pub(crate) fn is_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Everything up to `position` is on disk: tells everyone.
    pub(crate) fn publish(&self, position: u64, bytes: usize) {
        debug_assert!(position >= self.durable(), "what is durable stays durable");
        self.durable.store(position, Ordering::Release);
        self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
        self.tell(false);
    }

    /// Takes no more records from now on, and tells everyone.
    pub(crate) fn poison(&self, error: JournalError) {
        tracing::error!(error = %error.chain(), "the journal failed");
        if self.failed.set(error).is_ok() {
            self.tell(true);
        }
    }

    /// Nothing more will become durable.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.tell(true);
    }

    /// Wakes waiters and the owner's event loop.
    pub(crate) fn tell(&self, everyone: bool) {
        self.waiters.wake(self.durable(), everyone);
        let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(progress) = progress {
            progress();
        }
    }

    pub(crate) fn set_progress(&self, progress: Progress) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress);
    }

    /// Runs `work` on the list of files.
    pub(crate) fn with_files<R>(&self, work: impl FnOnce(&mut Files) -> R) -> R {
        work(&mut self.files.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
