//! One function for each promise.

use bytes::Bytes;

pub use super::checkpoints::{
    a_checkpoint_restores_everything, a_checkpoint_that_is_not_whole_is_refused,
};
pub use super::watch::{
    a_watch_sees_every_change_under_its_prefix, a_watch_that_falls_behind_is_told,
    a_watch_that_waits_is_woken,
};
use super::{Make, SHARD, TENANT, all, bytes, commit, get, keys, put, write};
use crate::{
    Check, Commit, Epoch, Options, ShardId, StoreError, Swept, TenantId, Version, Write, sweep,
};

/// Makes a test of each promise, over the engine that an expression makes: an `Option` of a function
/// of [`Options`], `None` where it cannot be had here.
#[macro_export]
macro_rules! conformance {
    ($make:expr) => {
        $crate::conformance! { $make =>
            keys_are_in_the_order_of_their_bytes
            a_scan_keeps_to_its_range_and_limit
            a_commit_is_all_or_nothing
            a_changed_key_is_a_conflict
            a_changed_range_is_a_conflict
            absent_and_equals_look_at_the_value_of_now
            expired_values_are_hidden
            what_has_expired_is_swept
            a_checkpoint_restores_everything
            a_checkpoint_that_is_not_whole_is_refused
            later_writes_of_a_commit_see_the_earlier
            numbers_add_up_and_do_not_overflow
            numbers_keep_their_expiry
            a_deleted_range_is_gone
            versioned_values_are_in_the_order_of_commits
            a_snapshot_does_not_change
            a_commit_with_a_known_key_is_not_repeated
            forgotten_idempotency_keys_are_the_oldest
            what_exceeds_a_limit_is_refused
            a_lower_epoch_never_opens
            a_shard_opens_once
            reopening_keeps_everything
            reads_from_before_an_opening_are_conflicts
            tenants_and_shards_are_apart
            a_watch_sees_every_change_under_its_prefix
            a_watch_that_falls_behind_is_told
            a_watch_that_waits_is_woken
        }
    };
    ($make:expr => $($promise:ident)+) => {
        $(
            #[test]
            fn $promise() {
                let Some(make) = $make else { return };
                $crate::suite::conformance::$promise(&make);
            }
        )+
    };
}

pub fn keys_are_in_the_order_of_their_bytes(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let unordered: [&[u8]; 6] = [b"b", b"\xff\xff", b"a\0", b"\0", b"a", b"\xff"];
    for key in unordered {
        write(&store, vec![Write::Put(Bytes::copy_from_slice(key), bytes("v"))]);
    }
    let found: Vec<Bytes> = all(&store).into_iter().map(|(key, _)| key).collect();
    let ordered: [&[u8]; 6] = [b"\0", b"a", b"a\0", b"b", b"\xff", b"\xff\xff"];
    assert_eq!(found, ordered);
}

pub fn a_scan_keeps_to_its_range_and_limit(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    write(&store, ["a", "b", "c", "d"].map(|key| put(key, key)).into());
    let snapshot = store.snapshot().unwrap();
    let scan = |from: &str, to: &str, reverse, limit| {
        keys(snapshot.scan(from.as_bytes(), to.as_bytes(), reverse, limit).unwrap())
    };
    assert_eq!(scan("b", "d", false, 9), ["b", "c"]);
    assert_eq!(scan("b", "d", true, 9), ["c", "b"]);
    assert_eq!(scan("b", "", true, 2), ["d", "c"]);
    assert_eq!(scan("", "", false, 1), ["a"]);
    assert_eq!(scan("", "", true, 1), ["d"]);
    assert!(scan("", "", false, 0).is_empty());
    assert!(scan("d", "b", false, 9).is_empty());
    assert!(scan("b", "b", true, 9).is_empty());
    let several = snapshot.get(&[b"d", b"x", b"a"]).unwrap();
    assert_eq!(several, [Some(bytes("d")), None, Some(bytes("a"))]);
}

pub fn a_commit_is_all_or_nothing(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let before = write(&store, vec![put("text", "no number")]);
    let writes = vec![put("a", "1"), Write::Add(bytes("text"), 1), put("b", "1")];
    let refused = commit(&store, vec![], writes, Version(0));
    assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    let checks = vec![Check::Absent(bytes("a")), Check::Absent(bytes("text"))];
    let refused = commit(&store, checks, vec![put("a", "1")], Version(0));
    assert_eq!(refused, Err(StoreError::Conflict));
    assert_eq!(keys(all(&store)), ["text"]);
    assert_eq!(store.durable(), before);
    assert_eq!(write(&store, vec![put("a", "1")]), Version(before.0 + 1));
}

