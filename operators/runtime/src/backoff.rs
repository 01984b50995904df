//! How long an object waits after its n-th failed round.
//!
//! Must not: sleep. kube's error policy knows no attempts, so they are counted here, per object,
//! and forgotten on success.
//!
//! Full range: 1 s doubling to 5 min, of which a random quarter is taken off so that objects which
//! failed together do not come back together.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

/// Bounds of the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffOptions {
    pub first: Duration,
    pub max: Duration,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_mins(5) }
    }
}

impl BackoffOptions {
    /// Wait after the `attempt`-th failure in a row, from 1; `random` in 0..=1.
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self.first.saturating_mul(1_u32 << attempt.saturating_sub(1).min(20));
        jittered(doubled.min(self.max), random)
    }
}

/// Between three quarters of `wait` and all of it.
pub fn jittered(wait: Duration, random: f64) -> Duration {
    wait.mul_f64(1.0 - 0.25 * random.clamp(0.0, 1.0))
}

/// Failures in a row of each object.
#[derive(Debug)]
pub struct Attempts<K> {
    options: BackoffOptions,
    failed: Mutex<HashMap<K, u32>>,
}

impl<K: Eq + Hash> Attempts<K> {
    pub fn new(options: BackoffOptions) -> Self {
        Self { options, failed: Mutex::default() }
    }

    /// Counts a failure and says how long to wait.
    pub fn failed(&self, key: K) -> Duration {
        let mut failed = self.lock();
        let attempt = failed.entry(key).or_insert(0);
        *attempt = attempt.saturating_add(1);
        self.options.wait(*attempt, rand::random())
    }

    /// Forgets the failures: after a success, and when the object is gone.
    pub fn forget(&self, key: &K) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<K, u32>> {
        self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn p3_the_wait_doubles_from_one_second_to_five_minutes() {
        let options = BackoffOptions::default();
        let seconds: Vec<u64> = (1..=11).map(|n| options.wait(n, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn p3_a_success_starts_the_count_anew() {
        let attempts = Attempts::new(BackoffOptions::default());
        for _ in 0..6 {
            attempts.failed("a");
        }
        assert!(attempts.failed("a") > Duration::from_secs(40));
        assert!(attempts.failed("b") <= Duration::from_secs(1), "others are not affected");
        attempts.forget(&"a");
        assert!(attempts.failed("a") <= Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn the_wait_stays_in_its_bounds(attempt in 0_u32.., random in 0.0_f64..=1.0) {
            let wait = BackoffOptions::default().wait(attempt, random);
            prop_assert!(wait >= Duration::from_millis(750) && wait <= Duration::from_mins(5));
        }
    }
}
