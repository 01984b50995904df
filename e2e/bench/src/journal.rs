//! The journal beside the least that a durable log can do: append to a prepared file and `fdatasync`,
//! in groups as well, on the same file system, in turn; carried by PostgreSQL beside a transaction for
//! each record; and carried by an object store beside a put for each group.

mod clients;
mod objects;
mod ours;
mod postgres;
mod raw;
mod recovery;

use std::path::Path;

use crate::Options;
use crate::row::{Bar, Row};
pub use clients::cpu_time;
use clients::{Log, Measured};

const CLIENTS: usize = 64;
const BODY: [u8; 150] = [0x5a; 150];
/// Records of one run, and of the tail that is recovered, at full scale.
const RECORDS: u64 = 400_000;
const TAIL_RECORDS: u64 = 2_000_000;

/// Runs every row whose name is asked for.
pub fn run(options: &Options) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of this machine before: {}", load.trim());
    println!(
        "peer: a file of zeros, written and fdatasynced in groups; {}",
        folder.path().display()
    );
    println!("row | ours | peer | ratio | bar | ok or MISS");
    if "append + fdatasync, 64 clients of 150 B".contains(&options.only) {
        append(folder.path(), options)?;
    }
    if "recovery".contains(&options.only) {
        let mut row = Row::new("recovery, s per GB of tail", "s", Bar::OursAtMost(1.0));
        let mut cpu = Row::new("recovery, CPU s per GB of tail", "s", Bar::None);
        let records = options.scaled(TAIL_RECORDS);
        let measured = recovery::measure(folder.path(), records, options.rounds)?;
        (row.pairs, cpu.pairs) = (measured.seconds, measured.cpu_seconds);
        println!("{}\n{}", row.line(), cpu.line());
    }
    if postgres::NAME.contains(&options.only) {
        postgres::rows(folder.path(), options)?;
    }
    if objects::NAME.contains(&options.only) {
        objects::rows(folder.path(), options)?;
    }
    Ok(())
}

fn append(folder: &Path, options: &Options) -> Result<(), String> {
    let name = |what: &str| format!("append + fdatasync, 64 clients of 150 B, {what}");
    let mut rate = Row::new(name("records/s"), "/s", Bar::AtLeast(0.9));
    let mut cpu = Row::new(name("CPU per record"), "us", Bar::OursAtMost(3.0));
    let mut p50 = Row::new(name("p50"), "ms", Bar::None);
    let mut p99 = Row::new(name("p99"), "ms", Bar::None);
    let records = options.scaled(RECORDS);
    let mut ours = ours::Ours::open(&folder.join("ours"))?;
    let mut raw = raw::Raw::open(&folder.join("raw"))?;
    // Once for nothing: the first segment is made in haste, the next ones are prepared.
    for log in [&mut ours as &mut dyn Log, &mut raw] {
        clients::run(log, records / 10)?;
    }
    for round in 0..options.rounds {
        // Who goes first takes turns as well.
        let (a, b) = if round % 2 == 0 {
            let a = clients::run(&mut ours, records)?;
            (a, clients::run(&mut raw, records)?)
        } else {
            let b = clients::run(&mut raw, records)?;
            (clients::run(&mut ours, records)?, b)
        };
        let pair = |row: &mut Row, of: fn(&Measured) -> f64| row.pairs.push((of(&a), of(&b)));
        pair(&mut rate, |m| m.per_second);
        pair(&mut cpu, |m| m.cpu_us_per_record);
        pair(&mut p50, |m| m.p50_ms);
        pair(&mut p99, |m| m.p99_ms);
    }
    for row in [rate, cpu, p50, p99] {
        println!("{}", row.line());
    }
    Ok(())
}