pub fn a_changed_key_is_a_conflict(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let read = write(&store, vec![put("a", "1"), put("b", "1")]);
    let decide = |read| commit(&store, vec![Check::Key(bytes("a"))], vec![put("seen", "1")], read);
    decide(read).unwrap();
    write(&store, vec![put("b", "2")]);
    decide(read).unwrap();
    for change in [put("a", "1"), Write::Delete(bytes("a")), Write::Delete(bytes("a"))] {
        let before = store.durable();
        let after = write(&store, vec![change]);
        assert_eq!(decide(before), Err(StoreError::Conflict));
        decide(after).unwrap();
    }
    let ahead = decide(Version(store.durable().0 + 1));
    assert!(matches!(ahead, Err(StoreError::Invalid { .. })), "{ahead:?}");
}

pub fn a_changed_range_is_a_conflict(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let read = write(&store, vec![put("b", "1"), put("d", "1")]);
    let decide = |from, to, read| {
        let check = Check::Range(bytes(from), bytes(to));
        commit(&store, vec![check], vec![put("seen", "1")], read)
    };
    let phantom = write(&store, vec![put("c", "1")]);
    assert_eq!(decide("b", "d", read), Err(StoreError::Conflict));
    assert_eq!(decide("c", "", read), Err(StoreError::Conflict));
    decide("d", "e", read).unwrap();
    decide("a", "c", read).unwrap();
    decide("b", "d", phantom).unwrap();
    write(&store, vec![Write::DeleteRange(bytes("c"), bytes("d"))]);
    assert_eq!(decide("b", "d", phantom), Err(StoreError::Conflict));
    decide("b", "c", phantom).unwrap();
}

pub fn absent_and_equals_look_at_the_value_of_now(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let decide = |check| commit(&store, vec![check], vec![put("seen", "1")], Version(0));
    write(&store, vec![put("a", "1"), Write::PutUntil(bytes("t"), bytes("1"), 100)]);
    decide(Check::Equals(bytes("a"), bytes("1"))).unwrap();
    decide(Check::Equals(bytes("t"), bytes("1"))).unwrap();
    decide(Check::Absent(bytes("x"))).unwrap();
    let conflict = Err(StoreError::Conflict);
    assert_eq!(decide(Check::Equals(bytes("a"), bytes("2"))), conflict);
    assert_eq!(decide(Check::Equals(bytes("x"), bytes(""))), conflict);
    assert_eq!(decide(Check::Absent(bytes("a"))), conflict);
    assert_eq!(decide(Check::Absent(bytes("t"))), conflict);
    fixture.clock.set(100);
    decide(Check::Absent(bytes("t"))).unwrap();
    assert_eq!(decide(Check::Equals(bytes("t"), bytes("1"))), conflict);
}

pub fn expired_values_are_hidden(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    write(&store, vec![put("a", "1"), Write::PutUntil(bytes("b"), bytes("1"), 100)]);
    fixture.clock.set(99);
    let before = store.snapshot().unwrap();
    assert_eq!(keys(all(&store)), ["a", "b"]);
    fixture.clock.set(100);
    assert_eq!(keys(all(&store)), ["a"]);
    assert_eq!(get(&store, "b"), None);
    let last = store.snapshot().unwrap().scan(b"", b"", true, 1).unwrap();
    assert_eq!(keys(last), ["a"], "a hidden row must not use up the limit");
    assert_eq!(before.get(&[b"b"]).unwrap(), [Some(bytes("1"))]);
    write(&store, vec![put("b", "2")]);
    assert_eq!(get(&store, "b"), Some(bytes("2")));
}

