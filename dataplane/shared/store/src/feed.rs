//! The last commits in memory, for those who follow the changes under a prefix.
//!
//! It is bounded: who falls behind is told so and reads a snapshot instead. It must never skip a
//! commit silently, and shows none before it is durable.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;

use crate::plan::Rows;
use crate::{StoreError, Version};

/// What a change costs besides its key and value.
const CHANGE_BYTES: usize = 128;

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// Its value now; `None` if it was removed.
    pub value: Option<Bytes>,
    /// When the value is hidden, in microseconds since the Unix epoch.
    pub until_us: Option<i64>,
}

/// The changes of one commit, by key.
pub type Changes = (Version, Vec<Change>);

#[derive(Debug)]
struct Recent {
    commits: VecDeque<(u64, Rows)>,
    bytes: usize,
    /// Commits up to this one are not here any more.
    floor: u64,
    wakers: Vec<Waker>,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Feed {
    recent: Mutex<Recent>,
    published: Condvar,
    bytes_max: usize,
}

fn bytes_of(rows: &Rows) -> usize {
    let value = |row: &crate::row::Row| row.value.len();
    rows.iter().map(|(key, row)| CHANGE_BYTES + key.len() + row.as_ref().map_or(0, value)).sum()
}

impl Feed {
    /// Begins behind `version`.
    pub(crate) fn new(version: u64, bytes_max: usize) -> Self {
        let (commits, wakers) = (VecDeque::new(), Vec::new());
        let recent = Recent { commits, bytes: 0, floor: version, wakers, closed: false };
        Self { recent: Mutex::new(recent), published: Condvar::new(), bytes_max }
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        // No code that can panic runs under this lock.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows commits that are durable, in order and without gaps.
    pub(crate) fn publish(&self, commits: Vec<(u64, Rows)>) {
        let mut recent = self.lock();
        for (version, rows) in commits {
            recent.bytes += bytes_of(&rows);
            recent.commits.push_back((version, rows));
        }
        while recent.bytes > self.bytes_max {
            let Some((version, rows)) = recent.commits.pop_front() else { break };
            recent.bytes -= bytes_of(&rows);
            recent.floor = version;
        }
        self.wake(recent);
    }

    /// Tells followers, once they have seen everything, that nothing more comes.
    pub(crate) fn close(&self) {
        let mut recent = self.lock();
        recent.closed = true;
        self.wake(recent);
    }

    fn wake(&self, mut recent: MutexGuard<'_, Recent>) {
        let wakers = std::mem::take(&mut recent.wakers);
        drop(recent);
        self.published.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Follows the changes after `from` under a prefix.
    pub(crate) fn watch(self: &Arc<Self>, prefix: &[u8], from: Version) -> Watch {
        let prefix = Bytes::copy_from_slice(prefix);
        Watch { feed: Arc::clone(self), prefix, seen: from.0 }
    }
}

/// Follows changes. After [`StoreError::Lagged`], read a snapshot and watch from its version.
#[derive(Debug)]
pub struct Watch {
    feed: Arc<Feed>,
    prefix: Bytes,
    /// The last commit looked at.
    seen: u64,
}

impl Watch {
    /// The next commit with a change under the prefix, if there is one already.
    pub fn try_next(&mut self) -> Result<Option<Changes>, StoreError> {
        let feed = Arc::clone(&self.feed);
        let recent = feed.lock();
        self.look(&recent)
    }

    /// The same; blocks until there is one or the deadline has passed, which gives `None`.
    pub fn wait_next(&mut self, deadline: Instant) -> Result<Option<Changes>, StoreError> {
        let feed = Arc::clone(&self.feed);
        let mut recent = feed.lock();
        loop {
            let found = self.look(&recent)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if found.is_some() || left.is_zero() {
                return Ok(found);
            }
            let waited = feed.published.wait_timeout(recent, left);
            recent = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The same as a future.
    pub fn next_changes(&mut self) -> NextChanges<'_> {
        NextChanges { watch: self }
    }

    fn look(&mut self, recent: &Recent) -> Result<Option<Changes>, StoreError> {
        if self.seen < recent.floor {
            return Err(StoreError::Lagged { oldest: Version(recent.floor + 1) });
        }
        let first = recent.commits.partition_point(|(version, _)| *version <= self.seen);
        for (version, rows) in recent.commits.range(first..) {
            self.seen = *version;
            let changes = self.under_prefix(rows);
            if !changes.is_empty() {
                return Ok(Some((Version(*version), changes)));
            }
        }
        if recent.closed {
            return Err(StoreError::unavailable("it was closed"));
        }
        Ok(None)
    }

    fn under_prefix(&self, rows: &Rows) -> Vec<Change> {
        let from_prefix = rows.range(self.prefix.clone()..);
        let rows = from_prefix.take_while(|(key, _)| key.starts_with(&self.prefix));
        rows.map(|(key, row)| Change {
            key: key.clone(),
            value: row.as_ref().map(|row| row.value.clone()),
            until_us: row.as_ref().and_then(|row| row.until_us),
        })
        .collect()
    }
}

/// The next changes of a [`Watch`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct NextChanges<'a> {
    watch: &'a mut Watch,
}

impl Future for NextChanges<'_> {
    type Output = Result<Changes, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let feed = Arc::clone(&self.watch.feed);
        let mut recent = feed.lock();
        if let Some(found) = self.watch.look(&recent).transpose() {
            return Poll::Ready(found);
        }
        // Cleared by every publication: at most one for each task that waits.
        if !recent.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            recent.wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}
