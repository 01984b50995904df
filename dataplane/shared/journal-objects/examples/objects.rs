//! What an acknowledged record costs over a folder and over a bucket: 64 closed-loop clients with
//! records of 150 B, whatever waits goes into one group, one group in flight. Beside it the round trip
//! of one put and one get of an object of that size, the requests per million records, how fast a
//! million records are read back, and a snapshot.
//!
//! `cargo run --release -p orrery-journal-objects --example objects [seconds]`. The bucket is that of
//! a MinIO on this machine, so its figures are a floor for what the client costs, not for what a cloud
//! takes.

#![allow(clippy::unwrap_used)]

#[path = "../tests/carrier/minio.rs"]
mod minio;

use std::collections::VecDeque;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orrery_blob::{Access, Address, Store};
use orrery_journal::carrier::{Carrier, Group, Owner, Saved};
use orrery_journal::{Epoch, Position, Record};
use orrery_journal_objects::{ObjectCarrier, Requests};

const CLIENTS: usize = 64;
const BODY: [u8; 150] = [b'x'; 150];
const SHARD: u32 = 1;
const OWNER: Owner = Owner { epoch: Epoch(1), token: 1 };
/// Of single puts and gets.
const ROUNDS: usize = 300;
const SNAPSHOT_BYTES: u64 = 128 << 20;

/// What waits to be taken: one sender for each record.
#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<SyncSender<()>>>,
    arrived: Condvar,
    is_over: AtomicBool,
}

fn main() {
    let seconds = std::env::args().nth(1).map_or(5, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().unwrap();
    measure("folder", &Address::Folder(folder.path().to_owned()), &Access::default(), time);
    if let Some(bucket) = minio::Bucket::start() {
        measure("bucket", &minio::Bucket::address("bench"), &bucket.access(), time);
    }
}

fn measure(kind: &str, address: &Address, access: &Access, time: Duration) {
    let probes = address.join("probes");
    let (put, get) = round_trips(&Store::create(&probes, access).unwrap());
    println!("{kind}: put {put}; get {get}");
    let address = address.join("journal");
    let carrier = ObjectCarrier::open(SHARD, &address, access).unwrap();
    carrier.prepare().unwrap();
    carrier.take_over(OWNER).unwrap();
    let before = carrier.requests();
    let (mut latencies, taken) = clients(&carrier, time);
    let records = latencies.len() as u64;
    let requests = since(carrier.requests(), before);
    let rate = records as f64 / taken.as_secs_f64();
    println!("{kind}: {rate:.0} records/s; acknowledged {}", quantiles(&mut latencies));
    let million = |count: u64| count as f64 * 1e6 / records as f64;
    println!(
        "{kind}: of a million records {:.0} puts, {:.0} gets, {:.0} lists; {:.1} records per group",
        million(requests.puts),
        million(requests.gets),
        million(requests.lists),
        records as f64 / requests.puts as f64,
    );
    read_back(kind, &address, access);
    snapshot(kind, &carrier, records);
}

fn since(now: Requests, before: Requests) -> Requests {
    Requests {
        puts: now.puts - before.puts,
        gets: now.gets - before.gets,
        lists: now.lists - before.lists,
        deletes: now.deletes - before.deletes,
    }
}

fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99))
}

fn round_trips(store: &Store) -> (String, String) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let content = Bytes::from(vec![1; CLIENTS * 214]);
    let (mut puts, mut gets) = (vec![], vec![]);
    runtime.block_on(async {
        for round in 0..ROUNDS {
            let name = format!("objects/{round}");
            let started = Instant::now();
            store.put_new(&name, content.clone()).await.unwrap();
            puts.push(started.elapsed());
            let started = Instant::now();
            store.get(&name).await.unwrap();
            gets.push(started.elapsed());
        }
    });
    (quantiles(&mut puts), quantiles(&mut gets))
}

/// The latency of each record, and the time from the first to the last.
fn clients(carrier: &ObjectCarrier, time: Duration) -> (Vec<Duration>, Duration) {
    let queue = Arc::new(Queue::default());
    let started = Instant::now();
    let latencies = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let queue = Arc::clone(&queue);
                scope.spawn(move || client(&queue, started, time))
            })
            .collect();
        let committing = Arc::clone(&queue);
        let committer = scope.spawn(move || commit(carrier, &committing));
        let latencies = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        queue.is_over.store(true, Ordering::SeqCst);
        queue.arrived.notify_all();
        committer.join().unwrap();
        latencies
    });
    (latencies, started.elapsed())
}

fn client(queue: &Queue, started: Instant, time: Duration) -> Vec<Duration> {
    let mut latencies = vec![];
    while started.elapsed() < time {
        let asked = Instant::now();
        let (sender, receiver): (SyncSender<()>, Receiver<()>) = sync_channel(1);
        queue.waiting.lock().unwrap().push_back(sender);
        queue.arrived.notify_one();
        receiver.recv().unwrap();
        latencies.push(asked.elapsed());
    }
    latencies
}

fn commit(carrier: &ObjectCarrier, queue: &Queue) {
    let mut next = 1;
    loop {
        let mut waiting = queue.waiting.lock().unwrap();
        while waiting.is_empty() {
            if queue.is_over.load(Ordering::SeqCst) {
                return;
            }
            let (again, _) =
                queue.arrived.wait_timeout(waiting, Duration::from_millis(10)).unwrap();
            waiting = again;
        }
        let taken = std::mem::take(&mut *waiting);
        drop(waiting);
        let records = vec![Record { stream: 0, kind: 1, time_us: 0, body: &BODY }; taken.len()];
        let group = Group::of(SHARD, OWNER.epoch, Position(next), &records);
        carrier.append(OWNER, &group).unwrap();
        next += taken.len() as u64;
        for sender in taken {
            sender.send(()).unwrap();
        }
    }
}

fn read_back(kind: &str, address: &Address, access: &Access) {
    let carrier = ObjectCarrier::open(SHARD, address, access).unwrap();
    let started = Instant::now();
    let (mut after, mut objects) = (Position(0), 0);
    loop {
        let groups = carrier.read(after, 4 << 20).unwrap();
        let Some(group) = groups.last() else { break };
        after = group.last();
        objects += groups.len();
    }
    let (records, seconds) = (after.0 as f64, started.elapsed().as_secs_f64());
    println!(
        "{kind}: read back {records:.0} records in {objects} groups, {:.0} groups/s, {:.0} records/s",
        objects as f64 / seconds,
        records / seconds,
    );
}

fn snapshot(kind: &str, carrier: &ObjectCarrier, records: u64) {
    let saved = Saved { at: Position(records), epoch: OWNER.epoch, bytes: SNAPSHOT_BYTES };
    let started = Instant::now();
    carrier.save(OWNER, saved, &mut std::io::repeat(7).take(SNAPSHOT_BYTES)).unwrap();
    let written = started.elapsed();
    let started = Instant::now();
    let read = std::io::copy(&mut carrier.load(saved.at).unwrap(), &mut std::io::sink()).unwrap();
    assert_eq!(read, SNAPSHOT_BYTES);
    let mebibytes = (SNAPSHOT_BYTES >> 20) as f64;
    let [put, get] = [written, started.elapsed()].map(|time| mebibytes / time.as_secs_f64());
    println!("{kind}: a snapshot of {mebibytes} MiB, {put:.0} MiB/s written, {get:.0} MiB/s read");
}
