//! Until when a primary may write. Pure: every time is a monotonic number of milliseconds.
//!
//! A confirmation counts from the moment this process asked for it, because only that is known to lie
//! before it: the operator brings back a token of the moment of a report, followers repeat the clock
//! of a heartbeat. So what was held up on its way, or waited in a socket while this process was
//! stopped, confirms nothing.

use std::time::Instant;

/// The moments of this process, as numbers that nobody else can read or make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    start: Instant,
    /// Random, so that a token of another process, or of an earlier life, is none of these.
    base: u64,
}

impl Moments {
    pub(crate) fn new(start: Instant, random: u64) -> Self {
        // Neither 0, which stands for none, nor near the end of the numbers.
        Self { start, base: (random >> 1).max(1) }
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// A token for this moment.
    pub(crate) fn now(self) -> u64 {
        self.base + self.now_ms()
    }

    /// The moment a token stands for; `None` if this process has not made it.
    pub(crate) fn read(self, token: u64) -> Option<u64> {
        token.checked_sub(self.base).filter(|at_ms| *at_ms <= self.now_ms())
    }
}

/// The right to write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lease {
    /// How long a confirmation lasts; 0 = for ever.
    pub(crate) length_ms: u64,
    confirmed_ms: Option<u64>,
}

impl Lease {
    /// It was confirmed by something that was asked for at `asked_ms`.
    pub(crate) fn confirm(&mut self, asked_ms: u64) {
        self.confirmed_ms = self.confirmed_ms.max(Some(asked_ms));
    }

    pub(crate) fn revoke(&mut self) {
        self.confirmed_ms = None;
    }

    pub(crate) fn holds(&self, now_ms: u64) -> bool {
        self.confirmed_ms.is_some_and(|at_ms| {
            self.length_ms == 0 || now_ms < at_ms.saturating_add(self.length_ms)
        })
    }
}

/// The stamp that `followers / 2 + 1` followers have seen, if so many have.
pub(crate) fn majority_stamp(followers: u32, stamps: &mut [u64]) -> Option<u64> {
    stamps.sort_unstable_by(|a, b| b.cmp(a));
    stamps.get(followers as usize / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_from_the_moment_it_was_asked_for() {
        let mut lease = Lease { length_ms: 3000, ..Lease::default() };
        assert!(!lease.holds(100), "nobody confirmed it");
        lease.confirm(100);
        assert!(lease.holds(3099) && !lease.holds(3100));
        lease.confirm(50);
        assert!(lease.holds(3099), "an older confirmation takes nothing away");
        lease.revoke();
        assert!(!lease.holds(101));
    }

    #[test]
    fn without_a_length_one_confirmation_is_enough() {
        let mut lease = Lease::default();
        assert!(!lease.holds(0));
        lease.confirm(0);
        assert!(lease.holds(u64::MAX));
    }

    #[test]
    fn only_tokens_of_this_life_are_moments() {
        let moments = Moments::new(Instant::now(), u64::MAX);
        let token = moments.now();
        assert!(moments.read(token).is_some_and(|at_ms| at_ms <= moments.now_ms()));
        for foreign in [0, 1, token + 60_000, u64::MAX] {
            assert_eq!(moments.read(foreign), None, "{foreign}");
        }
        assert!(Moments::new(Instant::now(), 0).now() > 0);
    }

    #[test]
    fn more_than_half_of_the_followers_confirm() {
        assert_eq!(majority_stamp(2, &mut [7, 9]), Some(7));
        assert_eq!(majority_stamp(2, &mut [9]), None);
        assert_eq!(majority_stamp(3, &mut [7, 9, 8]), Some(8));
        assert_eq!(majority_stamp(1, &mut [9]), Some(9));
        assert_eq!(majority_stamp(0, &mut []), None);
    }
}
