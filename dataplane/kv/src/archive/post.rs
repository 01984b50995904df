//! What this process is to its archive: the one that writes it, or one that may be next.
//!
//! The event loop says so with every change of role; the archiver looks. A post is left before its
//! journal is closed, and [`Posts::wait_until_left`] waits until nobody holds on to that journal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::{Feed, Hold, Position};

use crate::replication::history::History;

/// How often a change of post is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// The right to write the archive, of one epoch.
#[derive(Debug)]
pub(crate) struct Mandate {
    pub(crate) epoch: u64,
    /// Last position of the journal when it was given.
    pub(crate) begins: u64,
    /// Which positions up to there have which epoch.
    pub(crate) history: History,
    /// No failover can take back what is up to here.
    safe: AtomicU64,
    /// A snapshot of this position or a later one is wanted, with every record up to it.
    wished: AtomicU64,
    /// Position of the newest snapshot on its line.
    snapshot: AtomicU64,
    /// The epoch in the names of its objects; 0 when they have none.
    line: AtomicU64,
}

impl Mandate {
    pub(crate) fn new(epoch: u64, begins: u64, history: &History, safe: u64) -> Self {
        Self {
            epoch,
            begins,
            history: history.up_to(begins),
            safe: AtomicU64::new(safe),
            wished: AtomicU64::new(0),
            snapshot: AtomicU64::new(0),
            line: AtomicU64::new(0),
        }
    }

    pub(super) fn safe(&self) -> u64 {
        self.safe.load(Ordering::Acquire)
    }

    /// Wants the journal's snapshot of `position`, or a later one, in the archive.
    pub(crate) fn want_snapshot(&self, position: u64) {
        self.wished.fetch_max(position, Ordering::AcqRel);
    }

    pub(super) fn wished(&self) -> u64 {
        self.wished.load(Ordering::Acquire)
    }

    /// Position of the newest snapshot there, and the line it is on.
    pub(crate) fn snapshot(&self) -> (u64, u64) {
        // In this order: the line is known before there is a snapshot on it.
        let position = self.snapshot.load(Ordering::Acquire);
        (position, self.line.load(Ordering::Acquire))
    }

    pub(super) fn set_snapshot(&self, position: u64, line: u64) {
        self.line.store(line, Ordering::Release);
        self.snapshot.store(position, Ordering::Release);
    }
}

/// One post.
#[derive(Debug)]
pub(crate) struct Post {
    pub(super) feed: Feed,
    /// `None`: somebody else writes.
    pub(crate) mandate: Option<Mandate>,
    /// What is kept of the journal for the archive.
    hold: Mutex<Option<Hold>>,
}

impl Post {
    /// Has what is behind `position` kept, for as long as there is this post, or another one with
    /// the same journal.
    pub(super) fn keep_behind(&self, position: u64) {
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
pub(crate) struct Posts {
    held: Mutex<Held>,
}

impl Posts {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up a post with the same journal, or the first one.
    pub(crate) fn take(&self, feed: Feed, mandate: Option<Mandate>) {
        let mut held = self.held();
        let hold = Mutex::new(held.post.as_ref().and_then(|post| post.take_hold()));
        held.leave();
        held.post = Some(Arc::new(Post { feed, mandate, hold }));
    }

    /// Leaves the post.
    pub(crate) fn leave(&self) {
        self.held().leave();
    }

    /// Leaves `post`, unless another was taken up since.
    pub(super) fn leave_this(&self, post: &Arc<Post>) {
        let mut held = self.held();
        if held.post.as_ref().is_some_and(|current| Arc::ptr_eq(current, post)) {
            held.leave();
        }
    }

    /// Waits until nobody uses any post that was left; `false` when that takes longer than `limit`.
    pub(crate) fn wait_until_left(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while self.held().before.iter().any(|post| post.strong_count() > 0) {
            if Instant::now() >= until {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
        true
    }

    pub(crate) fn current(&self) -> Option<Arc<Post>> {
        self.held().post.clone()
    }

    pub(crate) fn is_current(&self, post: &Arc<Post>) -> bool {
        self.held().post.as_ref().is_some_and(|held| Arc::ptr_eq(held, post))
    }

    /// Ends once `post` is no longer the one.
    pub(super) async fn changed(&self, post: &Arc<Post>) {
        while self.is_current(post) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Everything up to `position` is safe now.
    pub(crate) fn set_safe(&self, position: u64) {
        if let Some(mandate) = self.held().post.as_ref().and_then(|post| post.mandate.as_ref()) {
            mandate.safe.store(position, Ordering::Release);
        }
    }
}
