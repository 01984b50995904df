//! Reading along, and journals that begin with a copy: what followers are made of.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_journal::{
    CopyWriter, Epoch, Journal, JournalError, Opened, Options, Position, RealDisk, Record, Tail,
    scrub,
};

const SOON: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options { segment_bytes: 64 << 10, ..Options::default() }
}

fn open(folder: &std::path::Path) -> Opened {
    Journal::open(Arc::new(RealDisk::new(folder).unwrap()), options()).unwrap()
}

fn body(number: u64) -> Vec<u8> {
    vec![number as u8; (number * 37 % 3000) as usize]
}

fn append(journal: &mut Journal, number: u64) {
    let time_us = number as i64 * 10;
    let record = Record { stream: 1, kind: 2, time_us, body: &body(number) };
    while let Err(JournalError::QueueFull { .. }) = journal.append(record) {
        journal.flush();
        std::thread::yield_now();
    }
}

fn wait(journal: &mut Journal) {
    journal.flush();
    journal.wait_durable_until(journal.last(), Instant::now() + SOON).unwrap();
}

/// Reads records `from..=to` and checks them.
fn read(tail: &mut Tail, from: u64, to: u64) {
    for number in from..=to {
        let entry = tail.next(Instant::now() + SOON).unwrap().expect("it is there in time");
        assert_eq!((entry.position.0, entry.time_us), (number, number as i64 * 10));
        assert_eq!((entry.stream, entry.kind), (1, 2));
        assert!(entry.body == body(number), "the body of {number}");
    }
}

#[test]
fn a_reader_gets_every_record_while_they_are_appended() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let feed = journal.feed();
    let readers: Vec<_> = [0, 0, 700]
        .into_iter()
        .map(|after| {
            let feed = feed.clone();
            std::thread::spawn(move || {
                let start = Instant::now();
                while feed.durable().0 < after {
                    assert!(start.elapsed() < SOON);
                    std::thread::yield_now();
                }
                read(&mut feed.tail(Position(after)).unwrap(), after + 1, 2000);
            })
        })
        .collect();
    for number in 1..=2000 {
        append(&mut journal, number);
        if number % 7 == 0 {
            journal.flush();
        }
    }
    wait(&mut journal);
    for reader in readers {
        reader.join().unwrap();
    }
    let mut tail = feed.tail(Position(2000)).unwrap();
    assert!(tail.next(Instant::now()).unwrap().is_none(), "there is nothing more");
    append(&mut journal, 2001);
    wait(&mut journal);
    read(&mut tail, 2001, 2001);
    // What it read ahead was not written yet.
    append(&mut journal, 2002);
    wait(&mut journal);
    read(&mut tail, 2002, 2002);
}

#[test]
fn a_reader_passes_the_marks_of_earlier_lives() {
    let folder = tempfile::tempdir().unwrap();
    for life in 0..5 {
        let mut journal = open(folder.path()).journal;
        for number in 1..=20 {
            append(&mut journal, life * 20 + number);
        }
        journal.close().unwrap();
    }
    let journal = open(folder.path()).journal;
    read(&mut journal.feed().tail(Position(0)).unwrap(), 1, 100);
    read(&mut journal.feed().tail(Position(41)).unwrap(), 42, 100);
}

#[test]
fn what_a_reader_needs_is_not_trimmed_and_what_nobody_needs_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let feed = journal.feed();
    let mut tail = feed.tail(Position(0)).unwrap();
    for number in 1..=300 {
        append(&mut journal, number);
        wait(&mut journal);
    }
    journal.snapshot_writer(Position(300)).unwrap().finish().unwrap();
    read(&mut tail, 1, 300);
    drop(tail);
    for number in 301..=310 {
        append(&mut journal, number);
    }
    wait(&mut journal);
    journal.snapshot_writer(Position(310)).unwrap().finish().unwrap();
    let refused = feed.tail(Position(0)).unwrap_err();
    assert!(matches!(refused, JournalError::Trimmed { oldest, .. } if oldest.0 > 1), "{refused}");
}

