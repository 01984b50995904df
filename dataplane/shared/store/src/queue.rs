//! What waits for the committer: commits with their bytes counted, taken from the front in groups.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::gather::{GAP, Gather, Goal};
use crate::ticket::Reply;
use crate::{Commit, Options, StoreError};

/// Commits of one group. More would make the first of them wait longer than a sync is worth.
const GROUP_COMMITS_MAX: usize = 4_096;
/// Bytes of one group, unless its first commit alone is larger.
const GROUP_BYTES_MAX: usize = 1 << 20;

/// A commit and who waits for it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) commit: Commit,
    pub(crate) bytes: usize,
    pub(crate) reply: Reply,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// How many commits wake the committer; `None` while it does not sleep. Waking costs a call of
    /// the system, also if nobody sleeps.
    wakes_at: Option<usize>,
    /// Why nothing is taken any more.
    closed: Option<StoreError>,
}

impl Waiting {
    fn wakes(&mut self) -> bool {
        let enough = |commits| self.entries.len() >= commits || self.bytes >= GROUP_BYTES_MAX;
        self.wakes_at.take_if(|commits| enough(*commits)).is_some()
    }
}

#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    commits_max: usize,
    bytes_max: usize,
}

impl Queue {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            commits_max: options.queue_commits_max,
            bytes_max: options.queue_bytes_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // No code that can panic runs under this lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a commit if there is room; otherwise answers it.
    pub(crate) fn put(&self, entry: Entry) {
        let mut waiting = self.lock();
        let refused = if let Some(error) = &waiting.closed {
            Some(error.clone())
        } else {
            let queued = waiting.entries.len();
            let is_full = queued >= self.commits_max
                || (queued > 0 && waiting.bytes + entry.bytes > self.bytes_max);
            is_full.then_some(StoreError::Throttled { queued, queued_bytes: waiting.bytes })
        };
        if let Some(error) = refused {
            drop(waiting);
            entry.reply.answer(Err(error));
            return;
        }
        waiting.bytes += entry.bytes;
        waiting.entries.push_back(entry);
        let wakes = waiting.wakes();
        drop(waiting);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// How many commits wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// The next group; sleeps until there is one, and a little longer if that is worth it. `None`
    /// when closed and empty.
    pub(crate) fn take(&self, gather: &mut Gather) -> Option<Vec<Entry>> {
        let mut waiting = self.lock();
        while waiting.entries.is_empty() {
            if waiting.closed.is_some() {
                return None;
            }
            waiting.wakes_at = Some(1);
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(goal) = gather.goal() {
            waiting = self.gather(waiting, goal);
            gather.found(waiting.entries.len());
        }
        waiting.wakes_at = None;
        let mut group = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = waiting.entries.front() {
            let is_full = group.len() >= GROUP_COMMITS_MAX || bytes + entry.bytes > GROUP_BYTES_MAX;
            if is_full && !group.is_empty() {
                break;
            }
            bytes += entry.bytes;
            group.extend(waiting.entries.pop_front());
        }
        waiting.bytes -= bytes;
        Some(group)
    }

    /// Sleeps until as many are there as wanted, no more come, or the patience is over.
    fn gather<'a>(
        &'a self,
        mut waiting: MutexGuard<'a, Waiting>,
        goal: Goal,
    ) -> MutexGuard<'a, Waiting> {
        let deadline = Instant::now() + goal.patience;
        let commits = goal.commits.min(GROUP_COMMITS_MAX);
        let mut seen = 0;
        while waiting.entries.len() < commits
            && waiting.entries.len() > seen
            && waiting.bytes < GROUP_BYTES_MAX
            && waiting.closed.is_none()
        {
            let left = deadline.saturating_duration_since(Instant::now()).min(GAP);
            if left.is_zero() {
                break;
            }
            seen = waiting.entries.len();
            waiting.wakes_at = Some(commits);
            let waited = self.wake.wait_timeout(waiting, left);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        waiting
    }

    /// Takes nothing more, and answers this; what waits stays. The first answer is kept.
    pub(crate) fn close(&self, error: StoreError) {
        self.lock().closed.get_or_insert(error);
        self.wake.notify_all();
    }

    /// Answers everything that waits as it answers what comes, once closed: none of it was begun.
    pub(crate) fn refuse_all(&self) {
        let (entries, error) = {
            let mut waiting = self.lock();
            waiting.bytes = 0;
            let entries = std::mem::take(&mut waiting.entries);
            (entries, waiting.closed.clone())
        };
        let error = error.unwrap_or_else(|| StoreError::unavailable("it was closed"));
        for entry in entries {
            entry.reply.answer(Err(error.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ticket;

    fn entry(bytes: usize) -> (Entry, Ticket) {
        let (reply, ticket) = Ticket::new();
        (Entry { commit: Commit::default(), bytes, reply }, ticket)
    }

    #[test]
    fn a_full_queue_refuses_and_a_large_commit_is_taken_alone() {
        let options = Options { queue_bytes_max: 10, queue_commits_max: 2, ..Options::default() };
        let queue = Queue::new(&options);
        let (large, _large) = entry(11);
        queue.put(large);
        let (small, refused) = entry(1);
        queue.put(small);
        let throttled = StoreError::Throttled { queued: 1, queued_bytes: 11 };
        assert_eq!(refused.wait(), Err(throttled));
        assert_eq!(queue.take(&mut Gather::default()).map(|group| group.len()), Some(1));
    }

    #[test]
    fn a_group_ends_at_its_bytes() {
        let queue = Queue::new(&Options::default());
        let tickets: Vec<Ticket> = (0..3)
            .map(|_| {
                let (entry, ticket) = entry(GROUP_BYTES_MAX / 2);
                queue.put(entry);
                ticket
            })
            .collect();
        assert_eq!(queue.take(&mut Gather::default()).map(|group| group.len()), Some(2));
        assert_eq!(queue.take(&mut Gather::default()).map(|group| group.len()), Some(1));
        drop(tickets);
    }

    #[test]
    fn a_closed_queue_refuses_and_ends_when_empty() {
        let queue = Queue::new(&Options::default());
        let (first, waiting) = entry(1);
        queue.put(first);
        queue.close(StoreError::unavailable("over"));
        let (late, refused) = entry(1);
        queue.put(late);
        assert_eq!(refused.wait(), Err(StoreError::unavailable("over")));
        assert!(queue.take(&mut Gather::default()).is_some());
        assert!(queue.take(&mut Gather::default()).is_none());
        assert!(matches!(waiting.wait(), Err(StoreError::Unknown { .. })));
    }
}
