//! The time of a turn: read once, used by everything in it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall clock and monotonic clock, as of the beginning of the turn.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Microseconds since 1970-01-01 UTC.
    pub(crate) wall_us: i64,
    /// Milliseconds since the server started; never falls.
    pub(crate) mono_ms: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let mut clock = Self { start: Instant::now(), wall_us: 0, mono_ms: 0 };
        clock.tick();
        clock
    }

    /// Reads both clocks.
    pub(crate) fn tick(&mut self) {
        self.mono_ms = self.start.elapsed().as_millis() as u64;
        self.wall_us = self.read_wall_us();
    }

    /// The wall clock right now, for the one command that asks for it.
    pub(crate) fn read_wall_us(&self) -> i64 {
        // A clock before 1970 is a broken clock; the last good time is the nearest truth.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(self.wall_us, |since| since.as_micros() as i64)
    }

    /// Milliseconds since 1970-01-01 UTC.
    pub(crate) fn wall_ms(&self) -> i64 {
        self.wall_us / 1000
    }
}
