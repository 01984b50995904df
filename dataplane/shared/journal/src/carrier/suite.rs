//! What every carrier must pass. A crate that has one runs [`run`] over it, against a real engine.

pub mod history;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use self::history::{PATIENCE, again, group, owner};
use super::{Carried, Carrier, CarrierError, Group, Owner, Saved};
use crate::{Epoch, Position};

/// The shard of all journals of the suite.
pub const SHARD: u32 = 7;

/// Opens another client of one and the same journal.
pub type Open = dyn Fn() -> Arc<dyn Carrier> + Send + Sync;

type Case = (&'static str, fn(&Open));

const CASES: [Case; 13] = [
    ("a new journal is empty", a_new_journal_is_empty),
    ("groups come back in order", groups_come_back_in_order),
    ("what does not follow is refused", what_does_not_follow_is_refused),
    ("asked again it is taken once", asked_again_it_is_taken_once),
    ("who does not own it changes nothing", who_does_not_own_it_changes_nothing),
    ("one epoch has one owner", one_epoch_has_one_owner),
    ("a stale owner is refused after a trim", a_stale_owner_is_refused_after_a_trim),
    ("owners race and nothing is lost", owners_race_and_nothing_is_lost),
    ("a reader follows a writer", a_reader_follows_a_writer),
    ("snapshots come back", snapshots_come_back),
    ("half a snapshot does not count", half_a_snapshot_does_not_count),
    ("trimmed records are said to be", trimmed_records_are_said_to_be),
    ("large groups fit", large_groups_fit),
];

/// Runs every case, each in a journal of its own, which `fresh` makes. Panics with the name of the
/// case and the reason. Tells `progress` the name of each before it begins.
pub fn run(fresh: &dyn Fn() -> Box<Open>, progress: &dyn Fn(&str)) {
    for (name, case) in CASES {
        progress(name);
        case(&*fresh());
    }
}

fn ready(open: &Open) -> Arc<dyn Carrier> {
    let carrier = open();
    again(|| carrier.prepare()).expect("it can carry a journal");
    carrier
}

fn own(carrier: &dyn Carrier, epoch: u64) -> Carried {
    again(|| carrier.take_over(owner(epoch))).expect("it is free")
}

fn put(carrier: &dyn Carrier, epoch: u64, first: u64, bodies: &[&[u8]]) {
    let group = group(epoch, first, bodies);
    again(|| carrier.append(owner(epoch), &group)).expect("it is taken");
}

fn look(carrier: &dyn Carrier) -> Carried {
    again(|| carrier.look()).expect("it answers")
}

/// All records behind `after`: position, epoch, body.
fn records(carrier: &dyn Carrier, after: u64) -> Vec<(u64, u64, Vec<u8>)> {
    let mut found = vec![];
    let mut last = after;
    loop {
        let groups = again(|| carrier.read(Position(last), 1 << 20)).expect("they are there");
        if groups.is_empty() {
            return found;
        }
        for entry in groups.iter().flat_map(Group::entries) {
            let entry = entry.expect("intact");
            if entry.position.0 > last {
                assert_eq!(entry.position.0, last + 1, "in order");
                last = entry.position.0;
                found.push((last, entry.epoch.0, entry.body.to_vec()));
            }
        }
    }
}

fn is_fenced<T>(result: &Result<T, CarrierError>, by: u64) -> bool {
    matches!(result, Err(CarrierError::Fenced { held }) if held.0 == by)
}

fn saved(at: u64, epoch: u64, bytes: usize) -> Saved {
    Saved { at: Position(at), epoch: Epoch(epoch), bytes: bytes as u64 }
}

fn content(carrier: &dyn Carrier, at: u64) -> Vec<u8> {
    let mut bytes = vec![];
    let mut from = again(|| carrier.load(Position(at))).expect("it is there");
    from.read_to_end(&mut bytes).expect("it can be read");
    bytes
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 31 % 251) as u8).collect()
}

fn a_new_journal_is_empty(open: &Open) {
    let carrier = ready(open);
    assert_eq!(look(&*carrier), Carried::default());
    assert_eq!(records(&*carrier, 0), vec![]);
    assert!(is_fenced(&again(|| carrier.append(owner(1), &group(1, 1, &[b"a"]))), 0));
    let missing = again(|| carrier.load(Position(1))).map(|_| ());
    assert!(matches!(missing, Err(CarrierError::NoSnapshot { .. })), "{missing:?}");
    // Preparing what is prepared changes nothing.
    own(&*carrier, 3);
    let other = ready(open);
    assert_eq!(look(&*other), Carried { epoch: Epoch(3), ..Carried::default() });
}

