//! The load itself: one thread for each connection, until the time is over or somebody says stop.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::histogram::Histogram;
use super::resp::{Connection, Reply, encode};

/// Seconds a key lives at most: it is removed at the end, and goes by itself should this process die.
const LIFE_SECONDS: &str = "3600";
/// Keys removed by one command.
const REMOVED_AT_ONCE: u32 = 500;
/// Between two looks at how far it is.
const TICK: Duration = Duration::from_millis(100);

/// What is done.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) prefix: String,
    pub(super) clients: u16,
    pub(super) pipeline: u16,
    pub(super) value_bytes: usize,
    pub(super) keys: u32,
    pub(super) reads_percent: u8,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clients, pipeline, value_bytes, keys, reads_percent, .. } = self;
        write!(
            f,
            "{clients} clients, pipeline {pipeline}, {keys} keys, values of {value_bytes} bytes, \
             {reads_percent} % reads"
        )
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) operations: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) latency: Histogram,
    pub(super) took: Duration,
}

impl Outcome {
    fn failed(&mut self, error: String) {
        self.errors += 1;
        self.first_error.get_or_insert(error);
    }

    fn merge(&mut self, other: Self) {
        self.operations += other.operations;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.latency.merge(&other.latency);
    }
}

impl Load {
    /// Runs for `length`, or until `stop`; tells how far it is meanwhile.
    pub(super) fn run(
        &self,
        connections: Vec<Connection>,
        length: Duration,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(u64, &str),
    ) -> Outcome {
        let began = Instant::now();
        let done = AtomicU64::new(0);
        let is_over = || stop.load(Ordering::Relaxed) || began.elapsed() >= length;
        let mut outcome = Outcome::default();
        thread::scope(|scope| {
            let threads: Vec<_> = connections
                .into_iter()
                .zip(1..)
                .map(|(connection, number)| {
                    let (done, is_over) = (&done, &is_over);
                    scope.spawn(move || self.client(connection, number, done, is_over))
                })
                .collect();
            while !is_over() && threads.iter().any(|thread| !thread.is_finished()) {
                let (elapsed, count) = (began.elapsed(), done.load(Ordering::Relaxed));
                let percent = elapsed.as_millis() * 100 / length.as_millis().max(1);
                let rate = count as f64 / elapsed.as_secs_f64().max(1e-3);
                tell(percent as u64, &format!("{rate:.0} operations a second"));
                thread::sleep(TICK);
            }
            for thread in threads {
                match thread.join() {
                    Ok(one) => outcome.merge(one),
                    Err(_) => outcome.failed("a client of the load ended early".to_owned()),
                }
            }
        });
        outcome.took = began.elapsed();
        outcome
    }

    fn client(
        &self,
        mut connection: Connection,
        number: u64,
        done: &AtomicU64,
        is_over: &dyn Fn() -> bool,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let mut random = Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let value = vec![b'x'; self.value_bytes];
        let mut bytes = Vec::new();
        while !is_over() {
            bytes.clear();
            for _ in 0..self.pipeline {
                self.command(&mut random, &value, &mut bytes);
            }
            let sent = Instant::now();
            if let Err(error) = connection.send(&bytes) {
                outcome.failed(error.to_string());
                break;
            }
            for _ in 0..self.pipeline {
                match connection.read() {
                    Ok(Reply::Fine) => {}
                    Ok(Reply::Error(text)) => outcome.failed(text),
                    Err(error) => {
                        outcome.failed(error.to_string());
                        return outcome;
                    }
                }
                outcome.operations += 1;
                outcome.latency.add(sent.elapsed());
            }
            done.fetch_add(self.pipeline.into(), Ordering::Relaxed);
        }
        outcome
    }

    fn command(&self, random: &mut Random, value: &[u8], out: &mut Vec<u8>) {
        let key = self.key(random.below(self.keys));
        if random.below(100) < u32::from(self.reads_percent) {
            encode(&[b"GET", key.as_bytes()], out);
        } else {
            encode(&[b"SET", key.as_bytes(), value, b"EX", LIFE_SECONDS.as_bytes()], out);
        }
    }

    fn key(&self, number: u32) -> String {
        format!("{}{number}", self.prefix)
    }

    /// Whether keys of the load may be removed; an error says why not.
    pub(super) fn remove_first(&self, connection: &mut Connection) -> anyhow::Result<()> {
        unlink(connection, &[self.key(0)]).map(drop)
    }

    /// Removes every key the load may have made; gives their number.
    pub(super) fn remove(&self, connection: &mut Connection) -> anyhow::Result<u64> {
        let mut removed = 0;
        for first in (0..self.keys).step_by(REMOVED_AT_ONCE as usize) {
            let numbers = first..self.keys.min(first + REMOVED_AT_ONCE);
            let keys: Vec<String> = numbers.map(|number| self.key(number)).collect();
            removed += unlink(connection, &keys)?;
        }
        Ok(removed)
    }
}

fn unlink(connection: &mut Connection, keys: &[String]) -> anyhow::Result<u64> {
    let mut args: Vec<&[u8]> = vec![b"UNLINK"];
    args.extend(keys.iter().map(String::as_bytes));
    let said = connection.call(&args)?;
    let count = said.strip_prefix(':').and_then(|count| count.parse().ok());
    count.ok_or_else(|| anyhow::anyhow!("the service does not let keys be removed: {said}"))
}

/// Xorshift: only its speed matters here.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) % u64::from(end.max(1))) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_below_the_prefix_are_named_and_the_share_of_reads_is_kept() {
        let load = Load {
            prefix: "p:".into(),
            clients: 1,
            pipeline: 1,
            value_bytes: 3,
            keys: 10,
            reads_percent: 80,
        };
        let mut random = Random(7);
        let (mut reads, total) = (0, 10_000);
        for _ in 0..total {
            let mut bytes = Vec::new();
            load.command(&mut random, b"xxx", &mut bytes);
            let text = String::from_utf8(bytes).expect("text");
            let words: Vec<&str> = text.split("\r\n").collect();
            assert!(words[4].starts_with("p:"), "{text}");
            reads += i32::from(words[2] == "GET");
            if words[2] == "SET" {
                assert_eq!(words[6..11], ["xxx", "$2", "EX", "$4", "3600"]);
            }
        }
        assert!((7_700..8_300).contains(&reads), "{reads} of {total}");
    }
}
