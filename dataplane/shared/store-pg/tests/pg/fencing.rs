//! Owners that are followed by others, and what they asked for before they knew.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use orrery_pg::suite::{Proxy, Server};
use orrery_store::suite::books::assert_kept;
use orrery_store::suite::{all, keys, put, write};
use orrery_store::{Commit, Epoch, StoreError, Version};

use crate::fixture::{Process, config, fresh_name};
use crate::writers::{Promised, last_rounds};

fn fenced(held: u64, asked: u64) -> StoreError {
    StoreError::Fenced { held: Epoch(held), asked: Epoch(asked) }
}

/// Goal: a group that arrives after another took over changes nothing, and says so.
#[test]
fn a_group_that_arrives_after_a_take_over_changes_nothing() {
    let Some(server) = Server::shared() else { return };
    let (name, proxy) = (fresh_name(), Proxy::to(server.port, 3));
    let old = Process::through(proxy.host(), &server, &name).open(1);
    write(&old, vec![put("a", "1")]);
    proxy.hold(true);
    let late = old.commit(Commit { writes: vec![put("late", "1")], ..Commit::default() });
    let new = Process::new(config(&server, &name)).open(2);
    assert_eq!(write(&new, vec![put("b", "1")]), Version(2));
    proxy.hold(false);
    assert_eq!(late.wait(), Err(fenced(2, 1)));
    let after = old.commit(Commit { writes: vec![put("c", "1")], ..Commit::default() });
    assert_eq!(after.wait(), Err(fenced(2, 1)));
    assert_eq!(old.snapshot().map(drop), Err(fenced(2, 1)), "nor does it read what is not its own");
    assert_eq!(keys(all(&new)), ["a", "b"]);
}

/// Goal: an owner that opens again by the same epoch puts out the one before, and a snapshot that was
/// taken before stays what it was.
#[test]
fn the_same_epoch_opens_again_and_puts_out_the_one_before() {
    let Some(server) = Server::shared() else { return };
    let name = fresh_name();
    let old = Process::new(config(&server, &name)).open(1);
    write(&old, vec![put("a", "1")]);
    let snapshot = old.snapshot().unwrap();
    let new = Process::new(config(&server, &name)).open(1);
    write(&new, vec![put("a", "2")]);
    let stale = old.commit(Commit { writes: vec![put("b", "1")], ..Commit::default() });
    assert_eq!(stale.wait(), Err(fenced(1, 1)));
    assert_eq!(keys(snapshot.scan(b"", b"", false, 9).unwrap()), ["a"]);
    assert_eq!(snapshot.get(&[b"a"]).unwrap()[0].as_deref(), Some(&b"1"[..]));
    assert_eq!(keys(all(&new)), ["a"]);
}

/// Goal: owners that take the shard from each other while they write lose and double nothing, and none
/// is acknowledged after another took over: its rounds would conflict with those of the other.
#[test]
fn owners_race_and_nothing_is_lost_or_doubled() {
    const TAKE_OVERS: u64 = 8;
    let Some(server) = Server::shared() else { return };
    let (name, epochs, promised) = (fresh_name(), AtomicU64::new(0), Promised::default());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let process = Process::new(config(&server, &name));
                loop {
                    let epoch = epochs.fetch_add(1, Ordering::SeqCst) + 1;
                    if epoch > TAKE_OVERS {
                        promised.over.store(true, Ordering::Release);
                        return;
                    }
                    if epoch > 1 {
                        promised.await_more(100);
                    }
                    let store = match process.try_open(epoch) {
                        Ok(store) => store,
                        Err(StoreError::Fenced { .. }) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    let begin = last_rounds(&store);
                    for error in promised.write(&store, begin) {
                        assert!(matches!(error, StoreError::Fenced { .. }), "{error}");
                    }
                }
            });
        }
    });
    let store = Process::new(config(&server, &name)).open(TAKE_OVERS);
    assert_kept(&store, &promised.rounds.lock().unwrap());
}