pub fn what_has_expired_is_swept(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let until = |key: &str, until_us| Write::PutUntil(bytes(key), bytes("1"), until_us);
    write(&store, vec![until("a", 100), put("b", "1"), until("c", 100), until("d", 200)]);
    assert_eq!(sweep(&*store, b"", 9), Ok(Swept { found: 0, next: None }));
    assert_eq!(store.durable(), Version(1), "nothing to remove is no commit");
    fixture.clock.set(100);
    assert_eq!(sweep(&*store, b"", 2), Ok(Swept { found: 1, next: Some(bytes("c")) }));
    let mut watch = store.watch(b"c", store.durable());
    assert_eq!(sweep(&*store, b"c", 2), Ok(Swept { found: 1, next: None }));
    let (_, removed) = watch.try_next().unwrap().unwrap();
    assert!(removed.len() == 1 && removed[0].value.is_none());
    // Gone for good: with the clock set back they would show again.
    fixture.clock.set(0);
    assert_eq!(keys(all(&store)), ["b", "d"]);
    fixture.clock.set(200);
    let late = store.snapshot().unwrap().expired(b"", 9).unwrap();
    assert_eq!(late.keys, [bytes("d")]);
    write(&store, vec![until("d", 300)]);
    let removal = late.keys.into_iter().map(Write::DeleteExpired).collect();
    write(&store, removal);
    assert_eq!(keys(all(&store)), ["b", "d"], "it was written again meanwhile");
}

pub fn later_writes_of_a_commit_see_the_earlier(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    write(&store, vec![put("a", "1"), put("n", "text")]);
    let writes = vec![
        put("b", "1"),
        Write::DeleteRange(bytes("a"), bytes("c")),
        put("b", "2"),
        Write::Delete(bytes("n")),
        Write::Add(bytes("n"), 3),
        Write::Add(bytes("n"), 4),
    ];
    write(&store, writes);
    let seven = Bytes::copy_from_slice(&7_i64.to_be_bytes());
    assert_eq!(all(&store), [(bytes("b"), bytes("2")), (bytes("n"), seven)]);
}

pub fn numbers_add_up_and_do_not_overflow(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let number = |key| get(&store, key).map(|value| value[..].try_into().unwrap());
    write(&store, vec![Write::Add(bytes("n"), -5)]);
    write(&store, vec![Write::Add(bytes("n"), 3)]);
    assert_eq!(number("n").map(i64::from_be_bytes), Some(-2));
    let low = commit(&store, vec![], vec![Write::Add(bytes("n"), i64::MIN)], Version(0));
    assert!(matches!(low, Err(StoreError::Invalid { .. })), "{low:?}");
    assert_eq!(number("n").map(i64::from_be_bytes), Some(-2));
    for (at_least, expected) in [(3, 3), (2, 3), (u64::MAX, u64::MAX)] {
        write(&store, vec![Write::Max(bytes("m"), at_least)]);
        assert_eq!(number("m").map(u64::from_be_bytes), Some(expected));
    }
    write(&store, vec![put("text", "123456789")]);
    let text = commit(&store, vec![], vec![Write::Max(bytes("text"), 1)], Version(0));
    assert!(matches!(text, Err(StoreError::Invalid { .. })), "{text:?}");
}

pub fn numbers_keep_their_expiry(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let one = Bytes::copy_from_slice(&1_i64.to_be_bytes());
    write(&store, vec![Write::PutUntil(bytes("n"), one.clone(), 100)]);
    write(&store, vec![Write::Add(bytes("n"), 1)]);
    assert!(get(&store, "n").is_some());
    fixture.clock.set(100);
    assert_eq!(get(&store, "n"), None);
    write(&store, vec![Write::Add(bytes("n"), 1)]);
    assert_eq!(get(&store, "n"), Some(one), "an expired number counts from 0 and does not expire");
}

pub fn a_deleted_range_is_gone(make: Make<'_>) {
    let fixture = make(Options { delete_range_rows_max: 3, ..Options::default() });
    let store = fixture.open(1);
    write(&store, ["a", "b", "c", "d"].map(|key| put(key, "1")).into());
    let many = commit(&store, vec![], vec![Write::DeleteRange(bytes(""), bytes(""))], Version(0));
    let what = "rows of a deleted range";
    assert_eq!(many, Err(StoreError::TooLarge { what, found: 4, max: 3 }));
    write(&store, vec![Write::DeleteRange(bytes("b"), bytes("d"))]);
    assert_eq!(keys(all(&store)), ["a", "d"]);
    write(&store, vec![Write::DeleteRange(bytes("b"), bytes(""))]);
    assert_eq!(keys(all(&store)), ["a"]);
    write(&store, vec![Write::DeleteRange(bytes("a"), bytes("a"))]);
    assert_eq!(keys(all(&store)), ["a"]);
}

