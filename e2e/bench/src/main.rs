//! Benchmarks beside the peers: `bench kv`, `bench journal`,
//! `bench store`, `bench scheduler`. They measure and print; they never fail on a figure.
//!
//! Rules: server on one core, client on another, ours and theirs in turn (A B A B …), the median
//! of the pairs' ratios; CPU of the server process per operation, because on a small machine that
//! is the honest number.

mod journal;
mod kv;
mod measured;
mod postgres;
mod python;
mod row;
mod scheduler;
mod store;
mod tasks;

use std::process::ExitCode;

const USAGE: &str = "\
usage: bench kv|journal|store|scheduler [--rounds N] [--scale PERCENT] [--only TEXT]

  --rounds N       pairs of runs per row; the median is printed (default 5)
  --scale PERCENT  share of the full number of operations (default 100)
  --only TEXT      rows whose name contains TEXT

One line per row: row | ours | peer | ratio | bar | ok or MISS
kv needs redis-server and redis-benchmark (apt-get install redis) and two cores.
journal writes below the folder for temporary files (TMPDIR): its disk is what is measured.
store does the same, and needs PostgreSQL 15 (apt-get install postgresql-15).
scheduler needs PostgreSQL 15 as well, python3 for croniter, and two cores.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let run = match args.first().map(String::as_str) {
        Some("kv") => kv::run,
        Some("journal") => journal::run,
        Some("store") => store::run,
        Some("scheduler") => scheduler::run,
        _ => return usage(),
    };
    let Some(options) = Options::parse(&args[1..]) else { return usage() };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("bench: {what}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

/// How much to measure.
#[derive(Debug)]
pub struct Options {
    pub rounds: usize,
    pub scale_percent: u64,
    pub only: String,
}

impl Options {
    fn parse(args: &[String]) -> Option<Self> {
        let mut options = Self { rounds: 5, scale_percent: 100, only: String::new() };
        if !args.len().is_multiple_of(2) {
            return None;
        }
        for pair in args.chunks(2) {
            match pair[0].as_str() {
                "--rounds" => options.rounds = pair[1].parse().ok().filter(|n| *n > 0)?,
                "--scale" => options.scale_percent = pair[1].parse().ok().filter(|n| *n > 0)?,
                "--only" => options.only.clone_from(&pair[1]),
                _ => return None,
            }
        }
        Some(options)
    }

    /// `operations` at the scale asked for.
    pub fn scaled(&self, operations: u64) -> u64 {
        (operations * self.scale_percent / 100).max(1000)
    }
}
