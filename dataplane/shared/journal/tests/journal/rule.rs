//! The rule that tells a torn tail from damage, case by case, on a disk without chance.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use orrery_journal::sim::SimDisk;
use orrery_journal::{
    Disk as _, Epoch, Journal, JournalError, Opened, Options, Position, Record, scrub,
};

const FIRST_SEGMENT: &str = "segment-00000000000000000001";
const FIRST_FRAME: usize = 4096;
/// A body whose frame fills a page: then no padding of a write hides what lies behind it.
const PAGE_BODY: usize = 4096 - 56;

fn options() -> Options {
    Options { segment_bytes: 64 << 10, threaded: false, ..Options::default() }
}

fn open(disk: &SimDisk) -> Result<Opened, JournalError> {
    disk.restart();
    Journal::open(Arc::new(disk.clone()), options())
}

fn record(body: &[u8]) -> Record<'_> {
    Record { stream: 1, kind: 2, time_us: 3, body }
}

/// Appends records and commits them as one group.
fn commit(journal: &mut Journal, bodies: &[&[u8]]) {
    for body in bodies {
        journal.append(record(body)).unwrap();
    }
    journal.flush();
    while journal.step() {}
    assert_eq!(journal.durable(), journal.last());
}

/// Bodies of all records behind the snapshot.
fn bodies(opened: &mut Opened) -> Vec<Vec<u8>> {
    let mut bodies = Vec::new();
    while let Some(entry) = opened.recovery.next_record().unwrap() {
        bodies.push(entry.body.to_vec());
    }
    bodies
}

/// Offset of the frame of the record at `position`, going by the lengths in the frames before it.
fn offset_of(disk: &SimDisk, file: &str, position: u64) -> usize {
    let bytes = disk.content(file).unwrap();
    let mut at = FIRST_FRAME;
    loop {
        let word = |offset: usize| {
            u64::from_le_bytes(bytes[at + offset..at + offset + 8].try_into().unwrap())
        };
        if word(16) == position {
            return at;
        }
        let body = (word(8) & 0xffff_ffff) as usize;
        at += 56 + body.next_multiple_of(8);
    }
}

fn damage(disk: &SimDisk, file: &str, position: u64) {
    disk.flip_bit(file, (offset_of(disk, file, position) + 60) * 8);
}

fn corrupt_at(opened: Result<Opened, JournalError>) -> u64 {
    match opened {
        Err(JournalError::Corrupt { position, .. }) => position.0,
        other => panic!("{other:?} instead of Corrupt"),
    }
}

/// A disk with groups of records 1, 2–3 and 4–6, the last not marked.
fn three_groups() -> SimDisk {
    let disk = SimDisk::new(1);
    let mut journal = open(&disk).unwrap().journal;
    commit(&mut journal, &[&[1; PAGE_BODY]]);
    commit(&mut journal, &[&[2; PAGE_BODY], &[3; PAGE_BODY]]);
    commit(&mut journal, &[&[4; PAGE_BODY], &[5; PAGE_BODY], &[6; PAGE_BODY]]);
    disk
}

#[test]
fn a_torn_group_is_cut_at_its_first_bad_record() {
    let disk = three_groups();
    damage(&disk, FIRST_SEGMENT, 5);
    let mut opened = open(&disk).unwrap();
    assert_eq!(opened.journal.durable(), Position(4));
    assert_eq!(bodies(&mut opened).len(), 4);
}

#[test]
fn what_was_cut_never_comes_back() {
    let disk = three_groups();
    damage(&disk, FIRST_SEGMENT, 4);
    let mut opened = open(&disk).unwrap();
    assert_eq!(opened.journal.durable(), Position(3));
    // Of the same length as the record that was cut, so that the old record 5 would fit behind it.
    commit(&mut opened.journal, &[&[14; PAGE_BODY]]);
    drop(opened);
    let found = bodies(&mut open(&disk).unwrap());
    assert_eq!(found.iter().map(|body| body[0]).collect::<Vec<_>>(), [1, 2, 3, 14]);
}

#[test]
fn damage_below_a_later_watermark_is_corrupt() {
    for position in 1..=3 {
        let disk = three_groups();
        damage(&disk, FIRST_SEGMENT, position);
        assert_eq!(corrupt_at(open(&disk)), position);
        let found = scrub(&disk).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].position, Position(position));
        assert_eq!(found[0].file, FIRST_SEGMENT);
    }
}

#[test]
fn damage_to_the_last_group_of_a_closed_journal_is_corrupt() {
    for position in 1..=3 {
        let disk = SimDisk::new(1);
        let mut journal = open(&disk).unwrap().journal;
        commit(&mut journal, &[b"record 1", b"record 2", b"record 3"]);
        journal.close().unwrap();
        damage(&disk, FIRST_SEGMENT, position);
        assert_eq!(corrupt_at(open(&disk)), position);
    }
}

