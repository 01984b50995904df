//! What a run of closed-loop clients gave, and two sides that run in turn.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::row::{Bar, Row};

/// Figures of one run.
#[derive(Debug)]
pub struct Measured {
    pub per_second: f64,
    /// Of the whole process for each operation, and of a server that somebody adds.
    pub cpu_us: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// When a run began.
#[derive(Debug)]
pub struct Begun {
    at: Instant,
    cpu: Duration,
}

impl Begun {
    pub fn now() -> Result<Self, String> {
        Ok(Self { at: Instant::now(), cpu: cpu_time()? })
    }

    /// How long it is since then, and how much CPU this process took.
    pub fn taken(&self) -> Result<(Duration, Duration), String> {
        Ok((self.at.elapsed(), cpu_time()?.saturating_sub(self.cpu)))
    }

    /// The figures, from how long each operation took.
    pub fn measured(&self, latencies: Vec<Duration>) -> Result<Measured, String> {
        Ok(Measured::of(latencies, self.taken()?))
    }
}

impl Measured {
    /// From how long each operation took, and what all of them took together.
    pub fn of(mut latencies: Vec<Duration>, (elapsed, used): (Duration, Duration)) -> Self {
        latencies.sort_unstable();
        let count = latencies.len().max(1);
        let ms = |at: usize| latencies.get(at).map_or(0.0, |taken| taken.as_secs_f64() * 1e3);
        Self {
            per_second: count as f64 / elapsed.as_secs_f64(),
            cpu_us: used.as_secs_f64() * 1e6 / count as f64,
            p50_ms: ms(count / 2),
            p99_ms: ms((count * 99 / 100).min(count - 1)),
        }
    }
}

/// CPU of the whole process so far.
fn cpu_time() -> Result<Duration, String> {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_err(|e| e.to_string())?;
    Ok(Duration::from(time))
}

/// What is compared, and by which bars.
#[derive(Debug)]
pub struct Compared<'a> {
    pub name: &'a str,
    /// What the rows call the rate, such as `records/s`.
    pub rate: &'a str,
    pub rate_bar: Bar,
    /// What they call the CPU of an operation.
    pub cpu: &'a str,
    pub cpu_bar: Bar,
}

impl Compared<'_> {
    /// Runs both sides so many times, and prints their rows. Who goes first takes turns as well.
    pub fn in_turn<S>(
        &self,
        rounds: usize,
        sides: &mut S,
        ours: impl Fn(&mut S) -> Result<Measured, String>,
        theirs: impl Fn(&mut S) -> Result<Measured, String>,
    ) -> Result<(), String> {
        let row = |what: &str, unit, bar| Row::new(format!("{}, {what}", self.name), unit, bar);
        let mut rate = row(self.rate, "/s", self.rate_bar);
        let mut cpu = row(self.cpu, "us", self.cpu_bar);
        let mut p50 = row("p50", "ms", Bar::None);
        let mut p99 = row("p99", "ms", Bar::None);
        for round in 0..rounds {
            let (a, b) = if round % 2 == 0 {
                let a = ours(sides)?;
                (a, theirs(sides)?)
            } else {
                let b = theirs(sides)?;
                (ours(sides)?, b)
            };
            let pair = |row: &mut Row, of: fn(&Measured) -> f64| row.pairs.push((of(&a), of(&b)));
            pair(&mut rate, |m| m.per_second);
            pair(&mut cpu, |m| m.cpu_us);
            pair(&mut p50, |m| m.p50_ms);
            pair(&mut p99, |m| m.p99_ms);
        }
        for row in [rate, cpu, p50, p99] {
            println!("{}", row.line());
        }
        Ok(())
    }
}