pub fn versioned_values_are_in_the_order_of_commits(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let out = |value| Write::PutVersioned { prefix: bytes("out/"), value: bytes(value) };
    let mut expected = Vec::new();
    for value in ["first", "second", "third"] {
        let version = write(&store, vec![out(value)]);
        let key = [b"out/", &version.0.to_be_bytes()[..]].concat();
        expected.push((Bytes::from(key), bytes(value)));
        write(&store, vec![put("a", value)]);
    }
    let found = store.snapshot().unwrap().scan(b"out/", b"out0", false, 9).unwrap();
    assert_eq!(found, expected);
    let twice = commit(&store, vec![], vec![out("x"), out("y")], Version(0));
    assert!(matches!(twice, Err(StoreError::Invalid { .. })), "one would replace the other");
}

pub fn a_snapshot_does_not_change(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    assert_eq!(store.snapshot().unwrap().version(), Version(0));
    let version = write(&store, vec![put("a", "1"), put("b", "1")]);
    let snapshot = store.snapshot().unwrap();
    for value in ["2", "3"] {
        write(&store, vec![put("a", value), Write::Delete(bytes("b")), put("c", value)]);
    }
    assert_eq!(snapshot.version(), version);
    let pairs = snapshot.scan(b"", b"", false, 9).unwrap();
    assert_eq!(pairs, [(bytes("a"), bytes("1")), (bytes("b"), bytes("1"))]);
    assert_eq!(snapshot.get(&[b"c", b"a"]).unwrap(), [None, Some(bytes("1"))]);
    assert_eq!(all(&store), [(bytes("a"), bytes("3")), (bytes("c"), bytes("3"))]);
    assert_eq!(store.snapshot().unwrap().version(), store.durable());
}

pub fn a_commit_with_a_known_key_is_not_repeated(make: Make<'_>) {
    let fixture = make(Options::default());
    let add = Commit {
        checks: vec![Check::Absent(bytes("n"))],
        writes: vec![Write::Add(bytes("n"), 1)],
        idempotency: Some([1; 16]),
        ..Commit::default()
    };
    let store = fixture.open(1);
    let first = store.commit(add.clone()).wait().unwrap();
    write(&store, vec![put("a", "1")]);
    assert_eq!(store.commit(add.clone()).wait(), Ok(first));
    drop(store);
    let store = fixture.open(2);
    assert_eq!(store.commit(add.clone()).wait(), Ok(first), "reopening keeps receipts");
    assert_eq!(get(&store, "n"), Some(Bytes::copy_from_slice(&1_i64.to_be_bytes())));
    let other = Commit { idempotency: Some([2; 16]), ..add };
    assert_eq!(store.commit(other.clone()).wait(), Err(StoreError::Conflict));
    write(&store, vec![Write::Delete(bytes("n"))]);
    let retried = store.commit(other).wait();
    assert_eq!(retried, Ok(store.durable()), "a refused commit leaves no receipt");
}

pub fn forgotten_idempotency_keys_are_the_oldest(make: Make<'_>) {
    let fixture = make(Options { receipts_max: 2, ..Options::default() });
    let add = |key| Commit {
        writes: vec![Write::Add(bytes("n"), 1)],
        idempotency: Some([key; 16]),
        ..Commit::default()
    };
    let store = fixture.open(1);
    let versions = [1, 2, 3].map(|key| store.commit(add(key)).wait().unwrap());
    drop(store);
    let store = fixture.open(1);
    assert_eq!(store.commit(add(2)).wait(), Ok(versions[1]));
    assert_eq!(store.commit(add(3)).wait(), Ok(versions[2]));
    assert_eq!(store.commit(add(1)).wait(), Ok(Version(versions[2].0 + 1)));
    assert_eq!(store.commit(add(3)).wait(), Ok(versions[2]));
}

