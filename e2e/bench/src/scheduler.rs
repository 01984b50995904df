//! The scheduler: next instants, launches, a million jobs, and how late runs are.
//!
//! Launches into a sink run in this process, on one core; everything else is the real binary on
//! loopback, with its journal on disk.

mod engine;
mod launches;
mod million;
mod next;
mod peers;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::Options;

/// Runs every row whose name is asked for.
pub fn run(options: &Options) -> Result<(), String> {
    println!("durability: every launch is on disk before it is sent");
    println!("row | ours | peer | ratio | bar | ok or MISS");
    let asked = |name: &str| name.contains(&options.only);
    if asked("next-croner") || asked("next-croniter") {
        next::rows(options)?.iter().for_each(|row| println!("{}", row.line()));
    }
    if asked(launches::SINK) || asked(peers::NAME) {
        launches::sink(options)?.iter().for_each(|row| println!("{}", row.line()));
    }
    if asked(launches::LATE) || asked(launches::HTTP) {
        launches::http(options)?.iter().for_each(|row| println!("{}", row.line()));
    }
    if asked(million::NAME) {
        million::rows(options)?.iter().for_each(|row| println!("{}", row.line()));
    }
    Ok(())
}

/// This thread, and what it starts, on these cores alone.
fn pin(cpus: &[usize]) -> Result<(), String> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu).map_err(|error| error.to_string())?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|error| format!("cores {cpus:?}: {error}"))
}
