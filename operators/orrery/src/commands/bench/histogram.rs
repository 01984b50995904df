//! Durations counted in buckets whose width grows with them: at most 1/32 too long.

use std::time::Duration;

/// Buckets of each power of two.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.ilog2();
/// Up to 2^40 µs, which is far beyond any deadline here.
const BUCKETS: usize = ((40 - STEP_BITS as usize) + 1) * STEPS as usize;

/// How often each duration came.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.counts[bucket(us).min(BUCKETS - 1)] += 1;
        self.total += 1;
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (own, more) in self.counts.iter_mut().zip(&other.counts) {
            *own += more;
        }
        self.total += other.total;
    }

    /// The duration that `share` of all are not above; zero without any.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if *count > 0 && seen >= wanted {
                return Duration::from_micros(upper(index));
            }
        }
        Duration::ZERO
    }
}

/// The bucket of a number of microseconds.
fn bucket(us: u64) -> usize {
    if us < STEPS {
        return us as usize;
    }
    let power = us.ilog2() - STEP_BITS;
    ((u64::from(power) + 1) * STEPS + (us >> power) - STEPS) as usize
}

/// The largest number of microseconds of a bucket.
fn upper(index: usize) -> u64 {
    let (power, step) = (index as u64 / STEPS, index as u64 % STEPS);
    if power == 0 {
        return step;
    }
    ((STEPS + step + 1) << (power - 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_the_bucket_that_ends_closely_above_it() {
        for us in (0..5000).chain([65_535, 65_536, 1_000_000, 10_000_000_000, (1 << 40) - 1]) {
            let top = upper(bucket(us));
            assert!(top >= us && top - us <= us / STEPS, "{us}: {top}");
        }
        let mut histogram = Histogram::default();
        histogram.add(Duration::MAX);
        assert!(histogram.quantile(1.0) >= Duration::from_hours(24));
    }

    #[test]
    fn quantiles_are_those_of_all_that_was_added_anywhere() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        assert_eq!(one.quantile(0.5), Duration::ZERO);
        for ms in 1..=100 {
            let to = if ms % 2 == 0 { &mut one } else { &mut other };
            to.add(Duration::from_millis(ms));
        }
        one.merge(&other);
        for (share, ms) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = one.quantile(share).as_secs_f64() * 1e3;
            assert!(found >= ms && found < ms * 1.04, "{share}: {found}");
        }
    }
}
