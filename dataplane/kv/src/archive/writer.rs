//! The thread that archives the journal: goes on where the archive ends, and tries again for ever.
//!
//! It keeps nothing of its own but the identity of the journal; what it tells others are figures,
//! and whether it writes at all is a matter of its [`Posts`].

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use orrery_journal::JournalError;
use tokio::sync::oneshot;

use super::WriteError;
use super::config::ArchiveConfig;
use super::keeping::Keeping;
use super::ownership;
use super::post::{Mandate, Post, Posts};
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
const LAST: Duration = Duration::from_secs(10);
/// No end is asked for yet.
const RUNNING: u64 = u64::MAX;

/// What others want of the thread.
#[derive(Debug)]
pub(super) struct Wishes {
    /// The position after which it ends.
    end: AtomicU64,
    /// When waiting for that is given up; set before it.
    until: OnceLock<Instant>,
}

impl Default for Wishes {
    fn default() -> Self {
        let end = AtomicU64::new(RUNNING);
        Self { end, until: OnceLock::new() }
    }
}

impl Wishes {
    /// Records up to here are not to wait.
    pub(super) fn records(&self) -> u64 {
        let end = Some(self.end.load(Ordering::Acquire)).filter(|end| *end != RUNNING);
        end.unwrap_or(0)
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
    /// Name of this process.
    pub(super) member: String,
    /// Others may write the archive after it.
    pub(super) is_grouped: bool,
    pub(super) posts: Arc<Posts>,
    pub(super) shared: Arc<Shared>,
    pub(super) wishes: Arc<Wishes>,
    pub(super) event_loop: Arc<OnceLock<Loop>>,
}

impl Source {
    pub(super) fn epoch(&self) -> u64 {
        self.shared.epoch.get()
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

/// Who archives, and for whom.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub(crate) config: ArchiveConfig,
    /// Folder with that of the journal.
    pub(crate) data: PathBuf,
    /// Name of this process.
    pub(crate) member: String,
    /// It is one of several.
    pub(crate) is_grouped: bool,
    pub(crate) posts: Arc<Posts>,
}

impl Archiver {
    /// Begins to archive the journal whenever it is this process's to archive.
    pub(crate) fn start(
        assignment: Assignment,
        shared: Arc<Shared>,
        event_loop: Arc<OnceLock<Loop>>,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Assignment { config, data, member, is_grouped, posts } = assignment;
        let wishes = Arc::new(Wishes::default());
        let wished = Arc::clone(&wishes);
        let source = Source { config, data, member, is_grouped, posts, shared, wishes, event_loop };
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
    let (shared, wishes, posts) = (&source.shared, &source.wishes, &source.posts);
    let mut keeping = Keeping::default();
    let mut wait = RETRY_MIN;
    if let Err(error) = ownership::prepare(source) {
        tracing::warn!(%error, "failed to keep the identity of this journal");
    }
    while !wishes.is_over(None) {
        let post = posts.current();
        let Some(mandate) = post.as_ref().and_then(|post| post.mandate.as_ref()) else {
            match &post {
                Some(post) => keeping.lately(post, source.span(), Instant::now()),
                None => keeping.clear(),
            }
            if wishes.is_ending() {
                return;
            }
            source.stand_by();
            drop(post);
            thread::sleep(LOOK);
            continue;
        };
        let Some(post) = &post else { continue };
        let before = shared.archived_position.get();
        match runtime.block_on(archive(source, post, mandate)) {
            Ok(()) if wishes.is_ending() => return,
            Ok(()) => continue,
            // The journal ended or failed, and the process will as well.
            Err(WriteError::Journal(JournalError::Unknown { .. })) => {
                keeping.clear();
                posts.leave_this(post);
                continue;
            }
            Err(error) => {
                let to = &source.config.to;
                tracing::warn!(%error, %to, "failed to archive");
                shared.set_archive_trouble(&format!("{to}: {error}"));
            }
        }
        let went_on = shared.archived_position.get() > before;
        wait = if went_on { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
        let until = Instant::now() + wait;
        while Instant::now() < until && posts.is_current(post) && !wishes.is_over(None) {
            thread::sleep(LOOK.min(wait));
        }
    }
}

impl Source {
    /// How long what was written may take to be archived, by whoever does it.
    fn span(&self) -> Duration {
        self.config.interval * 4
    }

    /// Somebody else archives: there is nothing to say of it here.
    fn stand_by(&self) {
        let shared = &self.shared;
        for figure in [
            &shared.archived_position,
            &shared.archive_lag_records,
            &shared.archive_snapshot_position,
            &shared.archive_copy_percent,
        ] {
            figure.set(0);
        }
        shared.set_archive_trouble("");
    }
}

/// Connects and puts until the end, the first failure, or another post.
async fn archive(source: &Source, post: &Arc<Post>, mandate: &Mandate) -> Result<(), WriteError> {
    let work = async {
        let mut session = Session::begin(source, &post.feed, mandate).await?;
        let is_mine =
            |archived| !source.wishes.is_over(Some(archived)) && source.posts.is_current(post);
        while is_mine(session.archived()) {
            post.keep_behind(session.archived());
            session.turn().await?;
        }
        Ok(())
    };
    tokio::select! {
        result = work => result,
        () = source.posts.changed(post) => Ok(()),
    }
}
