//! How many Jobs are made in a second, by all engines together.
//!
//! Source of the algorithm: token bucket (RFC 2697 has the same with two rates).

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Jobs in a second in the long run.
const PER_SECOND: f64 = 200.0;
/// Jobs that may be made at once: a thousand CronJobs of the same minute.
const BURST: f64 = 1000.0;

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Below zero: so many are on their way to their turn.
    tokens: f64,
    at: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { state: Mutex::new(State { tokens: BURST, at: Instant::now() }) }
    }
}

impl Pace {
    /// Waits for the turn of one Job.
    pub(super) async fn turn(&self) {
        let wait = self.take(Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    fn take(&self, now: Instant) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.at).as_secs_f64();
        state.tokens = passed.mul_add(PER_SECOND, state.tokens).min(BURST) - 1.0;
        state.at = now;
        Duration::from_secs_f64((-state.tokens / PER_SECOND).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_what_is_beyond_waits_for_its_turn() {
        let pace = Pace::default();
        let now = Instant::now();
        for _ in 0..BURST as u32 {
            assert_eq!(pace.take(now), Duration::ZERO);
        }
        let first = pace.take(now);
        assert_eq!(first, Duration::from_secs_f64(1.0 / PER_SECOND));
        assert_eq!(pace.take(now), first * 2, "behind the one before");
        let later = now + Duration::from_mins(1);
        assert_eq!(pace.take(later), Duration::ZERO);
    }
}
