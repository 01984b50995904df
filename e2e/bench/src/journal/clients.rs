//! Closed-loop clients on one thread, as an event loop would serve them: each appends, waits until its
//! record is durable, and begins again.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::{BODY, CLIENTS};

/// A log whose records become durable on another thread, which unparks this one then.
pub trait Log {
    /// Gives the record's number; numbers rise by one.
    fn append(&mut self, body: &[u8]) -> Result<u64, String>;
    /// Hands over what was appended.
    fn flush(&mut self);
    /// The last record that is on the disk.
    fn durable(&self) -> Result<u64, String>;
    /// Lets go of what came before, so that its room is used again. Between runs.
    fn trim(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Figures of one run.
#[derive(Debug)]
pub struct Measured {
    pub per_second: f64,
    /// Of the whole process: clients, log and its thread.
    pub cpu_us_per_record: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

impl Measured {
    /// From how long each record took, and what all of them took together.
    pub fn of(mut latencies: Vec<Duration>, elapsed: Duration, used: Duration) -> Self {
        latencies.sort_unstable();
        let count = latencies.len().max(1);
        let ms = |at: usize| latencies.get(at).map_or(0.0, |taken| taken.as_secs_f64() * 1e3);
        Self {
            per_second: count as f64 / elapsed.as_secs_f64(),
            cpu_us_per_record: used.as_secs_f64() * 1e6 / count as f64,
            p50_ms: ms(count / 2),
            p99_ms: ms((count * 99 / 100).min(count - 1)),
        }
    }
}

/// Runs until so many records are durable.
pub fn run(log: &mut dyn Log, records: u64) -> Result<Measured, String> {
    let mut latencies = Vec::with_capacity(records as usize + CLIENTS);
    let (start, cpu) = (Instant::now(), cpu_time()?);
    let mut waiting = Vec::with_capacity(CLIENTS);
    for _ in 0..CLIENTS {
        waiting.push((log.append(&BODY)?, Instant::now()));
    }
    log.flush();
    while (latencies.len() as u64) < records {
        let durable = log.durable()?;
        let now = Instant::now();
        let mut released = false;
        for (number, since) in &mut waiting {
            if *number <= durable {
                latencies.push(now - *since);
                (*number, *since) = (log.append(&BODY)?, now);
                released = true;
            }
        }
        if released {
            log.flush();
        } else {
            std::thread::park();
        }
    }
    let (elapsed, used) = (start.elapsed(), cpu_time()?.saturating_sub(cpu));
    // What is still under way must not reach into the next run.
    let last = waiting.iter().map(|client| client.0).max().unwrap_or(0);
    while log.durable()? < last {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    log.trim()?;
    Ok(Measured::of(latencies, elapsed, used))
}

/// CPU of the whole process so far.
pub fn cpu_time() -> Result<Duration, String> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_err(|e| e.to_string())?;
    Ok(Duration::from(time))
}
