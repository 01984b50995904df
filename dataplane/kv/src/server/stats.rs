//! Counters of one shard: what `INFO` shows and what metrics export.

use std::collections::BTreeMap;
use std::time::Duration;

/// What was counted for one command.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CommandStats {
    pub(crate) calls: u64,
    /// Calls whose length was measured, and all their lengths together.
    timed: u64,
    timed_ns: u64,
    /// Refused before it ran: arguments, authentication, memory.
    pub(crate) rejected: u64,
    /// Ran and replied with an error.
    pub(crate) failed: u64,
}

/// One call in so many is timed, and the first one of every command. Reading the clock twice costs as
/// much as a short command; spread over sixteen it costs a few nanoseconds.
const TIMED_ONE_IN: u64 = 16;

impl CommandStats {
    /// The next call is to be timed.
    #[inline]
    pub(crate) fn is_timed(&self) -> bool {
        self.calls.is_multiple_of(TIMED_ONE_IN)
    }

    #[inline]
    pub(crate) fn time(&mut self, length: Duration) {
        self.timed += 1;
        self.timed_ns += length.as_nanos() as u64;
    }

    /// Mean length of a call in microseconds.
    pub(crate) fn micros_per_call(&self) -> f64 {
        self.timed_ns as f64 / 1000.0 / self.timed.max(1) as f64
    }

    /// Length of all calls together in microseconds.
    pub(crate) fn micros(&self) -> f64 {
        self.micros_per_call() * self.calls as f64
    }
}

/// Operations and bytes per second over the last samples, as Redis computes them.
#[derive(Debug, Default)]
pub(crate) struct Rate {
    samples: [f64; Rate::SAMPLES],
    next: usize,
    last_total: u64,
    last_ms: u64,
}

impl Rate {
    const SAMPLES: usize = 16;

    pub(crate) fn sample(&mut self, total: u64, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.last_ms);
        if elapsed_ms == 0 {
            return;
        }
        let grown = total.saturating_sub(self.last_total) as f64;
        self.samples[self.next] = grown * 1000.0 / elapsed_ms as f64;
        self.next = (self.next + 1) % Self::SAMPLES;
        (self.last_total, self.last_ms) = (total, now_ms);
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.samples.iter().sum::<f64>() / Self::SAMPLES as f64
    }
}

/// Different error codes that are counted one by one; beyond that they share one counter.
const ERROR_CODES_MAX: usize = 128;

/// Everything that is counted.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// By index of the command in the command table.
    pub(crate) commands: Vec<CommandStats>,
    pub(crate) errors: BTreeMap<String, u64>,
    pub(crate) connections_received: u64,
    pub(crate) connections_rejected: u64,
    pub(crate) commands_processed: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_bytes: u64,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) error_replies: u64,
    pub(crate) output_limit_closed: u64,
    /// Clients closed because nobody here knows what becomes of their writes.
    pub(crate) unknown_outcomes: u64,
    pub(crate) query_limit_closed: u64,
    pub(crate) gated_replies: u64,
    pub(crate) ops: Rate,
    pub(crate) input: Rate,
    pub(crate) output: Rate,
    pub(crate) clients_peak: u64,
    pub(crate) memory_peak: u64,
}

impl Stats {
    pub(crate) fn new(commands: usize) -> Self {
        Self { commands: vec![CommandStats::default(); commands], ..Self::default() }
    }

    /// Counts an error reply by its code: the first word behind `-`.
    pub(crate) fn error_reply(&mut self, reply: &[u8]) {
        self.error_replies += 1;
        let word = reply.split(|b| matches!(b, b' ' | b'\r')).next().unwrap_or_default();
        let code = String::from_utf8_lossy(word.strip_prefix(b"-").unwrap_or(word));
        if self.errors.len() >= ERROR_CODES_MAX && !self.errors.contains_key(code.as_ref()) {
            return;
        }
        *self.errors.entry(code.into_owned()).or_default() += 1;
    }

    pub(crate) fn sample(&mut self, now_ms: u64) {
        self.ops.sample(self.commands_processed, now_ms);
        self.input.sample(self.input_bytes, now_ms);
        self.output.sample(self.output_bytes, now_ms);
    }

    /// `CONFIG RESETSTAT`.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.commands.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_by_their_code() {
        let mut stats = Stats::new(1);
        stats.error_reply(b"-WRONGTYPE Operation against\r\n");
        stats.error_reply(b"-ERR syntax error\r\n");
        stats.error_reply(b"-ERR other\r\n");
        assert_eq!(stats.errors["ERR"], 2);
        assert_eq!(stats.errors["WRONGTYPE"], 1);
        stats.reset();
        assert_eq!(stats.error_replies, 0);
    }

    #[test]
    fn the_length_of_all_calls_is_told_from_those_that_were_timed() {
        let mut stats = CommandStats::default();
        for call in 0..100 {
            if stats.is_timed() {
                stats.time(Duration::from_micros(3));
            }
            stats.calls = call + 1;
        }
        assert_eq!(stats.timed, 7);
        assert!((stats.micros_per_call() - 3.0).abs() < 1e-9);
        assert!((stats.micros() - 300.0).abs() < 1e-9);
        assert!(CommandStats::default().micros().abs() < 1e-9);
    }

    #[test]
    fn a_rate_is_the_mean_of_the_last_samples() {
        let mut rate = Rate::default();
        for second in 1..=16 {
            rate.sample(second * 500, second * 1000);
        }
        assert!((rate.per_second() - 500.0).abs() < 1e-9);
    }
}
