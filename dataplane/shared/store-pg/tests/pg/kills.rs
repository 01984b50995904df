//! Servers that are killed and connections that lose answers, under writers that keep books.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use orrery_pg::suite::{Proxy, Server};
use orrery_store::suite::books::assert_kept;
use orrery_store::suite::{bytes, get};
use orrery_store::{Commit, StoreError, Version, Write};

use crate::fixture::Process;
use crate::writers::{Promised, last_rounds};

/// How often the server is killed, unless `ORRERY_CRASH_RUNS` says otherwise.
const KILLS: u64 = 4;

/// Goal: a server that dies at any moment, together with connections that break off after a group was
/// sent and before its answer came, loses nothing and doubles nothing. Method: the store is opened
/// again where it ended; its books are held against what was acknowledged after each kill.
#[test]
fn nothing_is_lost_or_doubled_when_the_server_is_killed() {
    let Some(server) = Server::start(&[]) else { return };
    let kills = std::env::var("ORRERY_CRASH_RUNS").map_or(KILLS, |kills| kills.parse().unwrap());
    let proxy = Proxy::to(server.port, 1);
    let promised = Promised::default();
    let mut epoch = 0;
    for kill in 0..kills {
        epoch += 1;
        let store = Process::through(proxy.host(), &server, "kills").open(epoch);
        let begin = last_rounds(&store);
        proxy.lose(10);
        promised.over.store(false, Ordering::Release);
        let told = thread::scope(|scope| {
            let writers = scope.spawn(|| promised.write(&store, begin));
            promised.await_more(200 + kill % 7 * 31);
            proxy.cut();
            server.crash(if kill % 2 == 0 { Signal::SIGKILL } else { Signal::SIGQUIT });
            server.begin();
            promised.over.store(true, Ordering::Release);
            writers.join().unwrap()
        });
        let is_typed = |error: &StoreError| {
            matches!(error, StoreError::Unknown { .. } | StoreError::Unavailable { .. })
        };
        assert!(told.iter().all(is_typed), "{told:?}");
        proxy.lose(0);
        drop(store);
        epoch += 1;
        let kept = assert_kept(
            &Process::through(proxy.host(), &server, "kills").open(epoch),
            &promised.rounds.lock().unwrap(),
        );
        *promised.rounds.lock().unwrap() = kept;
    }
    println!("{kills} kills, {} commits", promised.total());
}

/// Goal: a group whose answer is lost is settled, and neither lost nor carried out twice, though its
/// commits have no idempotency keys.
#[test]
fn a_lost_answer_is_found_out() {
    let Some(server) = Server::shared() else { return };
    let proxy = Proxy::to(server.port, 2);
    let store = Process::through(proxy.host(), &server, "lost").open(1);
    let add = || Commit { writes: vec![Write::Add(bytes("n"), 1)], ..Commit::default() };
    store.commit(add()).wait().unwrap();
    for round in 1..5 {
        let before = store.durable().0;
        // `Add` reads before it writes: with the answer of that lost, nothing was written yet.
        proxy.lose(1000);
        let ticket = store.commit(add());
        thread::sleep(Duration::from_millis(20 * round));
        proxy.lose(0);
        assert_eq!(ticket.wait(), Ok(Version(before + 1)));
        // What reads nothing is written, and its answer is lost.
        proxy.lose(1000);
        let put = Write::PutVersioned { prefix: bytes("out/"), value: bytes("v") };
        let ticket = store.commit(Commit { writes: vec![put], ..Commit::default() });
        await_rows(&server, "lost", round);
        proxy.lose(0);
        assert_eq!(ticket.wait(), Ok(Version(before + 2)));
    }
    let five = 5_i64.to_be_bytes();
    assert_eq!(get(&store, "n").as_deref(), Some(&five[..]));
    let out = store.snapshot().unwrap().scan(b"out/", b"out0", false, 99).unwrap();
    assert_eq!(out.len(), 4);
}

/// Waits until so many versioned rows are in the table.
fn await_rows(server: &Server, name: &str, rows: u64) {
    let started = Instant::now();
    let count = format!(
        "SELECT count(*) FROM orrery_store.rows r JOIN orrery_store.shards s ON s.id = r.shard
         WHERE s.name = '{name}' AND encode(r.k, 'escape') LIKE 'out/%'"
    );
    while server.sql_there(&count) != rows.to_string() {
        assert!(started.elapsed() < Duration::from_secs(30), "the group is not written");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Goal: where nobody can be asked, the answer is `Unknown`, and the idempotency key settles it later.
#[test]
fn a_server_that_stays_away_leaves_it_unknown() {
    let Some(server) = Server::start(&[]) else { return };
    let process = Process::through(server.host(), &server, "away");
    let store = process.open(1);
    let add = Commit {
        writes: vec![Write::Add(bytes("n"), 1)],
        idempotency: Some([1; 16]),
        ..Commit::default()
    };
    let blind = Commit {
        writes: vec![Write::Put(bytes("a"), bytes("1"))],
        idempotency: Some([2; 16]),
        ..Commit::default()
    };
    let first = store.commit(add.clone()).wait().unwrap();
    // All of its processes: one that outlives the first could still carry it out.
    server.crash(Signal::SIGQUIT);
    let doubtful = store.commit(blind.clone()).wait();
    assert!(matches!(doubtful, Err(StoreError::Unknown { .. })), "{doubtful:?}");
    let after = store.commit(add.clone()).wait();
    assert!(matches!(after, Err(StoreError::Unavailable { .. })), "{after:?}");
    server.begin();
    drop(store);
    let store = process.open(1);
    let settled = store.commit(blind.clone()).wait().unwrap();
    assert_eq!(store.commit(blind).wait(), Ok(settled));
    assert_eq!(store.commit(add).wait(), Ok(first));
    assert_eq!(get(&store, "a"), Some(bytes("1")));
}