fn groups_come_back_in_order(open: &Open) {
    let carrier = ready(open);
    assert_eq!(own(&*carrier, 1).last, Position(0));
    put(&*carrier, 1, 1, &[b"a", b"b"]);
    put(&*carrier, 1, 3, &[b""]);
    let found = own(&*carrier, 4);
    assert_eq!((found.epoch, found.last, found.last_epoch), (Epoch(4), Position(3), Epoch(1)));
    put(&*carrier, 4, 4, &[b"c"]);
    let other = open();
    let all: Vec<(u64, u64, &[u8])> = vec![(1, 1, b"a"), (2, 1, b"b"), (3, 1, b""), (4, 4, b"c")];
    let found = records(&*other, 0);
    let found: Vec<(u64, u64, &[u8])> =
        found.iter().map(|(a, b, c)| (*a, *b, c.as_slice())).collect();
    assert_eq!(found, all);
    assert_eq!(records(&*other, 3).len(), 1);
    assert_eq!(records(&*other, 4), vec![]);
    let groups = again(|| other.read(Position(0), 1)).expect("one at least");
    assert_eq!(groups.len(), 1, "as many as asked for");
    let groups = again(|| other.read(Position(1), 1)).expect("the one that holds it");
    assert_eq!(groups[0].first(), Position(1));
    let found = look(&*other);
    assert_eq!((found.oldest, found.last, found.last_epoch), (Position(1), Position(4), Epoch(4)));
}

fn what_does_not_follow_is_refused(open: &Open) {
    let carrier = ready(open);
    own(&*carrier, 1);
    put(&*carrier, 1, 1, &[b"a", b"b"]);
    for first in [1, 2, 4, 100] {
        let refused = again(|| carrier.append(owner(1), &group(1, first, &[b"x", b"y"])));
        let at = Position(2);
        assert!(
            matches!(refused, Err(CarrierError::OutOfPlace { last, .. }) if last == at),
            "{first}: {refused:?}"
        );
    }
    assert_eq!(records(&*carrier, 0).len(), 2);
    put(&*carrier, 1, 3, &[b"c"]);
}

fn asked_again_it_is_taken_once(open: &Open) {
    let carrier = ready(open);
    own(&*carrier, 1);
    for _ in 0..3 {
        put(&*carrier, 1, 1, &[b"a"]);
    }
    put(&*carrier, 1, 2, &[b"b"]);
    for _ in 0..3 {
        put(&*carrier, 1, 2, &[b"b"]);
        own(&*carrier, 1);
    }
    assert_eq!(records(&*open(), 0).len(), 2);
}

fn who_does_not_own_it_changes_nothing(open: &Open) {
    let (old, new) = (ready(open), ready(open));
    own(&*old, 1);
    put(&*old, 1, 1, &[b"a"]);
    own(&*new, 2);
    let refused = again(|| old.append(owner(1), &group(1, 2, &[b"b"])));
    assert!(is_fenced(&refused, 2), "{refused:?}");
    let refused = again(|| old.save(owner(1), saved(1, 1, 1), &mut b"s".as_slice()));
    assert!(is_fenced(&refused, 2), "{refused:?}");
    let refused = again(|| old.trim(owner(1), Position(1)));
    assert!(is_fenced(&refused, 2), "{refused:?}");
    let refused = again(|| old.take_over(owner(1)));
    assert!(is_fenced(&refused, 2), "{refused:?}");
    let found = look(&*old);
    assert_eq!((found.last, found.snapshot), (Position(1), None));
    put(&*new, 2, 2, &[b"c"]);
    assert_eq!(records(&*new, 1), vec![(2, 2, b"c".to_vec())]);
}

fn one_epoch_has_one_owner(open: &Open) {
    let carrier = ready(open);
    own(&*carrier, 1);
    let other = Owner { epoch: Epoch(1), token: 1 };
    let refused = again(|| carrier.take_over(other));
    assert!(is_fenced(&refused, 1), "{refused:?}");
    let refused = again(|| carrier.append(other, &group(1, 1, &[b"a"])));
    assert!(is_fenced(&refused, 1), "{refused:?}");
    put(&*carrier, 1, 1, &[b"a"]);
}

