//! Benchmarks beside the peers: `bench kv`. They measure and print; they never fail on a figure.
//!
//! Rules: server on one core, client on another, ours and theirs in turn (A B A B …), the median
//! of the pairs' ratios; CPU of the server process per operation, because on a small machine that
//! is the honest number.

mod kv;
mod row;

use std::process::ExitCode;

const USAGE: &str = "\
usage: bench kv [--rounds N] [--scale PERCENT] [--only TEXT]

  --rounds N       pairs of runs per row; the median is printed (default 5)
  --scale PERCENT  share of the full number of operations (default 100)
  --only TEXT      rows whose name contains TEXT

One line per row: row | ours | peer | ratio | bar | ok or MISS
Needs redis-server and redis-benchmark (apt-get install redis) and two cores.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = Options::parse(&args) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match kv::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("bench: {what}");
            ExitCode::FAILURE
        }
    }
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
        let (system, rest) = args.split_first()?;
        if system != "kv" || !rest.len().is_multiple_of(2) {
            return None;
        }
        for pair in rest.chunks(2) {
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