#[test]
fn a_journal_begins_with_the_snapshot_of_another_one() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut leader = open(from.path()).journal;
    leader.raise_epoch(Epoch(3)).unwrap();
    for number in 1..=50 {
        append(&mut leader, number);
    }
    let mut writer = leader.snapshot_writer(Position(50)).unwrap();
    leader.flush();
    writer.write_all(&vec![7; 600_000]).unwrap();
    writer.finish().unwrap();
    leader.raise_epoch(Epoch(5)).unwrap();
    for number in 51..=60 {
        append(&mut leader, number);
    }
    wait(&mut leader);

    let feed = leader.feed();
    let mut snapshot = feed.snapshot().unwrap().expect("there is one");
    assert_eq!(snapshot.position(), Position(50));
    let disk = Arc::new(RealDisk::new(to.path()).unwrap());
    let mut copy =
        CopyWriter::begin(Arc::<RealDisk>::clone(&disk), options(), Position(50), Epoch(3))
            .unwrap();
    std::io::copy(&mut snapshot, &mut copy).unwrap();
    copy.finish().unwrap();

    let Opened { mut journal, recovery } = open(to.path());
    let mut content = vec![];
    recovery.snapshot().unwrap().expect("it is there").read_to_end(&mut content).unwrap();
    assert!(content.len() == 600_000 && content.iter().all(|byte| *byte == 7));
    assert_eq!((journal.last(), journal.epoch()), (Position(50), Epoch(3)));
    journal.raise_epoch(Epoch(9)).unwrap();
    let mut tail = feed.tail(Position(50)).unwrap();
    while let Some(entry) = tail.next(Instant::now()).unwrap() {
        let (stream, kind, time_us, body) = (entry.stream, entry.kind, entry.time_us, entry.body);
        journal.append_under(entry.epoch, Record { stream, kind, time_us, body }).unwrap();
    }
    journal.close().unwrap();
    let Opened { journal, mut recovery } = open(to.path());
    let mut number = 50;
    while let Some(entry) = recovery.next_record().unwrap() {
        number += 1;
        assert_eq!((entry.position.0, entry.epoch.0), (number, 5));
        assert!(entry.body == body(number));
    }
    assert_eq!((number, journal.epoch()), (60, Epoch(9)));
    drop(journal);
    assert_eq!(scrub(&*disk).unwrap(), []);
}

#[test]
fn records_of_a_leader_keep_their_epochs_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let record = Record { stream: 0, kind: 0, time_us: 0, body: b"x" };
    let mut journal = open(folder.path()).journal;
    journal.raise_epoch(Epoch(4)).unwrap();
    journal.append_under(Epoch(2), record).unwrap();
    let refused = |result| matches!(result, Err(JournalError::Fenced { .. }));
    assert!(refused(journal.append_under(Epoch(1), record)), "epochs never fall");
    assert!(refused(journal.append_under(Epoch(5), record)), "nor pass that of the journal");
    journal.close().unwrap();
    // The mark at the end must not have the epoch of the owner: older ones may still follow.
    let mut journal = open(folder.path()).journal;
    journal.append_under(Epoch(3), record).unwrap();
    journal.append(record).unwrap();
    journal.close().unwrap();
    let mut recovery = open(folder.path()).recovery;
    let mut epochs = vec![];
    while let Some(entry) = recovery.next_record().unwrap() {
        epochs.push(entry.epoch.0);
    }
    assert_eq!(epochs, [2, 3, 4]);
}

#[test]
fn a_reader_that_waits_can_be_called_away() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    append(&mut journal, 1);
    wait(&mut journal);
    let feed = journal.feed();
    let (is_over, reader) = (Arc::new(AtomicBool::new(false)), feed.clone());
    let seen = Arc::clone(&is_over);
    let reading = std::thread::spawn(move || {
        let mut tail = reader.tail(Position(0)).unwrap();
        // Nothing but a call ends this wait.
        let never = Instant::now() + Duration::from_hours(1);
        let is_over = || seen.load(Ordering::Acquire);
        assert!(tail.next_unless(never, is_over).unwrap().is_some(), "records come first");
        assert!(tail.next_unless(never, is_over).unwrap().is_none());
        tail.last()
    });
    is_over.store(true, Ordering::Release);
    feed.wake();
    assert_eq!(reading.join().unwrap(), Position(1));
}
