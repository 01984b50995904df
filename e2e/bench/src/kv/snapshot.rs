//! What a snapshot of many keys costs those who write meanwhile: latency, and memory beside the keys.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use orrery_e2e_tests::client::Reply;
use orrery_e2e_tests::servers::{KvOptions, Server, orrery_kv};

use super::load::Load;
use super::{CLIENT_CPU, load, memory};
use crate::Options;
use crate::row::{Bar, Row, median};

/// With a value of 200 B about 2.5 GB in memory.
const KEYS: u64 = 10_000_000;
const VALUE_BYTES: usize = 200;
/// Writes per measurement; a snapshot lasts longer than one.
const OPERATIONS: u64 = 100_000;
const LOOK: Duration = Duration::from_millis(20);

/// The rows: ours while a snapshot is taken beside ours without one.
pub fn rows(options: &Options) -> Result<Vec<Row>, String> {
    let keys = options.scaled(KEYS);
    let of =
        format!("while {keys} keys are written to a snapshot, beside without (durability: disk)");
    let mut p99 = Row::new(format!("p99 of SET from 64 clients {of}"), "ms", Bar::AtMost(2.0));
    let mut worst = Row::new(format!("worst p99 of SET from 64 clients {of}"), "ms", Bar::None);
    let mut rate = Row::new(format!("SET from 64 clients {of}"), "/s", Bar::None);
    let mut resident = Row::new(format!("resident memory {of}"), "MB", Bar::AtMost(1.1));
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    // Snapshots are taken when they are asked for.
    let config = "snapshotAfterBytes: 1099511627776\n".to_owned();
    let cpu = Some(super::SERVER_CPU);
    let mut server = orrery_kv(folder.path(), &KvOptions { config, cpu, ..KvOptions::default() })?;
    memory::fill_with(&server, keys, VALUE_BYTES, |key| format!("key:{key:012}"))?;
    let (keys, bytes) = (keys.to_string(), VALUE_BYTES.to_string());
    let args = ["-t", "set", "-c", "64", "-r", &keys, "-d", &bytes];
    let operations = options.scaled(OPERATIONS);
    // What changes with the first writes is not the snapshot's.
    load::run(&mut server, &args, operations, CLIENT_CPU)?;
    for _ in 0..options.rounds {
        let before = server.process.resident_bytes();
        begin(&server)?;
        let (with, peak) = beside_memory(&mut server, |server| {
            let mut runs = vec![load::run(server, &args, operations, CLIENT_CPU)?];
            while is_running(server)? {
                runs.push(load::run(server, &args, operations, CLIENT_CPU)?);
            }
            // The last one may have seen less of it than of what came after.
            runs.truncate(runs.len().saturating_sub(1).max(1));
            Ok(runs)
        })?;
        // As often without one, so that neither side has more of a chance to meet a bad moment.
        let mut without = vec![];
        for _ in &with {
            without.push(load::run(&mut server, &args, operations, CLIENT_CPU)?);
        }
        let p99s = |runs: &[Load]| median(runs.iter().map(|run| run.p99_ms));
        let rates = |runs: &[Load]| median(runs.iter().map(|run| run.per_second));
        let worsts = |runs: &[Load]| runs.iter().map(|run| run.p99_ms).fold(0.0, f64::max);
        p99.pairs.push((p99s(&with), p99s(&without)));
        worst.pairs.push((worsts(&with), worsts(&without)));
        rate.pairs.push((rates(&with), rates(&without)));
        resident.pairs.push((peak as f64 / 1e6, before as f64 / 1e6));
    }
    Ok(vec![p99, worst, rate, resident])
}

/// The most memory the server had while `work` ran.
fn beside_memory<T>(
    server: &mut Server,
    work: impl FnOnce(&mut Server) -> Result<T, String>,
) -> Result<(T, u64), String> {
    let (is_over, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let process = server.process.id();
    let result = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let bytes = orrery_e2e_tests::process::resident_bytes(process);
                peak.fetch_max(bytes, Ordering::Relaxed);
                thread::sleep(LOOK);
            }
        });
        let result = work(server);
        is_over.store(true, Ordering::Relaxed);
        result
    });
    Ok((result?, peak.into_inner()))
}

fn begin(server: &Server) -> Result<(), String> {
    match server.client()?.call(&["BGSAVE"]).map_err(|error| error.to_string())? {
        Reply::Simple(_) => Ok(()),
        other => Err(format!("BGSAVE: {other:?}")),
    }
}

fn is_running(server: &Server) -> Result<bool, String> {
    let reply = server.client()?.call(&["INFO", "persistence"]);
    match reply.map_err(|error| error.to_string())? {
        Reply::Bulk(text) => {
            Ok(String::from_utf8_lossy(&text).contains("rdb_bgsave_in_progress:1"))
        }
        other => Err(format!("INFO: {other:?}")),
    }
}
