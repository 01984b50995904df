//! The store beside fjall as one would use it without a committer, and beside PostgreSQL, on the same
//! disk, in turn.
//!
//! Sixty-four clients commit one row each and wait until it is durable before they begin again. They
//! are threads on both sides of the first comparison, and tasks of one thread on both sides of the
//! second. Everything runs on the same two cores; CPU is that of clients and server together.

mod clients;
mod naive;
mod ours;
mod postgres;

use std::path::Path;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::Options;
use crate::measured::{Compared, Measured};
use crate::row::Bar;

const CLIENTS: usize = 64;
/// The cores that everything shares; what is started from here inherits them.
const CPUS: [usize; 2] = [0, 1];
/// Commits of one run at full scale: each run takes some seconds.
const OURS: u64 = 200_000;
const NAIVE: u64 = 20_000;
const POSTGRES: u64 = 60_000;

/// Runs every row whose name is asked for.
pub fn run(options: &Options) -> Result<(), String> {
    pin()?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    println!("peers: fjall 3.1, persist(SyncAll) after each batch of a client;");
    println!("       PostgreSQL, synchronous_commit=on, one prepared INSERT per transaction");
    println!("all on cpus {CPUS:?}; {}", folder.path().display());
    println!("row | ours | peer | ratio | bar | ok or MISS");
    let name = "store commit, 64 clients of 150 B, beside fjall";
    if name.contains(&options.only) {
        beside_fjall(name, folder.path(), options)?;
    }
    let name = "store commit, 64 clients of 150 B, beside PostgreSQL";
    if name.contains(&options.only) {
        beside_postgres(name, folder.path(), options)?;
    }
    Ok(())
}

fn pin() -> Result<(), String> {
    let mut cpus = CpuSet::new();
    for cpu in CPUS {
        cpus.set(cpu).map_err(|error| error.to_string())?;
    }
    sched_setaffinity(Pid::from_raw(0), &cpus).map_err(|error| format!("two cores: {error}"))
}

fn beside_fjall(name: &str, folder: &Path, options: &Options) -> Result<(), String> {
    let ours = ours::Ours::open(&folder.join("ours-threads"))?;
    let naive = naive::Naive::open(&folder.join("naive"))?;
    compare(
        name,
        8.0,
        options,
        &|share| clients::threads(options.scaled(OURS) / share, &|key| ours.commit(key)),
        &|share| clients::threads(options.scaled(NAIVE) / share, &|key| naive.commit(key)),
    )
}

fn beside_postgres(name: &str, folder: &Path, options: &Options) -> Result<(), String> {
    let ours = ours::Ours::open(&folder.join("ours-tasks"))?;
    let peer = postgres::Peer::start(&folder.join("postgres"), CLIENTS)?;
    compare(name, 2.0, options, &|share| ours.run_tasks(options.scaled(OURS) / share), &|share| {
        peer.run(options.scaled(POSTGRES) / share)
    })
}

/// Runs one part, a `share`-th, of what is measured.
type Side<'a> = &'a dyn Fn(u64) -> Result<Measured, String>;

/// Both sides in turn.
fn compare(
    name: &str,
    least: f64,
    options: &Options,
    ours: Side<'_>,
    theirs: Side<'_>,
) -> Result<(), String> {
    // Once for nothing: files are made and caches filled.
    ours(10)?;
    theirs(10)?;
    let (rate_bar, cpu_bar) = (Bar::AtLeast(least), Bar::None);
    let compared = Compared { name, rate: "commits/s", rate_bar, cpu: "CPU per commit", cpu_bar };
    compared.in_turn(options.rounds, &mut (), |()| ours(1), |()| theirs(1))
}
