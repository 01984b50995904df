use std::io::{Read as _, Write as _};

use orrery_journal::carrier::MemoryCarrier;
use orrery_journal::{Epoch, Owner};

use super::*;

const OWNER: Owner = Owner { epoch: Epoch(1), token: 7 };

fn options() -> Options {
    Options { segment_bytes: 64 << 10, ..Options::default() }
}

fn record(body: &[u8]) -> Record<'_> {
    Record { stream: 0, kind: 1, time_us: 1, body }
}

/// An engine, and an owner of its journal.
fn owned(folder: &Path) -> (Arc<dyn Carrier>, Journal) {
    let carrier: Arc<dyn Carrier> = Arc::new(MemoryCarrier::new(0));
    carrier.take_over(OWNER).unwrap();
    let mut journal = open_copy(folder, options(), &carrier).unwrap().journal;
    journal.own(OWNER).unwrap();
    (carrier, journal)
}

fn write(journal: &mut Journal, bodies: &[&[u8]]) {
    for body in bodies {
        journal.append(record(body)).unwrap();
    }
    journal.flush();
    journal.wait_durable_until(journal.last(), Instant::now() + DISK).unwrap();
}

fn take(journal: &mut Journal, carrier: &dyn Carrier) -> (Caught, Vec<Vec<u8>>) {
    let mut seen = vec![];
    let caught = catch_up(journal, carrier, |entry| {
        seen.push(entry.body.to_vec());
        Ok::<_, CopyError>(())
    });
    (caught.unwrap(), seen)
}

#[test]
fn a_copy_follows_and_is_taken_over_by_the_next_owner() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (carrier, mut owner) = owned(&one.path().join("journal"));
    let mut copy = open_copy(&other.path().join("journal"), options(), &carrier).unwrap().journal;
    write(&mut owner, &[b"a", b"b"]);
    assert_eq!(take(&mut copy, &*carrier), (Caught::Up, vec![b"a".to_vec(), b"b".to_vec()]));
    assert_eq!(take(&mut copy, &*carrier), (Caught::Up, vec![]));
    write(&mut owner, &[b"c"]);
    let next = Owner { epoch: Epoch(2), token: 8 };
    carrier.take_over(next).unwrap();
    assert_eq!(take(&mut copy, &*carrier).1, [b"c".to_vec()]);
    copy.own(next).unwrap();
    write(&mut copy, &[b"d"]);
    // The old owner slept through it: nothing of it is taken any more.
    owner.append(record(b"x")).unwrap();
    owner.flush();
    assert!(owner.wait_durable_until(owner.last(), Instant::now() + DISK).is_err());
    assert_eq!(carrier.look().unwrap().last, Position(4));
}

#[test]
fn a_copy_that_is_damaged_or_behind_a_snapshot_is_made_again() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (carrier, mut owner) = owned(&one.path().join("journal"));
    let folder = other.path().join("journal");
    write(&mut owner, &[b"a", b"b"]);
    let mut copy = open_copy(&folder, options(), &carrier).unwrap().journal;
    assert_eq!(take(&mut copy, &*carrier).1.len(), 2);
    copy.close().unwrap();
    for found in fs::read_dir(&folder).unwrap().flatten() {
        if found.file_name().to_string_lossy().starts_with("segment") {
            let mut bytes = fs::read(found.path()).unwrap();
            bytes[..16].fill(0xFF);
            fs::write(found.path(), bytes).unwrap();
        }
    }
    let mut copy = open_copy(&folder, options(), &carrier).unwrap().journal;
    assert_eq!(copy.last(), Position(0), "nothing of it is kept");
    let mut writer = owner.snapshot_writer(owner.last()).unwrap();
    writer.write_all(b"state").unwrap();
    writer.finish().unwrap();
    write(&mut owner, &[b"c"]);
    assert_eq!(take(&mut copy, &*carrier).0, Caught::Trimmed);
    drop(copy);
    let opened = begin_anew(&folder, options(), &carrier).unwrap();
    let mut state = String::new();
    let snapshot = opened.recovery.snapshot().unwrap();
    snapshot.unwrap().read_to_string(&mut state).unwrap();
    let mut copy = opened.journal;
    assert_eq!((state.as_str(), copy.last()), ("state", Position(2)));
    assert_eq!(take(&mut copy, &*carrier), (Caught::Up, vec![b"c".to_vec()]));
}
