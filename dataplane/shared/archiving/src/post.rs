//! What this process is to its archive: the one that writes it, or one that may be next.
//!
//! The event loop says so with every change of role; the archiver looks. A post is left before its
//! journal is closed, and [`Posts::wait_until_left`] waits until nobody holds on to that journal.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::{Feed, Hold, Position};

use super::history::History;

/// How often a change of post is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The right to write the archive, of one epoch.
#[derive(Debug)]
pub struct Mandate {
    pub epoch: u64,
    /// Last position of the journal when it was given.
    pub begins: u64,
    /// Which positions up to there have which epoch.
    pub history: History,
    /// No failover can take back what is up to here.
    safe: AtomicU64,
    /// A snapshot of this position or a later one is wanted, with every record up to it.
    wished: AtomicU64,
    /// Position of the newest snapshot on its line.
    snapshot: AtomicU64,
    /// The epoch in the names of its objects; 0 when they have none.
    line: AtomicU64,
    /// Records up to here are not to wait.
    records: AtomicU64,
    /// Everything up to here is in the archive, on its line.
    archived: AtomicU64,
    /// The archive was opened, and is this one's to write.
    is_begun: AtomicBool,
}

impl Mandate {
    pub fn new(epoch: u64, begins: u64, history: &History, safe: u64) -> Self {
        Self {
            epoch,
            begins,
            history: history.up_to(begins),
            safe: AtomicU64::new(safe),
            wished: AtomicU64::new(0),
            snapshot: AtomicU64::new(0),
            line: AtomicU64::new(0),
            records: AtomicU64::new(0),
            archived: AtomicU64::new(0),
            is_begun: AtomicBool::new(false),
        }
    }

    pub(crate) fn safe(&self) -> u64 {
        self.safe.load(Ordering::Acquire)
    }

    /// Wants the journal's snapshot of `position`, or a later one, in the archive.
    pub fn want_snapshot(&self, position: u64) {
        self.wished.fetch_max(position, Ordering::AcqRel);
    }

    /// Wants every record up to `position` in the archive at once.
    pub fn want_records(&self, position: u64) {
        self.records.fetch_max(position, Ordering::AcqRel);
    }

    /// Records up to here are not to wait.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Acquire).max(self.wished())
    }

    /// Everything up to here is in the archive; none before it was opened.
    pub fn archived(&self) -> Option<u64> {
        let is_begun = self.is_begun.load(Ordering::Acquire);
        is_begun.then(|| self.archived.load(Ordering::Acquire))
    }

    pub(crate) fn set_archived(&self, position: u64) {
        self.archived.store(position, Ordering::Release);
        self.is_begun.store(true, Ordering::Release);
    }

    pub(crate) fn wished(&self) -> u64 {
        self.wished.load(Ordering::Acquire)
    }

    /// Position of the newest snapshot there, and the line it is on.
    pub fn snapshot(&self) -> (u64, u64) {
        // In this order: the line is known before there is a snapshot on it.
        let position = self.snapshot.load(Ordering::Acquire);
        (position, self.line.load(Ordering::Acquire))
    }

    pub(crate) fn set_snapshot(&self, position: u64, line: u64) {
        self.line.store(line, Ordering::Release);
        self.snapshot.store(position, Ordering::Release);
    }
}

/// One post.
#[derive(Debug)]
pub struct Post {
    pub(crate) feed: Feed,
    /// `None`: somebody else writes.
    pub mandate: Option<Mandate>,
    /// What is kept of the journal for the archive.
    hold: Mutex<Option<Hold>>,
}

impl Post {
    /// Has what is behind `position` kept, for as long as there is this post, or another one with
    /// the same journal.
    pub(crate) fn keep_behind(&self, position: u64) {
        let mut hold = self.hold.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = hold.get_or_insert_with(|| self.feed.hold(Position(position)));
        hold.move_to(Position(position));
    }

    fn take_hold(&self) -> Option<Hold> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[derive(Debug, Default)]
struct Held {
    post: Option<Arc<Post>>,
    /// Those before, as long as anybody uses them.
    before: Vec<Weak<Post>>,
}

impl Held {
    fn leave(&mut self) {
        self.before.retain(|post| post.strong_count() > 0);
        self.before.extend(self.post.take().as_ref().map(Arc::downgrade));
    }
}

/// The post of this process.
#[derive(Debug, Default)]
pub struct Posts {
    held: Mutex<Held>,
}

impl Posts {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a post with the same journal, or the first one.
    pub fn take(&self, feed: Feed, mandate: Option<Mandate>) {
        let mut held = self.held();
        let hold = Mutex::new(held.post.as_ref().and_then(|post| post.take_hold()));
        held.leave();
        held.post = Some(Arc::new(Post { feed, mandate, hold }));
    }

    /// Leaves the post.
    pub fn leave(&self) {
        self.held().leave();
    }

    /// Leaves `post`, unless another was taken up since.
    pub(crate) fn leave_this(&self, post: &Arc<Post>) {
        let mut held = self.held();
        if held.post.as_ref().is_some_and(|current| Arc::ptr_eq(current, post)) {
            held.leave();
        }
    }

    /// Waits until nobody uses any post that was left; `false` when that takes longer than `limit`.
    pub fn wait_until_left(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.held().before.iter().any(|post| post.strong_count() > 0) {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    pub fn current(&self) -> Option<Arc<Post>> {
        self.held().post.clone()
    }

    pub fn is_current(&self, post: &Arc<Post>) -> bool {
        self.held().post.as_ref().is_some_and(|held| Arc::ptr_eq(held, post))
    }

    /// Ends once `post` is no longer the one.
    pub(crate) async fn changed(&self, post: &Arc<Post>) {
        while self.is_current(post) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Everything up to `position` is safe now.
    pub fn set_safe(&self, position: u64) {
        if let Some(mandate) = self.held().post.as_ref().and_then(|post| post.mandate.as_ref()) {
            mandate.safe.store(position, Ordering::Release);
        }
    }
}
