//! A broker that is killed and connections that lose answers, while owners write and take over.

use std::sync::atomic::Ordering;
use std::thread;

use orrery_journal::Carrier as _;

use crate::broker::{alone, shared};
use crate::history::{History, again};

const OWNERS: u64 = 3;

/// How often something is killed, unless `ORRERY_CRASH_RUNS` says otherwise.
pub fn rounds(usually: u64) -> u64 {
    let rounds = std::env::var("ORRERY_CRASH_RUNS");
    rounds.map_or(usually, |digits| digits.parse().expect("ORRERY_CRASH_RUNS is a number"))
}

/// Goal: a broker that dies at any moment, together with connections that break off while an answer is
/// on its way, loses nothing and doubles nothing.
#[test]
fn nothing_is_lost_or_doubled_when_the_broker_is_killed() {
    let Some((world, _guard)) = alone() else { return };
    let open = || world.lossy("kills");
    again(|| open().prepare()).unwrap();
    let history = History::with_large_groups();
    world.proxy.lose(5);
    thread::scope(|scope| {
        for _ in 0..OWNERS {
            scope.spawn(|| history.write(&open(), 60));
        }
        for round in 0..rounds(2) {
            // Each life of the broker is to see some work, and to end at no special moment of it.
            history.await_more(60 + round as usize % 7 * 17);
            world.broker.crash();
            world.proxy.cut();
            world.broker.begin();
        }
        history.await_more(60);
        history.over.store(true, Ordering::Release);
    });
    world.proxy.lose(0);
    history.check(&open());
}

/// Goal: an answer that is lost leaves the caller in doubt, and asking again ends it.
#[test]
fn lost_answers_are_found_out() {
    let Some((world, _guard)) = shared() else { return };
    let open = || world.lossy("lost");
    again(|| open().prepare()).unwrap();
    world.proxy.lose(30);
    let history = History::with_large_groups();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| history.write(&open(), 20));
        }
        history.await_more(150);
        history.over.store(true, Ordering::Release);
    });
    world.proxy.lose(0);
    history.check(&open());
}
