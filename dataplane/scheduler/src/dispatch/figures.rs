//! Figures of targets: written by the event loop, read by whoever serves metrics, without waiting.

use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::target::TargetName;
use crate::run::Outcome;

/// Buckets of the latency: up to 1 ms, 2 ms, 4 ms … and the last one for all above 131 s.
const BUCKETS: usize = 19;

/// How a target does. Counts are since the target is known to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFigures {
    pub target: TargetName,
    pub queued: u64,
    pub in_flight: u64,
    /// Since when calls wait because of the rate or because the target asked for a pause, in
    /// milliseconds since the Unix epoch; `None` when none does.
    pub throttled_since_ms: Option<u64>,
    pub counts: Counts,
    pub latency: Latency,
}

/// How many attempts ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub succeeded: u64,
    pub failed: u64,
    pub refused: u64,
    pub timed_out: u64,
    pub cancelled: u64,
    pub expired: u64,
}

impl Counts {
    /// Each with the word that metrics have for it.
    pub fn named(&self) -> [(&'static str, u64); 6] {
        [
            ("Succeeded", self.succeeded),
            ("Failed", self.failed),
            ("Refused", self.refused),
            ("TimedOut", self.timed_out),
            ("Cancelled", self.cancelled),
            ("Expired", self.expired),
        ]
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.cancelled += other.cancelled;
        self.expired += other.expired;
    }
}

/// From sending to the outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Latency {
    /// How many attempts took up to `2^i` milliseconds and more than the bucket before.
    pub buckets: [u64; BUCKETS],
    pub sum: Duration,
}

impl AddAssign<&Self> for Latency {
    fn add_assign(&mut self, other: &Self) {
        for (count, more) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
        self.sum += other.sum;
    }
}

impl Latency {
    /// The upper bound of bucket `index`; `None` for the last, which has none.
    pub fn bound(index: usize) -> Option<Duration> {
        (index + 1 < BUCKETS).then(|| Duration::from_millis(1 << index))
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The upper bound of the bucket that the given part of all attempts is in; `None` when there
    /// were no attempts or the last bucket is reached.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let index = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Self::bound(index)
    }
}

/// What the event loop writes.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    pub(super) queued: AtomicU64,
    pub(super) in_flight: AtomicU64,
    /// 0: not throttled.
    pub(super) throttled_since_ms: AtomicU64,
    outcomes: [AtomicU64; 6],
    latency: [AtomicU64; BUCKETS],
    latency_us: AtomicU64,
}

impl Gauges {
    pub(super) fn count(&self, outcome: &Outcome) {
        let index = match outcome {
            Outcome::Succeeded { .. } => 0,
            Outcome::Failed { .. } => 1,
            Outcome::Refused { .. } => 2,
            Outcome::TimedOut { .. } => 3,
            Outcome::Cancelled => 4,
            Outcome::Expired => 5,
        };
        self.outcomes[index].fetch_add(1, Relaxed);
    }

    pub(super) fn took(&self, time: Duration) {
        self.latency[bucket(time)].fetch_add(1, Relaxed);
        self.latency_us.fetch_add(time.as_micros() as u64, Relaxed);
    }

    pub(super) fn read(&self, target: TargetName) -> TargetFigures {
        let outcomes = self.outcomes.each_ref().map(|count| count.load(Relaxed));
        let [succeeded, failed, refused, timed_out, cancelled, expired] = outcomes;
        let since = self.throttled_since_ms.load(Relaxed);
        TargetFigures {
            target,
            queued: self.queued.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            throttled_since_ms: (since > 0).then_some(since),
            counts: Counts { succeeded, failed, refused, timed_out, cancelled, expired },
            latency: Latency {
                buckets: self.latency.each_ref().map(|count| count.load(Relaxed)),
                sum: Duration::from_micros(self.latency_us.load(Relaxed)),
            },
        }
    }
}

fn bucket(time: Duration) -> usize {
    let ms = time.as_micros().div_ceil(1_000).max(1);
    (ms.next_power_of_two().trailing_zeros() as usize).min(BUCKETS - 1)
}

/// The targets that are known, for readers of figures.
#[derive(Debug, Default)]
pub(super) struct Registry {
    targets: std::sync::Mutex<std::collections::BTreeMap<TargetName, Arc<Gauges>>>,
}

impl Registry {
    pub(super) fn add(&self, target: TargetName) -> Arc<Gauges> {
        let gauges = Arc::new(Gauges::default());
        self.locked().insert(target, Arc::clone(&gauges));
        gauges
    }

    pub(super) fn remove(&self, target: &TargetName) {
        self.locked().remove(target);
    }

    pub(super) fn read(&self) -> Vec<TargetFigures> {
        let targets = self.locked();
        targets.iter().map(|(target, gauges)| gauges.read(target.clone())).collect()
    }

    /// A thread that panicked here left a whole map: every change is one call.
    fn locked(
        &self,
    ) -> std::sync::MutexGuard<'_, std::collections::BTreeMap<TargetName, Arc<Gauges>>> {
        self.targets.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        for (us, index) in [(0, 0), (1_000, 0), (1_001, 1), (2_000, 1), (2_001, 2), (64_000, 6)] {
            assert_eq!(bucket(Duration::from_micros(us)), index, "{us} us");
        }
        assert_eq!(bucket(Duration::from_secs(131)), 17);
        assert_eq!(bucket(Duration::from_hours(1)), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_bounds_of_buckets() {
        let gauges = Gauges::default();
        for _ in 0..99 {
            gauges.took(Duration::from_micros(700));
        }
        gauges.took(Duration::from_millis(100));
        let latency = gauges.read(TargetName::named("a")).latency;
        assert_eq!(latency.quantile(0.5), Some(Duration::from_millis(1)));
        assert_eq!(latency.quantile(1.0), Some(Duration::from_millis(128)));
        assert_eq!(latency.count(), 100);
    }
}
