//! `kill -9` at random moments under load: nothing acknowledged may be lost, nothing done twice,
//! no transaction seen in part, and the next process always starts.
//!
//! Several connections work on books of their own and on shared ones ([`books`]), over keys of all
//! classes, while snapshots are written; kills also hit recovery itself. `ORRERY_CRASH_RUNS` sets
//! the number of rounds, `ORRERY_CRASH_SEED` repeats a run's choices.

#[path = "crash/books.rs"]
mod books;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use orrery_operand::client::OperandClient;
use orrery_operand::set_hash::sync_request;
use orrery_operand::v1::DeclaredObject;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use self::books::{BOOKS, Book, Ledger};
use crate::process::{Client, Engine, Value, bulk, encode, ok};

/// Connections that work at the same time.
const WORKERS: usize = 6;
/// Steps sent before the first reply is read.
const BURST_MAX: i64 = 6;
/// Keys that lie still in a database of their own, so that a snapshot takes a while.
const BALLAST_KEYS: usize = 4000;
const BALLAST_DATABASE: u16 = 5;

type Ledgers = [Ledger; BOOKS.len()];

/// What was seen, for the report at the end.
#[derive(Debug, Default)]
struct Figures {
    rounds: u32,
    acknowledged: i64,
    unanswered_and_done: i64,
    unanswered_and_undone: i64,
    kills_during_snapshot: u32,
    kills_during_start: u32,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// One namespace of every class; what matches none is `Store` by default.
fn declare_classes(engine: &Engine) {
    let object = |name: &str, spec: &str| DeclaredObject {
        namespace: "default".into(),
        name: name.into(),
        uid: name.into(),
        generation: 1,
        spec: spec.into(),
    };
    let set = vec![
        object("cache", r#"{"match": {"prefix": "c:"}, "class": "Cache"}"#),
        object("session", r#"{"match": {"prefix": "s:"}, "class": "Session"}"#),
        object("store", r#"{"match": {"database": 3}, "class": "Store"}"#),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let work = async {
        let address = format!("127.0.0.1:{}", engine.management);
        let operator = OperandClient::new(&address, None).expect("an address");
        operator.sync(sync_request("KVNamespace", set)).await
    };
    runtime.expect("a runtime").block_on(work).expect("they are accepted");
}

fn load_ballast(client: &mut Client) {
    client.run(&format!("SELECT {BALLAST_DATABASE}"));
    let filling = "x".repeat(200);
    let keys = 0..BALLAST_KEYS;
    let requests: Vec<u8> = keys.flat_map(|key| encode(&format!("SET {key} {filling}"))).collect();
    client.send(&requests).expect("it takes all");
    for _ in 0..BALLAST_KEYS {
        assert_eq!(client.read().expect("a reply"), ok());
    }
}

/// Sends steps of one book in one go and counts what is acknowledged.
fn take_steps(
    client: &mut Client,
    book: &Book,
    worker: usize,
    ledger: &mut Ledger,
    steps: i64,
) -> std::io::Result<()> {
    let first = ledger.sent + 1;
    let numbers = first..first + steps;
    let plan: Vec<_> = numbers.map(|number| (number, (book.step)(worker, number))).collect();
    let all: Vec<u8> = plan.iter().flat_map(|(_, lines)| lines).flat_map(|l| encode(l)).collect();
    ledger.sent += steps;
    client.send(&all)?;
    for (number, lines) in plan {
        let mut last = Value::Bulk(None);
        for _ in lines {
            last = client.read()?;
        }
        assert!((book.confirms)(number, &last), "{} {number} of {worker}: {last:?}", book.name);
        ledger.acknowledged = number;
    }
    Ok(())
}

fn work(
    mut client: Client,
    worker: usize,
    mut ledgers: Ledgers,
    seed: u64,
    stop: &AtomicBool,
) -> Ledgers {
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.load(Ordering::Relaxed) {
        let at = random.random_range(0..BOOKS.len());
        let steps = random.random_range(1..=BURST_MAX);
        if take_steps(&mut client, &BOOKS[at], worker, &mut ledgers[at], steps).is_err() {
            break;
        }
    }
    ledgers
}

/// Compares one worker's books with what is there, and goes on from that.
fn check(client: &mut Client, worker: usize, ledgers: &mut Ledgers, figures: &mut Figures) {
    for (book, ledger) in BOOKS.iter().zip(ledgers) {
        let found = (book.found)(client, worker, *ledger);
        let Ledger { acknowledged, sent } = *ledger;
        assert!(
            (acknowledged..=sent).contains(&found),
            "{} of worker {worker}: {found} found, {acknowledged} acknowledged, {sent} sent",
            book.name
        );
        figures.unanswered_and_done += found - acknowledged;
        figures.unanswered_and_undone += sent - found;
        *ledger = (book.go_on)(client, worker, found);
    }
}

fn check_ballast(client: &mut Client) {
    client.run(&format!("SELECT {BALLAST_DATABASE}"));
    assert_eq!(client.run("DBSIZE"), Value::Integer(BALLAST_KEYS as i64));
    assert_eq!(client.run("GET 7"), bulk(&"x".repeat(200)));
}

/// Whether a snapshot was being written when the process died.
fn has_partial_snapshot(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder.join("data/shard-0")).expect("it has data");
    let mut paths = files.map(|file| file.expect("readable").path());
    paths.any(|path| {
        let is_snapshot =
            path.file_stem().is_some_and(|s| s.as_encoded_bytes().starts_with(b"snapshot-"));
        is_snapshot && path.extension().is_some_and(|extension| extension == "tmp")
    })
}

/// Kills the process, and perhaps the next one or two before they serve.
fn kill(engine: Engine, random: &mut impl Rng, figures: &mut Figures) -> tempfile::TempDir {
    let mut folder = engine.kill();
    figures.kills_during_snapshot += u32::from(has_partial_snapshot(folder.path()));
    while random.random_ratio(1, 4) {
        let starting = Engine::begin_in(folder);
        thread::sleep(Duration::from_micros(random.random_range(0..60_000)));
        folder = starting.kill();
        figures.kills_during_start += 1;
    }
    folder
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let runs = setting("ORRERY_CRASH_RUNS", 40) as u32;
    let seed = setting("ORRERY_CRASH_SEED", u64::from(std::process::id()));
    println!("ORRERY_CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // Small, so that snapshots are written all the time.
    let mut engine = Engine::start("snapshotAfterBytes: 20000\n");
    declare_classes(&engine);
    load_ballast(&mut engine.client());
    let mut ledgers = [Ledgers::default(); WORKERS];
    let (mut figures, started) = (Figures::default(), Instant::now());
    for _ in 0..runs {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (client, ledgers) = (engine.client(), ledgers[worker]);
                let (stop, seed) = (Arc::clone(&stop), random.next_u64());
                thread::spawn(move || work(client, worker, ledgers, seed, &stop))
            })
            .collect();
        // Not to wait for anything: this is the random moment.
        thread::sleep(Duration::from_micros(random.random_range(5_000..150_000)));
        let folder = kill(engine, &mut random, &mut figures);
        stop.store(true, Ordering::Relaxed);
        for (before, worker) in ledgers.iter_mut().zip(workers) {
            let after = worker.join().expect("a worker's replies are right");
            let steps = after.iter().zip(*before).map(|(a, b)| a.acknowledged - b.acknowledged);
            figures.acknowledged += steps.sum::<i64>();
            *before = after;
        }
        engine = Engine::start_in(folder);
        let mut client = engine.client();
        books::check_shared(&mut client, WORKERS);
        for (worker, ledgers) in ledgers.iter_mut().enumerate() {
            check(&mut client, worker, ledgers, &mut figures);
        }
        check_ballast(&mut client);
        figures.rounds += 1;
    }
    println!("{figures:?} in {:?}", started.elapsed());
    assert!(figures.acknowledged > 0, "they did work");
}

#[test]
fn an_orderly_end_keeps_everything() {
    let engine = Engine::start("");
    let mut client = engine.client();
    client.run("SET a 1");
    client.run("HSET h f v");
    client.run("SET gone 1 PX 1");
    client.run("SELECT 3");
    client.run("SADD s 1 2 x");
    let engine = Engine::start_in(engine.stop());
    let mut client = engine.client();
    assert_eq!(client.run("GET a").text(), "1");
    assert_eq!(client.run("HGET h f").text(), "v");
    assert_eq!(client.run("GET gone"), Value::Bulk(None));
    client.run("SELECT 3");
    assert_eq!(client.run("SCARD s"), Value::Integer(3));
}
