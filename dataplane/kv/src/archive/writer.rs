//! The thread that archives the journal: goes on where the archive ends, and tries again for ever.
//!
//! It keeps nothing of its own but the identity of the journal; what it tells others are figures,
//! and what they want of it are [`Wishes`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use orrery_journal::{Feed, Journal, JournalError};
use tokio::sync::oneshot;

use super::WriteError;
use super::config::ArchiveConfig;
use super::session::Session;
use crate::metrics::Shared;
use crate::operand::Loop;
use crate::persistence::snapshots::Target;
use crate::server::requests::{Hearer, Request};

/// How often the thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Wait after a failure, doubled up to the other one.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Longest wait for the archive when the process ends.
const LAST: Duration = Duration::from_secs(5);
/// No end is asked for yet.
const RUNNING: u64 = u64::MAX;

/// What others want of the thread.
#[derive(Debug)]
pub(crate) struct Wishes {
    /// The position after which it ends.
    end: AtomicU64,
    /// When waiting for that is given up; set before it.
    until: OnceLock<Instant>,
    /// A snapshot of this position or a later one, with every record up to it.
    snapshot: AtomicU64,
}

impl Default for Wishes {
    fn default() -> Self {
        let end = AtomicU64::new(RUNNING);
        Self { end, until: OnceLock::new(), snapshot: AtomicU64::new(0) }
    }
}

impl Wishes {
    /// Wants the journal's snapshot of `position`, or a later one, in the archive.
    pub(crate) fn want_snapshot(&self, position: u64) {
        self.snapshot.fetch_max(position, Ordering::AcqRel);
    }

    pub(super) fn snapshot(&self) -> u64 {
        self.snapshot.load(Ordering::Acquire)
    }

    /// Records up to here are not to wait.
    pub(super) fn records(&self) -> u64 {
        let end = Some(self.end.load(Ordering::Acquire)).filter(|end| *end != RUNNING);
        end.unwrap_or(0).max(self.snapshot())
    }

    pub(super) fn is_ending(&self) -> bool {
        self.end.load(Ordering::Acquire) != RUNNING
    }

    fn end_after(&self, position: u64) {
        self.until.get_or_init(|| Instant::now() + LAST);
        self.end.store(position, Ordering::Release);
    }

    /// Whether the end was asked for and has come: everything is put, or its time is up.
    fn is_over(&self, archived: Option<u64>) -> bool {
        let end = self.end.load(Ordering::Acquire);
        end != RUNNING
            && (archived.is_some_and(|archived| archived >= end)
                || self.until.get().is_some_and(|until| Instant::now() >= *until))
    }
}

/// What is archived, and who hears of it.
pub(super) struct Source {
    pub(super) config: ArchiveConfig,
    pub(super) data: PathBuf,
    pub(super) feed: Feed,
    pub(super) shared: Arc<Shared>,
    pub(super) wishes: Arc<Wishes>,
    /// That of the journal as it was opened.
    pub(super) opened_epoch: u64,
    pub(super) event_loop: Arc<OnceLock<Loop>>,
}

impl Source {
    pub(super) fn epoch(&self) -> u64 {
        self.opened_epoch.max(self.shared.epoch.get())
    }

    /// Asks for a snapshot in the journal. Whether it comes, its figure shows.
    pub(super) fn ask_for_snapshot(&self) {
        let Some(event_loop) = self.event_loop.get() else { return };
        let (answer, _) = oneshot::channel();
        let request = Request::Snapshot { target: Target::Journal, on: Hearer::Nobody, answer };
        if let Err(error) = event_loop.ask(request) {
            tracing::warn!(%error, "failed to ask for a snapshot");
        }
    }
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Archiver {
    wishes: Arc<Wishes>,
    thread: JoinHandle<()>,
}

impl Archiver {
    /// Begins to archive the journal, whose folder lies in `data`.
    pub(crate) fn start(
        config: ArchiveConfig,
        data: &Path,
        journal: &Journal,
        shared: Arc<Shared>,
        wishes: Arc<Wishes>,
        event_loop: Arc<OnceLock<Loop>>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (feed, opened_epoch, data) = (journal.feed(), journal.epoch().0, data.to_owned());
        let wished = Arc::clone(&wishes);
        let source = Source { config, data, feed, shared, wishes, opened_epoch, event_loop };
        let thread =
            thread::Builder::new().name("archive".into()).spawn(move || run(&source, &runtime))?;
        Ok(Self { wishes: wished, thread })
    }

    /// Puts what is durable up to `position`, if the archive takes it within [`LAST`], and ends.
    pub(crate) fn finish(self, position: u64) {
        self.wishes.end_after(position);
        let until = Instant::now() + LAST + LOOK;
        // A target that hangs must not hold the process: the rest is archived at the next start.
        while !self.thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn run(source: &Source, runtime: &tokio::runtime::Runtime) {
    let (shared, wishes, to) = (&source.shared, &source.wishes, &source.config.to);
    let mut wait = RETRY_MIN;
    while !wishes.is_over(None) {
        let before = shared.archived_position.get();
        match runtime.block_on(archive(source)) {
            // The journal ended or failed: the process does as well.
            Ok(()) | Err(WriteError::Journal(JournalError::Unknown { .. })) => return,
            Err(error) => {
                tracing::warn!(%error, %to, "failed to archive");
                shared.set_archive_trouble(&format!("{to}: {error}"));
            }
        }
        let went_on = shared.archived_position.get() > before;
        wait = if went_on { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
        let until = Instant::now() + wait;
        while Instant::now() < until && !wishes.is_over(None) {
            thread::sleep(LOOK.min(wait));
        }
    }
}

/// Connects and puts until the end, or the first failure.
async fn archive(source: &Source) -> Result<(), WriteError> {
    let mut session = Session::begin(source).await?;
    while !source.wishes.is_over(Some(session.archived())) {
        session.turn().await?;
    }
    Ok(())
}
