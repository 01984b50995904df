//! A broker that is killed and connections that lose answers, while owners write and take over.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::Carrier as _;

use crate::broker::{alone, shared};
use crate::history::{History, PATIENCE, again};

/// How often the broker is killed, unless `ORRERY_CRASH_RUNS` says otherwise.
const KILLS: u64 = 2;
const OWNERS: u64 = 3;

fn await_more(history: &History, more: usize) {
    let (before, started) = (history.acknowledged(), Instant::now());
    while history.acknowledged() < before + more {
        assert!(started.elapsed() < PATIENCE, "nothing is acknowledged");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Goal: a broker that dies at any moment, together with connections that break off while an answer is
/// on its way, loses nothing and doubles nothing.
#[test]
fn nothing_is_lost_or_doubled_when_the_broker_is_killed() {
    let Some((world, _guard)) = alone() else { return };
    let open = || world.lossy("kills");
    again(|| open().prepare()).unwrap();
    let history = History::default();
    let kills = std::env::var("ORRERY_CRASH_RUNS");
    let kills =
        kills.map_or(KILLS, |digits| digits.parse().expect("ORRERY_CRASH_RUNS is a number"));
    world.proxy.lose(5);
    thread::scope(|scope| {
        for _ in 0..OWNERS {
            scope.spawn(|| history.write(&open(), 60));
        }
        for round in 0..kills {
            // Each life of the broker is to see some work, and to end at no special moment of it.
            await_more(&history, 60 + round as usize % 7 * 17);
            world.broker.crash();
            world.proxy.cut();
            world.broker.begin();
        }
        await_more(&history, 60);
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
    let history = History::default();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| history.write(&open(), 20));
        }
        await_more(&history, 150);
        history.over.store(true, Ordering::Release);
    });
    world.proxy.lose(0);
    history.check(&open());
}