#[test]
fn damage_at_or_below_a_snapshot_is_corrupt() {
    let disk = three_groups();
    let mut journal = open(&disk).unwrap().journal;
    commit(&mut journal, &[b"record 7"]);
    let mut writer = journal.snapshot_writer(Position(7)).unwrap();
    writer.write_all(b"state").unwrap();
    writer.finish().unwrap();
    damage(&disk, FIRST_SEGMENT, 7);
    assert_eq!(corrupt_at(open(&disk)), 7);
}

#[test]
fn damage_at_a_snapshot_that_is_damaged_too_is_corrupt() {
    let disk = three_groups();
    let mut journal = open(&disk).unwrap().journal;
    commit(&mut journal, &[b"record 7"]);
    snapshot(&journal, 7, b"state");
    drop(journal);
    damage(&disk, FIRST_SEGMENT, 7);
    disk.flip_bit("snapshot-00000000000000000007", 70 * 8);
    assert_eq!(corrupt_at(open(&disk)), 7);
}

#[test]
fn an_epoch_file_from_before_the_last_records_is_corrupt() {
    let disk = three_groups();
    let before = disk.content("epoch").unwrap();
    let mut journal = open(&disk).unwrap().journal;
    journal.raise_epoch(Epoch(1)).unwrap();
    commit(&mut journal, &[b"record 7"]);
    drop(journal);
    disk.create("epoch").unwrap().write_at(&before, 0).unwrap();
    assert_eq!(scrub(&disk).unwrap()[0].file, "epoch");
    assert_eq!(corrupt_at(open(&disk)), 7);
}

/// A disk with several segments, marked; gives the first positions of the segments.
fn many_segments() -> (SimDisk, Vec<u64>) {
    let disk = SimDisk::new(1);
    let mut journal = open(&disk).unwrap().journal;
    for n in 0..40 {
        commit(&mut journal, &[&[n; PAGE_BODY]]);
    }
    journal.close().unwrap();
    let firsts: Vec<u64> = disk
        .files()
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("segment-").map(|n| n.parse().unwrap()))
        .collect();
    assert!(firsts.len() > 2);
    (disk, firsts)
}

#[test]
fn damage_in_a_sealed_segment_is_corrupt() {
    let (disk, firsts) = many_segments();
    for position in [firsts[1], firsts[2] - 1] {
        let disk = disk.fork();
        damage(&disk, &format!("segment-{:020}", firsts[1]), position);
        assert_eq!(corrupt_at(open(&disk)), position);
    }
}

#[test]
fn a_missing_file_is_corrupt() {
    let (disk, firsts) = many_segments();
    for (first, expected) in [(firsts[0], 1), (firsts[1], firsts[1])] {
        let disk = disk.fork();
        disk.remove(&format!("segment-{first:020}")).unwrap();
        assert_eq!(corrupt_at(open(&disk)), expected);
    }
    disk.remove("epoch").unwrap();
    assert_eq!(corrupt_at(open(&disk)), 0);
}

#[test]
fn a_body_that_holds_frames_is_no_evidence() {
    let other = three_groups();
    let frames = other.content(FIRST_SEGMENT).unwrap()[..7 * 4096].to_vec();
    let disk = SimDisk::new(2);
    let mut journal = open(&disk).unwrap().journal;
    commit(&mut journal, &[b"record 1"]);
    commit(&mut journal, &[&frames[FIRST_FRAME..]]);
    damage(&disk, FIRST_SEGMENT, 2);
    assert_eq!(open(&disk).unwrap().journal.durable(), Position(1));
}

fn snapshot(journal: &Journal, at: u64, state: &[u8]) {
    let mut writer = journal.snapshot_writer(Position(at)).unwrap();
    writer.write_all(state).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_damaged_snapshot_is_passed_over_only_while_its_tail_exists() {
    for (snapshots_kept, survives) in [(1, false), (2, true)] {
        let disk = SimDisk::new(3);
        let options = Options { snapshots_kept, ..options() };
        let mut journal = Journal::open(Arc::new(disk.clone()), options.clone()).unwrap().journal;
        for n in 1..=60_u8 {
            commit(&mut journal, &[&[n; 1000]]);
            if n % 20 == 0 {
                snapshot(&journal, n.into(), &[n; 300]);
            }
        }
        journal.close().unwrap();
        disk.flip_bit("snapshot-00000000000000000060", 200 * 8);
        disk.restart();
        let reopened = Journal::open(Arc::new(disk.clone()), options);
        if !survives {
            assert_eq!(corrupt_at(reopened), 60);
            continue;
        }
        let mut opened = reopened.unwrap();
        let mut state = Vec::new();
        opened.recovery.snapshot().unwrap().unwrap().read_to_end(&mut state).unwrap();
        assert_eq!(state, [40; 300]);
        assert_eq!(bodies(&mut opened).len(), 20);
    }
}
