//! When a group is worth waiting for: the clients that were just answered usually come again at once,
//! and a sync that begins with the first of them leaves the others to the next.
//!
//! Without this, clients that wait for each commit fall into two camps, each of which waits for the
//! other's sync. It waits as long as those who are expected keep coming, for two syncs or a millisecond
//! at most, and hardly ever where they did not come. Who commits alone waits for nobody.

use std::time::Duration;

/// Longest wait, whatever the disk takes.
const PATIENCE_MAX: Duration = Duration::from_millis(1);
/// Where the disk is so fast that the clients take longer than it: 64 of one thread take this long.
const PATIENCE_MIN: Duration = Duration::from_micros(400);
/// Without a commit for so long nobody is coming: one thread makes one in some microseconds.
pub(crate) const GAP: Duration = Duration::from_micros(60);
/// A group is complete without this part of those who are expected.
const STRAGGLERS: usize = 8;
/// After so many waits in vain in a row it rests for twice as many groups as powers of two.
const MISSES_MAX: u32 = 7;

/// How many commits a group waits for, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) commits: usize,
    pub(crate) patience: Duration,
}

/// What is known of those who commit.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    /// Commits of the last group: their clients may come again.
    answered: usize,
    /// Commits that waited already when those were answered.
    queued: usize,
    patience: Duration,
    /// Waits in vain since the last one that was worth it.
    misses: u32,
    /// Groups that begin at once before the next try.
    rest: u32,
}

impl Gather {
    /// A group of so many commits was written, which took so long, and so many wait behind it.
    pub(crate) fn answers(&mut self, answered: usize, queued: usize, took: Duration) {
        self.answered = answered;
        self.queued = queued;
        self.patience = (took * 2).clamp(PATIENCE_MIN, PATIENCE_MAX);
    }

    /// What the next group waits for; `None`: it begins with what is there.
    pub(crate) fn goal(&mut self) -> Option<Goal> {
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        let commits = self.queued + self.answered - self.answered / STRAGGLERS;
        (commits > 1).then_some(Goal { commits, patience: self.patience })
    }

    /// So many were there when the wait was over.
    pub(crate) fn found(&mut self, commits: usize) {
        let came = commits.saturating_sub(self.queued);
        if came >= self.answered.div_ceil(2) {
            self.misses = 0;
            return;
        }
        self.misses = (self.misses + 1).min(MISSES_MAX);
        self.rest = 1 << self.misses;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(300);

    fn answered(commits: usize, queued: usize) -> Gather {
        let mut gather = Gather::default();
        gather.answers(commits, queued, SYNC);
        gather
    }

    #[test]
    fn the_first_group_and_a_single_client_wait_for_nobody() {
        assert_eq!(Gather::default().goal(), None);
        assert_eq!(answered(1, 0).goal(), None);
    }

    #[test]
    fn two_camps_become_one() {
        let goal = Goal { commits: 59 + 5, patience: SYNC * 2 };
        assert_eq!(answered(5, 59).goal(), Some(goal));
    }

    #[test]
    fn a_slow_disk_does_not_make_it_more_patient_than_it_may_be() {
        let mut gather = answered(64, 0);
        gather.answers(64, 0, Duration::from_secs(1));
        let goal = Goal { commits: 56, patience: PATIENCE_MAX };
        assert_eq!(gather.goal(), Some(goal));
    }

    #[test]
    fn where_nobody_comes_again_it_hardly_ever_waits() {
        let mut gather = answered(10, 10);
        let mut waits = 0;
        for _ in 0..1000 {
            if gather.goal().is_some() {
                waits += 1;
                gather.found(12);
            }
        }
        assert!((1..=15).contains(&waits), "{waits} waits in vain");
        gather.rest = 0;
        gather.found(15);
        assert!(
            gather.goal().is_some() && gather.goal().is_some(),
            "one that is worth it, forgives"
        );
    }
}
