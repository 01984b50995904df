//! Processes whose journal is carried by an engine outside of them: any of them takes over, with or
//! without a folder of its own, and nothing that was acknowledged is missing.
//!
//! `ORRERY_TAKEOVER_RUNS` sets the number of rounds, `ORRERY_CRASH_SEED` repeats a run's choices.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use orrery_operand::OperandError;
use orrery_operand::v1::Role;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::books::{Ledger, check, work};
use crate::process::{Engine, Value, bulk, ok};
use crate::replication::group::{
    again, content, eventually, fence, follow, promote, renew, report, wait_in_sync,
};

const WORKERS: usize = 3;
/// Two followers, none of which must have anything, and no lease: the engine alone keeps order.
const SHAPE: (u32, u32, u32) = (2, 0, 0);

/// The object is the same for all, and so is the engine.
fn prepared(engine: &Path, config: &str) -> tempfile::TempDir {
    let folder = Engine::prepare(&format!(
        "group: true\njournal: ObjectStore\nobject: {{namespace: shop, name: cache}}\n{config}"
    ));
    let secret = folder.path().join("journal-secret");
    std::fs::create_dir(&secret).expect("writable");
    let address = format!("file://{}\n", engine.display());
    std::fs::write(secret.join("address"), address).expect("writable");
    folder
}

fn started(engine: &Path, config: &str) -> Engine {
    again(prepared(engine, config))
}

/// What an operator does until it is done.
fn lead(member: &Engine, epoch: u64) {
    eventually("it is promoted", || match promote(member, epoch) {
        Ok(_) => Some(()),
        Err(OperandError::Unavailable(_)) => None,
        Err(error) => panic!("{error:?}"),
    });
    renew(member, epoch, SHAPE).expect("it listens");
    eventually("writes are taken", || report(member).writable.then_some(()));
}

#[test]
fn a_process_takes_up_its_role_again_with_everything() {
    let engine = tempfile::tempdir().expect("a folder");
    let member = started(engine.path(), "");
    assert!(matches!(member.client().run("SET early 1"), Value::Error(_)), "it was told nothing");
    lead(&member, 1);
    assert_eq!(member.client().run("SET a 1"), ok());
    let member = again(member.kill());
    assert!(matches!(member.client().run("GET a"), Value::Error(_)));
    // It was not told anything new: a renewal of its epoch is enough.
    eventually("it leads again", || {
        renew(&member, 1, SHAPE).expect("it listens");
        report(&member).writable.then_some(())
    });
    assert_eq!(member.client().run("GET a"), bulk("1"));
    assert_eq!(member.client().run("SET b 2"), ok());
    // An end in order gives the epoch up; a higher one is granted.
    let member = again(member.stop());
    lead(&member, 2);
    assert_eq!(member.client().run("GET b"), bulk("2"));
}

#[test]
fn one_without_anything_of_its_own_takes_over() {
    let engine = tempfile::tempdir().expect("a folder");
    let member = started(engine.path(), "snapshotAfterBytes: 30000\n");
    lead(&member, 1);
    let mut client = member.client();
    for number in 0..400 {
        assert_eq!(client.run(&format!("SET key:{number} {}", "v".repeat(500))), ok());
        client.run(&format!("RPUSH list {number}"));
    }
    // One may be under way by itself.
    eventually("a snapshot", || (client.run("SAVE") == ok()).then_some(()));
    assert_eq!(client.run("SET behind 1"), ok());
    let before = content(&member);
    // Its volume is gone, and its epoch is used up: the next one it is granted is higher.
    drop(member.kill());
    let member = started(engine.path(), "");
    promote(&member, 1).expect_err("another owner had it");
    assert!(report(&member).known_epoch > 1, "it says that a higher one is needed");
    lead(&member, 3);
    assert_eq!(content(&member), before);
    assert_eq!(member.client().run("SET after 1"), ok());
    let member = again(member.kill());
    lead(&member, 4);
    assert_eq!(member.client().run("GET after"), bulk("1"));
}