pub fn what_exceeds_a_limit_is_refused(make: Make<'_>) {
    let options = Options {
        key_bytes_max: 10,
        value_bytes_max: 20,
        commit_bytes_max: 40,
        commit_items_max: 5,
        ..Options::default()
    };
    let fixture = make(options);
    let store = fixture.open(1);
    let try_write = |writes| commit(&store, vec![], writes, Version(0));
    let key = |length| "k".repeat(length);
    let value = |length| "v".repeat(length);
    write(&store, vec![put(&key(10), &value(20))]);
    let too_large = |what, found, max| Err(StoreError::TooLarge { what, found, max });
    let long_key = too_large("bytes of a key", 11, 10);
    assert_eq!(try_write(vec![put(&key(11), "")]), long_key);
    assert_eq!(try_write(vec![Write::Delete(bytes(&key(11)))]), long_key);
    let versioned = Write::PutVersioned { prefix: bytes("abc"), value: bytes("") };
    assert_eq!(try_write(vec![versioned]), long_key);
    let long_value = too_large("bytes of a value", 21, 20);
    assert_eq!(try_write(vec![put("a", &value(21))]), long_value);
    let large = vec![put("a", &value(20)), put("b", &value(19))];
    assert_eq!(try_write(large), too_large("bytes of a commit", 41, 40));
    let many = vec![put("a", ""); 6];
    assert_eq!(try_write(many), too_large("items of a commit", 6, 5));
    let checked = commit(&store, vec![Check::Key(bytes(&key(11)))], vec![], Version(0));
    assert_eq!(checked, long_key);
    for invalid in [put("", ""), Write::DeleteRange(bytes("b"), bytes("a"))] {
        let refused = try_write(vec![invalid]);
        assert!(matches!(refused, Err(StoreError::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(store.durable(), Version(1));
}

pub fn a_lower_epoch_never_opens(make: Make<'_>) {
    let fixture = make(Options::default());
    drop(fixture.open(5));
    let fenced = fixture.try_open(4).map(|_| ());
    assert_eq!(fenced, Err(StoreError::Fenced { held: Epoch(5), asked: Epoch(4) }));
    let store = fixture.open(5);
    write(&store, vec![put("a", "1")]);
    drop(store);
    drop(fixture.open(6));
    let fenced = fixture.try_open(5).map(|_| ());
    assert_eq!(fenced, Err(StoreError::Fenced { held: Epoch(6), asked: Epoch(5) }));
}

pub fn a_shard_opens_once(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let again = fixture.try_open(2).map(|_| ());
    assert!(matches!(again, Err(StoreError::Unavailable { .. })), "{again:?}");
    let snapshot = store.snapshot().unwrap();
    drop(store);
    let again = fixture.try_open(2).map(|_| ());
    assert!(matches!(again, Err(StoreError::Unavailable { .. })), "a snapshot still reads");
    drop(snapshot);
    let fenced_nobody = fixture.try_open(1).map(|_| ());
    assert_eq!(fenced_nobody, Ok(()), "an opening that was refused must not raise the epoch");
}

pub fn reopening_keeps_everything(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    for round in 0..50 {
        write(&store, vec![put(&format!("key-{round:02}"), "1"), Write::Add(bytes("n"), round)]);
    }
    write(&store, vec![Write::DeleteRange(bytes("key-10"), bytes("key-20"))]);
    write(&store, vec![Write::PutUntil(bytes("t"), bytes("1"), 100)]);
    let (before, version) = (all(&store), store.durable());
    assert_eq!(before.len(), 42);
    drop(store);
    let store = fixture.open(1);
    assert_eq!(all(&store), before);
    assert_eq!((store.durable(), store.snapshot().unwrap().version()), (version, version));
    assert_eq!(write(&store, vec![put("a", "1")]), Version(version.0 + 1));
    fixture.clock.set(100);
    assert_eq!(get(&store, "t"), None);
}

pub fn reads_from_before_an_opening_are_conflicts(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    let old = write(&store, vec![put("a", "1")]);
    let last = write(&store, vec![put("b", "1")]);
    drop(store);
    let store = fixture.open(1);
    let decide = |read| commit(&store, vec![Check::Key(bytes("c"))], vec![put("d", "1")], read);
    assert_eq!(decide(old), Err(StoreError::Conflict));
    decide(last).unwrap();
}

pub fn tenants_and_shards_are_apart(make: Make<'_>) {
    let fixture = make(Options::default());
    let store = fixture.open(1);
    write(&store, vec![put("a", "1")]);
    for (tenant, shard) in [(TenantId(8), SHARD), (TENANT, ShardId(4))] {
        let other = fixture.stores.open(tenant, shard, Epoch(0)).unwrap();
        assert!(all(&other).is_empty());
        assert_eq!(write(&other, vec![put("b", "1")]), Version(1));
    }
    assert_eq!(keys(all(&store)), ["a"]);
}
