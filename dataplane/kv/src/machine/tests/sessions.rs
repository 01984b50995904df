//! Gating, watching and deadlines.

use super::*;

#[test]
fn a_reader_waits_for_the_change_it_sees() {
    let mut bench = Bench::new();
    bench.run("set a 1");
    assert_eq!(bench.gate, 1);
    bench.run("set b 2");
    bench.run("get a");
    assert_eq!(bench.gate, 1);
    bench.run("get nosuch");
    assert_eq!(bench.gate, 0);
    bench.run("dbsize");
    assert_eq!(bench.gate, 2);
    bench.machine.durable(1);
    bench.run("get a");
    assert_eq!(bench.gate, 0);
    bench.run("del b");
    bench.run("get b");
    assert_eq!(bench.gate, bench.position - 1, "a deletion is a change too");
    bench.run("flushall");
    bench.run("get anything");
    assert_eq!(bench.gate, bench.position - 1);
}

#[test]
fn caches_are_neither_journalled_nor_gated() {
    let mut bench = Bench::with(Class::Cache, Vec::new());
    bench.run("set a 1");
    bench.run("hset h f v");
    assert_eq!(bench.gate, 0);
    assert!(bench.journal.is_empty());
    assert_eq!(bench.machine.digest(), Machine::new(&MachineOptions::default()).digest());
}

#[test]
fn a_watched_key_makes_its_session_dirty_when_it_changes() {
    let mut bench = Bench::new();
    let watcher = Session { id: 7, ..Session::default() };
    for change in ["set a 1", "del a", "rename b a", "flushdb", "pexpire a 100"] {
        bench.run("set a 0");
        bench.run("set b 0");
        bench.machine.watch(&watcher, b"a");
        bench.run("set other 1");
        bench.run("get a");
        assert!(!bench.machine.is_dirty(&watcher));
        bench.run(change);
        assert!(bench.machine.is_dirty(&watcher), "{change}");
        bench.machine.unwatch(&watcher);
        assert!(!bench.machine.is_dirty(&watcher));
    }
}

#[test]
fn a_key_that_expires_while_watched_counts_and_one_expired_before_does_not() {
    let mut bench = Bench::new();
    let watcher = Session { id: 7, ..Session::default() };
    bench.run("psetex a 100 1");
    bench.machine.watch(&watcher, b"a");
    bench.now_ms += 200;
    bench.run("get other");
    assert!(bench.machine.is_dirty(&watcher));
    bench.machine.unwatch(&watcher);
    bench.machine.watch(&watcher, b"a");
    assert!(!bench.machine.is_dirty(&watcher));
    bench.run("get a");
    assert!(!bench.machine.is_dirty(&watcher), "its deletion is no change");
    bench.run("set a 2");
    assert!(bench.machine.is_dirty(&watcher));
}

#[test]
fn deadlines_delete_keys_by_effects() {
    let mut bench = Bench::new();
    for number in 0..500 {
        bench.run(&format!("psetex k{number} {} v", 100 + number));
    }
    bench.run("set stays v");
    bench.run("psetex later 100 v");
    bench.run("persist later");
    bench.now_ms += 350;
    bench.run("get k0");
    bench.expire();
    assert_eq!(bench.run("dbsize"), ":251");
    assert_eq!(bench.machine.stats().expired_keys, 251);
    bench.check_replay();
    bench.check_books();
    bench.now_ms += 1000;
    bench.expire();
    assert_eq!(bench.run("dbsize"), ":2");
    assert_eq!(bench.replayed().databases()[0].len(), 2);
}

#[test]
fn a_clock_that_steps_back_expires_nothing_twice() {
    let mut bench = Bench::new();
    bench.run("psetex a 1000 v");
    bench.now_ms -= 500_000;
    bench.expire();
    assert_eq!(bench.run("pttl a"), ":501000");
    bench.now_ms += 600_000;
    bench.expire();
    assert_eq!(bench.run("exists a"), ":0");
    bench.check_replay();
}

#[test]
fn swapped_databases_keep_their_deadlines() {
    let mut bench = Bench::new();
    bench.run("psetex a 100 v");
    assert_eq!(bench.run("swapdb 0 1"), "+OK");
    assert_eq!(bench.run("dbsize"), ":0");
    bench.now_ms += 200;
    bench.expire();
    bench.session.db = 1;
    assert_eq!(bench.run("dbsize"), ":0");
    bench.check_replay();
}