#[test]
fn a_primary_that_slept_acknowledges_nothing_and_becomes_a_follower() {
    let engine = tempfile::tempdir().expect("a folder");
    let (old, new) = (started(engine.path(), ""), started(engine.path(), ""));
    lead(&old, 1);
    assert_eq!(old.client().run("SET a 1"), ok());
    follow(&new, 1, &old).expect("it obeys");
    wait_in_sync(&old, &new);
    let mut client = old.client();
    old.signal("STOP");
    client.send(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\nstale\r\n").expect("the socket takes it");
    lead(&new, 2);
    assert_eq!(new.client().run("SET a 2"), ok());
    old.signal("CONT");
    let answer = client.read();
    assert!(!matches!(answer, Ok(Value::Status(_))), "{answer:?}");
    // It begins again by itself, without what never counted.
    eventually("it waits", || (report(&old).role() == Role::Standby).then_some(()));
    follow(&old, 2, &new).expect("it obeys");
    wait_in_sync(&new, &old);
    assert_eq!(old.client().run("GET a"), bulk("2"));
    // A planned move: nothing is under way, so nobody ends.
    fence(&new, 3);
    lead(&old, 3);
    follow(&new, 3, &old).expect("it obeys");
    assert_eq!(old.client().run("SET a 3"), ok());
    wait_in_sync(&old, &new);
    assert_eq!((report(&new).role(), new.client().run("GET a")), (Role::Follower, bulk("3")));
}

#[test]
fn an_engine_that_holds_less_than_the_folder_is_not_believed() {
    let engine = tempfile::tempdir().expect("a folder");
    let member = started(engine.path(), "");
    lead(&member, 1);
    assert_eq!(member.client().run("SET a 1"), ok());
    let folder = member.kill();
    // Another engine, or one that was restored from before.
    let other = tempfile::tempdir().expect("a folder");
    let address = format!("file://{}", other.path().display());
    std::fs::write(folder.path().join("journal-secret/address"), address).expect("writable");
    let member = again(folder);
    thread::sleep(Duration::from_millis(300));
    let refused = promote(&member, 2);
    assert!(matches!(refused, Err(OperandError::Unavailable(_))), "{refused:?}");
    let said = eventually("it says why", || {
        Some(report(&member)).filter(|report| report.message.contains("1 records are here"))
    });
    assert!(!said.writable && said.reason == "Recovering", "{said:?}");
    let folder = member.kill();
    let address = format!("file://{}", engine.path().display());
    std::fs::write(folder.path().join("journal-secret/address"), address).expect("writable");
    let member = again(folder);
    lead(&member, 3);
    assert_eq!(member.client().run("GET a"), bulk("1"));
}

/// How a primary is lost.
#[derive(Debug, Clone, Copy)]
enum End {
    Killed,
    /// It sleeps until somebody else has written.
    Paused,
    /// It never hears that somebody else was promoted.
    Ignored,
}

#[test]
fn nothing_acknowledged_is_missing_whoever_takes_over() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let rounds = setting("ORRERY_TAKEOVER_RUNS", 9);
    let seed = setting("ORRERY_CRASH_SEED", u64::from(std::process::id()));
    println!("ORRERY_CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let engine = tempfile::tempdir().expect("a folder");
    let config = "snapshotAfterBytes: 30000\n";
    let mut primary = started(engine.path(), config);
    let mut others = vec![started(engine.path(), config)];
    let mut epoch = 1;
    lead(&primary, epoch);
    let mut ledgers = [Ledger::default(); WORKERS];
    for round in 0..rounds {
        for other in &others {
            follow(other, epoch, &primary).expect("it obeys");
        }
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let path = primary.folder.path().join("kv.sock");
                let (ledger, stop) = (ledgers[worker], Arc::clone(&stop));
                thread::spawn(move || work(&path, worker, ledger, &stop))
            })
            .collect();
        // Not to wait for anything: this is the random moment.
        thread::sleep(Duration::from_micros(random.random_range(5_000..400_000)));
        let end = [End::Killed, End::Paused, End::Ignored][(round % 3) as usize];
        epoch += 1;
        match end {
            End::Killed => primary.signal("KILL"),
            End::Paused => primary.signal("STOP"),
            End::Ignored => {}
        }
        let next = if random.random_ratio(1, 3) {
            // Nobody of them: one that has nothing.
            started(engine.path(), config)
        } else {
            others.remove(0)
        };
        lead(&next, epoch);
        let old = std::mem::replace(&mut primary, next);
        if matches!(end, End::Paused) {
            old.signal("CONT");
        }
        stop.store(true, Ordering::Relaxed);
        for (ledger, worker) in ledgers.iter_mut().zip(workers) {
            *ledger = worker.join().expect("a worker's replies are right");
        }
        // It lives on as what it is told to be next, or its process is another one.
        let lives_on = !matches!(end, End::Killed) && random.random_ratio(1, 2);
        let old = if lives_on { old } else { again(old.kill()) };
        let mut client = primary.client();
        for (worker, ledger) in ledgers.iter_mut().enumerate() {
            check(&mut client, worker, ledger);
        }
        others.push(old);
        others.truncate(2);
        let wanted = content(&primary);
        for other in &others {
            eventually("it obeys", || match follow(other, epoch, &primary) {
                // What it had under way as a primary has not been refused yet.
                Err(OperandError::Unavailable(_)) => None,
                Err(error) => panic!("nothing else is in its way: {error:?}"),
                Ok(()) => Some(()),
            });
            wait_in_sync(&primary, other);
            assert_eq!(content(other), wanted);
        }
    }
    let steps: i64 = ledgers.iter().map(|ledger| ledger.acknowledged).sum();
    println!("{rounds} rounds, {steps} steps");
    assert!(steps > 0, "they did work");
}
