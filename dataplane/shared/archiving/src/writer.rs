//! The thread that archives the journal: goes on where the archive ends, and tries again for ever.
//!
//! It keeps nothing of its own but the identity of the journal; what it tells others are figures,
//! and whether it writes at all is a matter of its [`Posts`].

use std::fmt::Debug;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use orrery_journal::JournalError;

use super::WriteError;
use super::config::ArchiveConfig;
use super::figures::Figures;
use super::keeping::Keeping;
use super::ownership;
use super::post::{Mandate, Post, Posts};
use super::session::{Session, now_s};

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
pub(crate) struct Wishes {
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
    pub(crate) fn records(&self) -> u64 {
        let end = Some(self.end.load(Ordering::Acquire)).filter(|end| *end != RUNNING);
        end.unwrap_or(0)
    }

    pub(crate) fn is_ending(&self) -> bool {
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

/// The engine whose journal is archived.
pub trait Engine: Debug + Send + Sync {
    /// Position of the newest snapshot in its journal.
    fn snapshot_position(&self) -> u64;

    /// The epoch in force.
    fn epoch(&self) -> u64;

    /// Asks for a snapshot in the journal. Whether it comes, its position shows.
    fn ask_for_snapshot(&self);
}

/// What is archived, and who hears of it.
pub(crate) struct Source {
    pub(crate) config: ArchiveConfig,
    pub(crate) data: PathBuf,
    /// Name of this process.
    pub(crate) member: String,
    /// Others may write the archive after it.
    pub(crate) is_grouped: bool,
    pub(crate) posts: Arc<Posts>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) wishes: Arc<Wishes>,
    pub(crate) engine: Arc<dyn Engine>,
}

/// The running thread.
#[derive(Debug)]
pub struct Archiver {
    wishes: Arc<Wishes>,
    thread: JoinHandle<()>,
}

/// Who archives, and for whom.
#[derive(Debug)]
pub struct Assignment {
    pub config: ArchiveConfig,
    /// Folder with that of the journal.
    pub data: PathBuf,
    /// Name of this process.
    pub member: String,
    /// It is one of several.
    pub is_grouped: bool,
    pub posts: Arc<Posts>,
    pub figures: Arc<Figures>,
    pub engine: Arc<dyn Engine>,
}

impl Archiver {
    /// Begins to archive the journal whenever it is this process's to archive.
    pub fn start(assignment: Assignment) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Assignment { config, data, member, is_grouped, posts, figures, engine } = assignment;
        let wishes = Arc::new(Wishes::default());
        let wished = Arc::clone(&wishes);
        let source = Source { config, data, member, is_grouped, posts, figures, wishes, engine };
        let thread =
            thread::Builder::new().name("archive".into()).spawn(move || run(&source, &runtime))?;
        Ok(Self { wishes: wished, thread })
    }

    /// Puts what is durable up to `position`, if the archive takes it within [`LAST`], and ends.
    pub fn finish(self, position: u64) {
        self.end_after(position);
        self.wait();
    }

    /// Has it put what is durable up to `position`, and end; [`Self::wait`] waits for that.
    pub fn end_after(&self, position: u64) {
        self.wishes.end_after(position);
    }

    /// Waits for an end that was asked for.
    pub fn wait(self) {
        let until = Instant::now() + LAST + LOOK;
        // A target that hangs must not hold the process: the rest is archived at the next start.
        while !self.thread.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn run(source: &Source, runtime: &tokio::runtime::Runtime) {
    let (figures, wishes, posts) = (&source.figures, &source.wishes, &source.posts);
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
            figures.clear();
            drop(post);
            thread::sleep(LOOK);
            continue;
        };
        let Some(post) = &post else { continue };
        let before = figures.archived_position.get();
        figures.begin(now_s());
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
                figures.failures.add(1);
                figures.set_trouble(&format!("{to}: {error}"));
            }
        }
        let went_on = figures.archived_position.get() > before;
        wait = if went_on { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
        let until = Instant::now() + wait;
        while Instant::now() < until && posts.is_current(post) && !wishes.is_over(None) {
            // What becomes durable meanwhile waits as well.
            let archived = figures.archived_position.get();
            figures.set_lag(post.feed.durable().0.saturating_sub(archived), now_s());
            thread::sleep(LOOK.min(wait));
        }
    }
}

impl Source {
    /// How long what was written may take to be archived, by whoever does it.
    fn span(&self) -> Duration {
        self.config.interval * 4
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