/// A new owner that removed everything the old one knew of must not make room for its late writes.
fn a_stale_owner_is_refused_after_a_trim(open: &Open) {
    let (old, new) = (ready(open), ready(open));
    own(&*old, 1);
    put(&*old, 1, 1, &[b"a"]);
    own(&*new, 2);
    for first in 2..20 {
        put(&*new, 2, first, &[b"b"]);
    }
    again(|| new.save(owner(2), saved(19, 2, 1), &mut b"s".as_slice())).expect("it is saved");
    again(|| new.trim(owner(2), Position(19))).expect("it is trimmed");
    for first in 2..20 {
        let refused = again(|| old.append(owner(1), &group(1, first, &[b"stale"])));
        assert!(is_fenced(&refused, 2), "at {first}: {refused:?}");
    }
    let found = look(&*open());
    assert_eq!((found.epoch, found.last, found.last_epoch), (Epoch(2), Position(19), Epoch(2)));
    put(&*new, 2, 20, &[b"c"]);
    assert_eq!(records(&*open(), 19), vec![(20, 2, b"c".to_vec())]);
}

/// Owners that take over from each other while all of them write: what was acknowledged is there, in
/// order, once, and nothing else but what was asked for.
fn owners_race_and_nothing_is_lost(open: &Open) {
    const OWNERS: u64 = 4;
    const TAKE_OVERS: u64 = 12;
    ready(open);
    let next_epoch = AtomicU64::new(1);
    let acknowledged: Mutex<BTreeMap<u64, Vec<u8>>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..OWNERS {
            scope.spawn(|| {
                let carrier = open();
                loop {
                    let epoch = next_epoch.fetch_add(1, Ordering::SeqCst);
                    if epoch > TAKE_OVERS {
                        return;
                    }
                    write_until_fenced(&*carrier, epoch, &acknowledged);
                }
            });
        }
    });
    let found = records(&*open(), 0);
    let acknowledged = acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (position, body) in &acknowledged {
        let at = found.get(*position as usize - 1);
        assert_eq!(at.map(|(_, _, body)| body), Some(body), "at {position}");
    }
    let mut bodies: Vec<&Vec<u8>> = found.iter().map(|(_, _, body)| body).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies.len(), found.len(), "nothing is there twice");
    assert!(found.is_sorted_by(|one, next| one.1 <= next.1), "epochs do not fall");
}

fn write_until_fenced(
    carrier: &dyn Carrier,
    epoch: u64,
    acknowledged: &Mutex<BTreeMap<u64, Vec<u8>>>,
) {
    const WRITES: u64 = 40;
    let mut last = match again(|| carrier.take_over(owner(epoch))) {
        Ok(found) => found.last.0,
        Err(CarrierError::Fenced { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    for number in 0..WRITES {
        let body = format!("{epoch}/{number}").into_bytes();
        let group = group(epoch, last + 1, &[&body]);
        match again(|| carrier.append(owner(epoch), &group)) {
            Ok(()) => {}
            Err(CarrierError::Fenced { held }) => {
                assert!(held.0 > epoch);
                return;
            }
            Err(error) => panic!("{error}"),
        }
        last += 1;
        let before = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(last, body);
        assert_eq!(before, None, "position {last} was acknowledged twice");
    }
}

fn a_reader_follows_a_writer(open: &Open) {
    const GROUPS: u64 = 100;
    let carrier = ready(open);
    own(&*carrier, 1);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let reader = open();
            let started = Instant::now();
            let mut last = 0;
            while last < GROUPS * 2 {
                assert!(started.elapsed() < PATIENCE * 3, "it does not get there");
                assert!(look(&*reader).last.0 >= last, "what was seen is not taken back");
                for (position, _, body) in records(&*reader, last) {
                    assert_eq!(body, position.to_string().into_bytes());
                    last = position;
                }
            }
        });
        for first in (1..GROUPS * 2).step_by(2) {
            let bodies = [first.to_string(), (first + 1).to_string()];
            put(&*carrier, 1, first, &[bodies[0].as_bytes(), bodies[1].as_bytes()]);
        }
        reader.join().expect("the reader sees everything");
    });
}

