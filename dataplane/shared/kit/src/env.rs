//! Clock and randomness as inputs. Everything that is not deterministic enters a machine through
//! this seam, so that a replay or a simulation is exact.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::mix::{GAMMA, mix};

/// What a process may ask of the world besides disk and network.
pub trait Env: Send + Sync + 'static {
    /// Microseconds since 1970-01-01 UTC. May step in both directions.
    fn wall_us(&self) -> i64;
    /// Time since an arbitrary start; never falls.
    fn mono(&self) -> Duration;
    /// An unpredictable number.
    fn random(&self) -> u64;
}

/// The real clock and the operating system's randomness.
#[derive(Debug)]
pub struct SystemEnv {
    start: Instant,
}

impl Default for SystemEnv {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Env for SystemEnv {
    fn wall_us(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_micros() as i64,
            // A clock before 1970 is a broken clock; time zero is the nearest truth.
            Err(_) => 0,
        }
    }

    fn mono(&self) -> Duration {
        self.start.elapsed()
    }

    fn random(&self) -> u64 {
        use rand::TryRng;
        use rand::rngs::SysRng;
        // Without a random source neither seeds nor tokens can be trusted: fall back to what
        // differs between two processes at least.
        SysRng
            .try_next_u64()
            .unwrap_or_else(|_| self.wall_us() as u64 ^ u64::from(std::process::id()))
    }
}

/// A clock that moves when told, and randomness from one seed.
#[derive(Debug)]
pub struct TestEnv {
    wall_us: AtomicI64,
    mono_us: AtomicU64,
    state: Mutex<u64>,
}

impl TestEnv {
    pub fn new(seed: u64, wall_us: i64) -> Self {
        Self {
            wall_us: AtomicI64::new(wall_us),
            mono_us: AtomicU64::new(0),
            state: Mutex::new(seed),
        }
    }

    /// Both clocks move on.
    pub fn advance(&self, by: Duration) {
        self.wall_us.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
        self.mono_us.fetch_add(by.as_micros() as u64, Ordering::SeqCst);
    }

    /// The wall clock steps, as an administrator or NTP would; the other one does not.
    pub fn step_wall_us(&self, by: i64) {
        self.wall_us.fetch_add(by, Ordering::SeqCst);
    }
}

impl Env for TestEnv {
    fn wall_us(&self) -> i64 {
        self.wall_us.load(Ordering::SeqCst)
    }

    fn mono(&self) -> Duration {
        Duration::from_micros(self.mono_us.load(Ordering::SeqCst))
    }

    /// SplitMix64.
    fn random(&self) -> u64 {
        let mut state = match self.state.lock() {
            Ok(state) => state,
            Err(poisoned) => poisoned.into_inner(),
        };
        let number = mix(*state);
        *state = state.wrapping_add(GAMMA);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let numbers = |seed| {
            let env = TestEnv::new(seed, 0);
            [env.random(), env.random(), env.random()]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
    }

    #[test]
    fn a_stepped_wall_clock_leaves_the_other_alone() {
        let env = TestEnv::new(1, 1_000_000);
        env.step_wall_us(-500_000);
        assert_eq!((env.wall_us(), env.mono()), (500_000, Duration::ZERO));
    }
}
