//! A token bucket, kept as the one moment at which it would be full again.
//!
//! The generic cell rate algorithm (ITU-T I.371): no counter to refill, no timer that runs.

use std::time::Duration;

use tokio::time::Instant;

/// What part of a second's calls may go at once, after a pause.
const BURST_PART: u32 = 10;

#[derive(Debug)]
pub(super) struct Bucket {
    /// Time that one call takes of the rate.
    interval: Duration,
    /// How far ahead of the steady rate calls may run.
    tolerance: Duration,
    /// When the next call is due at the steady rate.
    due: Instant,
}

impl Bucket {
    /// `None`: a rate of zero lets nothing through, which is no rate.
    pub(super) fn new(rate_per_second: u32, now: Instant) -> Option<Self> {
        let interval = Duration::from_secs(1).checked_div(rate_per_second)?;
        let burst = (rate_per_second / BURST_PART).max(1);
        Some(Self { interval, tolerance: interval * (burst - 1), due: now })
    }

    /// Takes a token, or says when there will be one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let due = self.due.max(now);
        if due > now + self.tolerance {
            return Err(due - self.tolerance);
        }
        self.due = due + self.interval;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_window_has_more_than_the_rate_and_the_burst(
            rate in 1..5_000_u32,
            steps in prop::collection::vec(0..2_000_000_u64, 1..400),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(rate, start).expect("a rate");
            let (mut now, mut taken) = (start, 0_u64);
            for step in steps {
                now += Duration::from_nanos(step);
                match bucket.take(now) {
                    Ok(()) => taken += 1,
                    Err(at) => {
                        prop_assert!(at > now);
                        now = at;
                        prop_assert!(bucket.take(now).is_ok(), "it said when there is one");
                        taken += 1;
                    }
                }
            }
            let burst = f64::from((rate / BURST_PART).max(1));
            let allowed = (now - start).as_secs_f64() * f64::from(rate) * 1.001 + burst + 1.0;
            prop_assert!(taken as f64 <= allowed, "{taken} of {allowed}");
        }
    }

    #[test]
    fn a_rate_of_zero_is_no_rate() {
        assert!(Bucket::new(0, Instant::now()).is_none());
    }
}