fn snapshots_come_back(open: &Open) {
    let carrier = ready(open);
    own(&*carrier, 1);
    put(&*carrier, 1, 1, &[b"a", b"b", b"c"]);
    let ahead = again(|| carrier.save(owner(1), saved(4, 1, 1), &mut b"s".as_slice()));
    assert!(matches!(ahead, Err(CarrierError::Invalid(_))), "{ahead:?}");
    let large = pattern(9 << 20);
    for (at, bytes) in [(1, &large[..0]), (2, &large[..1000]), (3, &large[..])] {
        let plan = saved(at, 1, bytes.len());
        again(|| carrier.save(owner(1), plan, &mut &*bytes)).expect("it is saved");
        let other = open();
        assert_eq!(look(&*other).snapshot, Some(plan));
        assert!(content(&*other, at) == bytes, "the content at {at}");
        // Saved again it is the same.
        again(|| carrier.save(owner(1), plan, &mut &*bytes)).expect("it is saved");
    }
    assert_eq!(own(&*open(), 2).snapshot, Some(saved(3, 1, large.len())));
    assert!(content(&*open(), 3) == large);
}

/// Breaks off in the middle.
struct Breaking<'a>(&'a [u8]);

impl Read for Breaking<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.0.read(into)? {
            0 => Err(io::Error::other("it broke off")),
            read => Ok(read),
        }
    }
}

fn half_a_snapshot_does_not_count(open: &Open) {
    let carrier = ready(open);
    own(&*carrier, 1);
    put(&*carrier, 1, 1, &[b"a", b"b"]);
    let bytes = pattern(5 << 20);
    let first = saved(1, 1, 10);
    again(|| carrier.save(owner(1), first, &mut &bytes[..10])).expect("it is saved");
    let plan = saved(2, 1, bytes.len());
    for cut in [0, 1, 3 << 20, bytes.len()] {
        let failed = again(|| carrier.save(owner(1), plan, &mut Breaking(&bytes[..cut])));
        let is_refused = matches!(failed, Err(CarrierError::Invalid(_)));
        // Who reads no further than the length does not meet the end.
        assert!(is_refused || cut == bytes.len(), "{failed:?}");
        if is_refused {
            assert_eq!(look(&*open()).snapshot, Some(first));
        }
    }
    let other = saved(2, 1, bytes.len() + 1);
    let shorter = again(|| carrier.save(owner(1), other, &mut bytes.as_slice()));
    assert!(matches!(shorter, Err(CarrierError::Invalid(_))), "{shorter:?}");
    again(|| carrier.save(owner(1), plan, &mut bytes.as_slice())).expect("it is saved");
    assert_eq!(look(&*open()).snapshot, Some(plan));
    assert!(content(&*open(), 2) == bytes);
}

fn trimmed_records_are_said_to_be(open: &Open) {
    let carrier = ready(open);
    own(&*carrier, 1);
    for first in 1..=10 {
        put(&*carrier, 1, first, &[b"a"]);
    }
    again(|| carrier.save(owner(1), saved(10, 1, 1), &mut b"s".as_slice())).expect("it is saved");
    again(|| carrier.trim(owner(1), Position(6))).expect("it is trimmed");
    let found = look(&*open());
    assert_eq!((found.last, found.snapshot), (Position(10), Some(saved(10, 1, 1))));
    assert!(found.oldest.0 <= 7, "nothing behind it is gone: {found:?}");
    assert_eq!(records(&*open(), found.oldest.0 - 1).len() as u64, 11 - found.oldest.0);
    again(|| carrier.trim(owner(1), Position(10))).expect("it is trimmed");
    let found = own(&*open(), 2);
    assert_eq!((found.last, found.last_epoch), (Position(10), Epoch(1)));
    if found.oldest.0 > 1 {
        let trimmed = again(|| open().read(Position(0), 1 << 20));
        assert!(matches!(trimmed, Err(CarrierError::Trimmed { .. })), "{trimmed:?}");
    }
    assert_eq!(records(&*open(), 10), vec![]);
    put(&*open(), 2, 11, &[b"b"]);
    assert_eq!(records(&*open(), 10), vec![(11, 2, b"b".to_vec())]);
    assert_eq!(content(&*open(), 10), b"s");
}

fn large_groups_fit(open: &Open) {
    let carrier = ready(open);
    own(&*carrier, 1);
    let large = pattern(16 << 20);
    put(&*carrier, 1, 1, &[&large]);
    put(&*carrier, 1, 2, &[&large[..100_000], b"", &large[..77]]);
    let found = records(&*open(), 0);
    assert!(found[0].2 == large && found[1].2 == large[..100_000] && found[3].2 == large[..77]);
    put(&*carrier, 1, 5, &[b"after it"]);
}
