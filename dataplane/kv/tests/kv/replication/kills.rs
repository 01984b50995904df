//! `kill -9` of primaries and followers under load, with failovers: nothing acknowledged is lost, and
//! in the end all members are equal.
//!
//! `ORRERY_FAILOVER_RUNS` sets the number of rounds, `ORRERY_CRASH_SEED` repeats a run's choices.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::group::{
    again, content, eventually, fence, follow, promote, renew, report, standby, wait_in_sync,
};
use crate::books::{Ledger, check, work};
use crate::process::Engine;

const WORKERS: usize = 4;
/// Two followers, one of which must have every write.
const SHAPE: (u32, u32, u32) = (2, 1, 0);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn socket(engine: &Engine) -> PathBuf {
    engine.folder.path().join("kv.sock")
}

/// The operator's part after the primary is gone: fence all, promote the one that has most.
fn fail_over(members: &mut [Engine], epoch: u64) -> usize {
    for member in members.iter() {
        fence(member, epoch);
    }
    let rank = |member: &Engine| {
        let report = report(member);
        (report.durable_epoch, report.durable_position)
    };
    let best = (0..members.len()).max_by_key(|at| rank(&members[*at])).expect("somebody");
    promote(&members[best], epoch).expect("it obeys");
    renew(&members[best], epoch, SHAPE).expect("it listens");
    best
}

#[test]
fn nothing_acknowledged_is_lost_when_primaries_and_followers_are_killed() {
    let runs = setting("ORRERY_FAILOVER_RUNS", 8);
    let seed = setting("ORRERY_CRASH_SEED", u64::from(std::process::id()));
    println!("ORRERY_CRASH_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut members: Vec<Engine> = (0..3).map(|_| standby("snapshotAfterBytes: 30000\n")).collect();
    let (mut epoch, mut failovers) = (1, 0);
    let mut primary = 0;
    promote(&members[0], 1).expect("it obeys");
    renew(&members[0], 1, SHAPE).expect("it listens");
    let mut ledgers = [Ledger::default(); WORKERS];
    for _ in 0..runs {
        for at in (0..members.len()).filter(|at| *at != primary) {
            follow(&members[at], epoch, &members[primary]).expect("it obeys");
        }
        eventually("writes are taken", || report(&members[primary]).writable.then_some(()));
        let stop = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (path, ledger) = (socket(&members[primary]), ledgers[worker]);
                let stop = Arc::clone(&stop);
                thread::spawn(move || work(&path, worker, ledger, &stop))
            })
            .collect();
        // Not to wait for anything: this is the random moment.
        thread::sleep(Duration::from_micros(random.random_range(5_000..400_000)));
        let victim = random.random_range(0..members.len());
        let folder = members.remove(victim).kill();
        stop.store(true, Ordering::Relaxed);
        if victim == primary {
            failovers += 1;
            epoch += 1;
            for (ledger, worker) in ledgers.iter_mut().zip(workers) {
                *ledger = worker.join().expect("a worker's replies are right");
            }
            primary = fail_over(&mut members, epoch);
        } else {
            primary -= usize::from(victim < primary);
            for (ledger, worker) in ledgers.iter_mut().zip(workers) {
                *ledger = worker.join().expect("a worker's replies are right");
            }
        }
        if random.random_ratio(1, 3) {
            thread::sleep(Duration::from_millis(random.next_u64() % 100));
        }
        members.push(again(folder));
        let back = members.len() - 1;
        follow(&members[back], epoch, &members[primary]).expect("it obeys");
        for at in (0..members.len()).filter(|at| *at != primary) {
            follow(&members[at], epoch, &members[primary]).expect("it obeys");
        }
        eventually("replies are released", || report(&members[primary]).writable.then_some(()));
        let mut client = members[primary].client();
        for (worker, ledger) in ledgers.iter_mut().enumerate() {
            check(&mut client, worker, ledger);
        }
        let wanted = content(&members[primary]);
        for at in (0..members.len()).filter(|at| *at != primary) {
            wait_in_sync(&members[primary], &members[at]);
            assert_eq!(content(&members[at]), wanted);
        }
    }
    let steps: i64 = ledgers.iter().map(|ledger| ledger.acknowledged).sum();
    println!("{runs} rounds, {failovers} failovers, {steps} steps");
    assert!(steps > 0, "they did work");
}
