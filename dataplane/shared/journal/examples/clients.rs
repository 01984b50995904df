//! Closed-loop clients on one journal: each appends, waits until its record is durable, and begins
//! again. One thread serves all of them, as an event loop would.
//!
//! `cargo run --profile ci -p orrery-journal --example clients -- <folder> [clients] [seconds]`
//!
//! Runs with and without prepared segments in turns and prints operations per second, the latency
//! of the median and of the 99th percentile, and how many records one sync carried.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orrery_journal::{Journal, Options, Position, RealDisk, Record};

const BODY: [u8; 256] = [0x5a; 256];
const ROUNDS: usize = 3;

#[derive(Default)]
struct Measured {
    latencies: Vec<Duration>,
    syncs: u64,
    elapsed: Duration,
}

fn run(folder: &std::path::Path, preallocate: bool, clients: usize, span: Duration) -> Measured {
    let options = Options { preallocate, ..Options::default() };
    let disk = Arc::new(RealDisk::new(folder).expect("the folder can be made"));
    let mut journal = Journal::open(disk, options).expect("the journal opens").journal;
    let syncs = Arc::new(AtomicU64::new(0));
    let (counter, server) = (Arc::clone(&syncs), std::thread::current());
    journal.on_progress(Box::new(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        server.unpark();
    }));
    let mut waiting: Vec<(Position, Instant)> =
        (0..clients).map(|_| append(&mut journal)).collect();
    journal.flush();
    let mut measured = Measured::default();
    let start = Instant::now();
    while start.elapsed() < span {
        let durable = journal.durable();
        let mut released = false;
        for client in &mut waiting {
            if client.0 <= durable {
                measured.latencies.push(client.1.elapsed());
                *client = append(&mut journal);
                released = true;
            }
        }
        if released {
            journal.flush();
        } else {
            std::thread::park();
        }
    }
    measured.elapsed = start.elapsed();
    measured.syncs = syncs.load(Ordering::Relaxed);
    journal.close().expect("the journal closes");
    measured
}

fn append(journal: &mut Journal) -> (Position, Instant) {
    let record = Record { stream: 0, kind: 0, time_us: 0, body: &BODY };
    (journal.append(record).expect("the queue has room"), Instant::now())
}

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().expect("usage: clients <folder> [clients] [seconds]");
    let clients = args.next().map_or(50, |a| a.parse().expect("clients"));
    let seconds = args.next().map_or(3, |a| a.parse().expect("seconds"));
    for round in 0..ROUNDS {
        for preallocate in [true, false] {
            let folder = std::path::Path::new(&folder).join(format!("{preallocate}-{round}"));
            let span = Duration::from_secs(seconds);
            let mut measured = run(&folder, preallocate, clients, span);
            measured.latencies.sort_unstable();
            let count = measured.latencies.len();
            println!(
                "prepared: {preallocate:<5} {:>8.0} ops/s  p50 {:>6.0} us  p99 {:>6.0} us  \
                 {:>5.1} records per sync",
                count as f64 / measured.elapsed.as_secs_f64(),
                measured.latencies[count / 2].as_secs_f64() * 1e6,
                measured.latencies[count * 99 / 100].as_secs_f64() * 1e6,
                count as f64 / measured.syncs as f64,
            );
            std::fs::remove_dir_all(&folder).expect("the folder can be removed");
        }
    }
}
