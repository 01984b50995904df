//! `kill -9` at random moments under load: nothing acknowledged may be lost, nothing done twice.
//!
//! Counters tell doubling from loss: after recovery a counter must lie between what was
//! acknowledged and what was sent. `ORRERY_CRASH_RUNS` sets the number of rounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::process::{Client, Engine, Value, ok};

const WORKERS: usize = 4;

/// What one worker knows for certain.
#[derive(Debug, Default, Clone, Copy)]
struct Ledger {
    counter_acknowledged: i64,
    counter_sent: i64,
    set_acknowledged: i64,
    set_sent: i64,
    list_acknowledged: i64,
    list_sent: i64,
}

fn work(mut client: Client, worker: usize, mut ledger: Ledger, stop: &AtomicBool) -> Ledger {
    while !stop.load(Ordering::Relaxed) {
        ledger.counter_sent += 1;
        match client.try_run(&format!("INCR counter:{worker}")) {
            Ok(Value::Integer(value)) => {
                assert_eq!(value, ledger.counter_sent, "a step was lost or doubled");
                ledger.counter_acknowledged = value;
            }
            Ok(other) => panic!("{other:?}"),
            Err(_) => return ledger,
        }
        ledger.set_sent += 1;
        match client.try_run(&format!("SET set:{worker} {}", ledger.set_sent)) {
            Ok(reply) => assert_eq!(reply, ok()),
            Err(_) => return ledger,
        }
        ledger.set_acknowledged = ledger.set_sent;
        ledger.list_sent += 1;
        match client.try_run(&format!("RPUSH list:{worker} {}", ledger.list_sent)) {
            Ok(reply) => assert_eq!(reply, Value::Integer(ledger.list_sent)),
            Err(_) => return ledger,
        }
        ledger.list_acknowledged = ledger.list_sent;
    }
    ledger
}

fn number(client: &mut Client, line: &str) -> i64 {
    match client.run(line) {
        Value::Bulk(None) => 0,
        other => other.text().parse().expect("a number"),
    }
}

fn check(client: &mut Client, worker: usize, ledger: &mut Ledger) {
    let mut between = |line: String, acknowledged: i64, sent: i64| {
        let found = number(client, &line);
        assert!(
            (acknowledged..=sent).contains(&found),
            "{line}: {found}, {acknowledged} to {sent}"
        );
        found
    };
    let counter =
        between(format!("GET counter:{worker}"), ledger.counter_acknowledged, ledger.counter_sent);
    let set = between(format!("GET set:{worker}"), ledger.set_acknowledged, ledger.set_sent);
    let list = between(format!("LLEN list:{worker}"), ledger.list_acknowledged, ledger.list_sent);
    *ledger = Ledger {
        counter_acknowledged: counter,
        counter_sent: counter,
        set_acknowledged: set,
        set_sent: set,
        list_acknowledged: list,
        list_sent: list,
    };
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kill_9() {
    let runs: u32 = match std::env::var("ORRERY_CRASH_RUNS") {
        Ok(text) => text.parse().expect("ORRERY_CRASH_RUNS is a number"),
        Err(_) => 20,
    };
    // Small, so that snapshots are written and killed too.
    let mut engine = Engine::start("snapshotAfterBytes: 20000\n");
    let mut ledgers = [Ledger::default(); WORKERS];
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..runs {
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (client, ledger) = (engine.client(), ledgers[worker]);
                let stop = Arc::clone(&stop);
                thread::spawn(move || work(client, worker, ledger, &stop))
            })
            .collect();
        thread::sleep(Duration::from_millis(random.random_range(5..150)));
        let folder = engine.kill();
        stop.store(true, Ordering::Relaxed);
        for (ledger, worker) in ledgers.iter_mut().zip(workers) {
            *ledger = worker.join().expect("a worker's checks hold");
        }
        engine = Engine::start_in(folder);
        let mut client = engine.client();
        for (worker, ledger) in ledgers.iter_mut().enumerate() {
            check(&mut client, worker, ledger);
        }
    }
    assert!(ledgers.iter().all(|ledger| ledger.counter_acknowledged > 0), "they did work");
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
