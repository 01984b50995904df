//! Closed-loop clients on one thread, as an event loop would serve them: each appends, waits until its
//! record is durable, and begins again.

use std::time::{Duration, Instant};

use super::{BODY, CLIENTS};
use crate::measured::{Begun, Measured};

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

/// Runs until so many records are durable.
pub fn run(log: &mut dyn Log, records: u64) -> Result<Measured, String> {
    let mut latencies = Vec::with_capacity(records as usize + CLIENTS);
    let begun = Begun::now()?;
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
    let taken = begun.taken()?;
    // What is still under way must not reach into the next run.
    let last = waiting.iter().map(|client| client.0).max().unwrap_or(0);
    while log.durable()? < last {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    log.trim()?;
    Ok(Measured::of(latencies, taken))
}
