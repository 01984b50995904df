//! The right to send runs that were launched a while ago.
//!
//! That a launch is durable proves that its owner was the owner then. A run that waits for room at its
//! target may leave long after, when another owner has it: it leaves only while the engine that carries
//! the journals confirmed the owner within [`LENGTH`].
//!
//! Must not: ask the engine. Whoever does says when it asked.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a confirmation counts, from the moment it was asked for.
pub(crate) const LENGTH: Duration = Duration::from_secs(2);
/// Pause between two questions: three of them may be lost.
pub(crate) const RENEW: Duration = Duration::from_millis(500);

/// See the module. Measured by a clock that goes on while the process is stopped.
#[derive(Debug)]
pub struct Lease {
    start: Instant,
    /// Milliseconds since the start; `u64::MAX` of a process that is alone.
    until_ms: AtomicU64,
}

impl Default for Lease {
    /// Of a process that is alone: it never ends.
    fn default() -> Self {
        Self { start: Instant::now(), until_ms: AtomicU64::new(u64::MAX) }
    }
}

impl Lease {
    /// One that nobody confirmed yet.
    pub fn unconfirmed() -> Self {
        Self { until_ms: AtomicU64::new(0), ..Self::default() }
    }

    /// It was confirmed by an answer to a question of this moment.
    pub fn confirm(&self, asked: Instant) {
        let until = (asked + LENGTH).saturating_duration_since(self.start);
        self.until_ms.fetch_max(until.as_millis() as u64, Ordering::AcqRel);
    }

    pub fn revoke(&self) {
        self.until_ms.store(0, Ordering::Release);
    }

    pub fn holds(&self) -> bool {
        let now_ms = self.start.elapsed().as_millis() as u64;
        now_ms < self.until_ms.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_a_while_from_the_question() {
        assert!(Lease::default().holds(), "alone");
        let lease = Lease::unconfirmed();
        assert!(!lease.holds());
        let now = Instant::now();
        lease.confirm(now.checked_sub(LENGTH).unwrap_or(now));
        assert!(!lease.holds(), "the answer took as long as the lease");
        lease.confirm(now);
        assert!(lease.holds());
        lease.revoke();
        assert!(!lease.holds());
    }
}
