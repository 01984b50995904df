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
use crate::measured::Compared;
use crate::row::{Bar, Row};

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
    let records = options.scaled(RECORDS);
    let ours = ours::Ours::open(&folder.join("ours"))?;
    let raw = raw::Raw::open(&folder.join("raw"))?;
    let mut sides = (ours, raw);
    // Once for nothing: the first segment is made in haste, the next ones are prepared.
    clients::run(&mut sides.0, records / 10)?;
    clients::run(&mut sides.1, records / 10)?;
    let compared = Compared {
        name: "append + fdatasync, 64 clients of 150 B",
        rate: "records/s",
        rate_bar: Bar::AtLeast(0.9),
        cpu: "CPU per record",
        cpu_bar: Bar::OursAtMost(3.0),
    };
    compared.in_turn(
        options.rounds,
        &mut sides,
        |(ours, _)| clients::run(ours, records),
        |(_, raw)| clients::run(raw, records),
    )
}
