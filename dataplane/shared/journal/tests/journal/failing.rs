//! Full and failing disks, and death in every single operation.

use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use orrery_journal::sim::{Faults, SimDisk};
use orrery_journal::{
    Disk, Epoch, Journal, JournalError, Opened, Options, Position, Record, scrub,
};

fn options() -> Options {
    Options { segment_bytes: 40 << 10, threaded: false, ..Options::default() }
}

fn open(disk: &SimDisk) -> Result<Opened, JournalError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Journal::open(disk, options())
}

/// A body whose frame fills a page: then no padding of a write hides what lies behind it.
const PAGE_BODY: usize = 4096 - 56;

fn append(journal: &mut Journal, byte: u8) -> Result<Position, JournalError> {
    journal.append(Record { stream: 0, kind: 0, time_us: 0, body: &[byte; PAGE_BODY] })
}

fn commit(journal: &mut Journal) {
    journal.flush();
    while journal.step() {}
}

/// Work that meets every kind of operation: groups, rolls, snapshots, trims, epochs, a close.
fn work(disk: &SimDisk, acknowledged: &mut u64) -> Result<(), JournalError> {
    let mut journal = open(disk)?.journal;
    for n in 1..=60_u8 {
        append(&mut journal, n)?;
        if n % 3 == 0 {
            commit(&mut journal);
            *acknowledged = journal.durable().0;
        }
        if n % 12 == 0 {
            let mut writer = journal.snapshot_writer(journal.durable())?;
            let written = writer.write_all(&[n; 500]).map(|()| writer.finish());
            // A new epoch syncs the folder, which hides what a trim forgets: not after every one.
            if matches!(written, Ok(Ok(_))) && n % 24 == 0 {
                journal.raise_epoch(Epoch(n.into()))?;
            }
        }
    }
    *acknowledged = journal.close()?.0;
    Ok(())
}

/// Opens, checks that every record is the one appended at its position, and gives the journal.
fn open_whole(disk: &SimDisk, expected: impl Fn(u64) -> u8) -> Journal {
    let mut opened = open(disk).unwrap();
    let mut last = opened.recovery.snapshot_position().0;
    while let Some(entry) = opened.recovery.next_record().unwrap() {
        last += 1;
        assert_eq!(entry.position, Position(last));
        assert_eq!(entry.body, [expected(last); PAGE_BODY]);
    }
    assert_eq!(opened.journal.durable(), Position(last));
    opened.journal
}

fn end_process(disk: &SimDisk, with_power: bool) {
    if with_power {
        disk.lose_power();
    } else {
        disk.restart();
    }
}

#[test]
fn death_in_any_operation_loses_nothing_acknowledged() {
    let whole = SimDisk::new(0);
    work(&whole, &mut 0).unwrap();
    let operations = whole.operations();
    assert!(operations > 150, "{operations} operations");
    for dies_after in 0..operations {
        for power_first in [false, true] {
            let disk = SimDisk::new(dies_after);
            disk.set_faults(Faults { dies_after: Some(dies_after), ..Faults::default() });
            let mut acknowledged = 0;
            let worked = work(&disk, &mut acknowledged);
            assert!(worked.is_err() || disk.is_dead());

            end_process(&disk, power_first);
            assert_eq!(scrub(&disk).unwrap(), [], "a crash is no damage");
            let mut journal = open_whole(&disk, |n| n as u8);
            let last = journal.durable().0;
            assert!((acknowledged..=60).contains(&last), "{last} of {acknowledged}");

            // The next life relies on what the first left half done.
            append(&mut journal, 200).unwrap();
            commit(&mut journal);
            assert_eq!(journal.durable(), Position(last + 1));
            drop(journal);
            end_process(&disk, !power_first);
            let journal = open_whole(&disk, |n| if n > last { 200 } else { n as u8 });
            assert_eq!(journal.durable(), Position(last + 1));
        }
    }
}

#[test]
fn a_failed_sync_poisons_and_is_never_made_good() {
    let disk = SimDisk::new(5);
    let mut journal = open(&disk).unwrap().journal;
    let told = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&told);
    journal.on_progress(Box::new(move || {
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    append(&mut journal, 1).unwrap();
    commit(&mut journal);
    assert_eq!(told.load(Ordering::SeqCst), 1);

    append(&mut journal, 2).unwrap();
    let mut wait = pin!(journal.wait_durable(Position(2)));
    let mut context = Context::from_waker(Waker::noop());
    assert!(wait.as_mut().poll(&mut context).is_pending());
    disk.set_faults(Faults { sync: 1000, ..Faults::default() });
    commit(&mut journal);
    disk.set_faults(Faults::default());
    assert_eq!(told.load(Ordering::SeqCst), 2);
    while journal.step() {}
    assert_eq!(journal.durable(), Position(1));
    assert!(matches!(journal.failed(), Some(JournalError::Io { action: "sync", .. })));
    assert!(matches!(append(&mut journal, 3), Err(JournalError::Failed { .. })));
    let polled = wait.as_mut().poll(&mut context);
    let Poll::Ready(Err(JournalError::Unknown { position, .. })) = polled else {
        panic!("{polled:?} instead of Unknown");
    };
    assert_eq!(position, Position(2));
    assert!(matches!(journal.close(), Err(JournalError::Unknown { .. })));
}

#[test]
fn a_mark_whose_sync_failed_is_made_durable_before_anything_comes_behind_it() {
    // The mark lies across two sectors, of which the next group writes only the second again.
    let record = Record { stream: 0, kind: 0, time_us: 0, body: &[1; 440] };
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        let mut journal = open(&disk).unwrap().journal;
        journal.append(record).unwrap();
        commit(&mut journal);
        disk.set_faults(Faults { sync: 1000, ..Faults::default() });
        journal.close().unwrap();
        disk.restart();
        let mut journal = open(&disk).unwrap().journal;
        journal.append(record).unwrap();
        commit(&mut journal);
        assert_eq!(journal.durable(), Position(2));
        disk.lose_power();
        assert_eq!(open(&disk).unwrap().journal.durable(), Position(2), "seed {seed}");
    }
}

#[test]
fn a_blocked_waiter_learns_of_a_failure_on_the_committers_thread() {
    let disk = SimDisk::new(5);
    let options = Options { threaded: true, ..options() };
    let mut journal = Journal::open(Arc::new(disk.clone()), options).unwrap().journal;
    let deadline = Instant::now() + Duration::from_secs(20);
    append(&mut journal, 1).unwrap();
    journal.flush();
    assert_eq!(journal.wait_durable_until(Position(1), deadline).unwrap(), Position(1));
    disk.set_faults(Faults { sync: 1000, ..Faults::default() });
    append(&mut journal, 2).unwrap();
    journal.flush();
    let waited = journal.wait_durable_until(Position(2), deadline);
    assert!(matches!(waited, Err(JournalError::Unknown { .. })), "{waited:?}");
    assert!(matches!(append(&mut journal, 3), Err(JournalError::Failed { .. })));
}

#[test]
fn the_committers_thread_goes_on_when_there_is_room_again() {
    let disk = SimDisk::new(6);
    let options = Options { threaded: true, preallocate: false, ..options() };
    let mut journal = Journal::open(Arc::new(disk.clone()), options).unwrap().journal;
    let deadline = Instant::now() + Duration::from_secs(20);
    disk.set_faults(Faults { full: 1000, ..Faults::default() });
    append(&mut journal, 1).unwrap();
    journal.flush();
    while !journal.is_full() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    disk.set_faults(Faults::default());
    assert_eq!(journal.wait_durable_until(Position(1), deadline).unwrap(), Position(1));
    assert!(!journal.is_full());
    assert_eq!(journal.close().unwrap(), Position(1));
}

#[test]
fn a_full_disk_is_told_early_refuses_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new(6);
    let mut journal = open(&disk).unwrap().journal;
    let used: usize = disk.files().iter().map(|(_, bytes)| bytes).sum();
    disk.set_faults(Faults { room_bytes: Some(used as u64 + 5000), ..Faults::default() });
    journal.step();
    assert!(journal.space_low(), "there is no room for a second segment");

    let mut accepted = 0;
    while append(&mut journal, accepted as u8 + 1).is_ok() {
        accepted += 1;
        journal.flush();
        journal.step();
        assert!(accepted < 100, "the disk must fill up");
    }
    assert!(journal.is_full() && journal.failed().is_none());
    assert!(matches!(append(&mut journal, 0), Err(JournalError::DiskFull { .. })));
    assert_eq!(journal.durable(), Position(accepted - 1), "the last one waits for room");

    disk.set_faults(Faults::default());
    while journal.step() {}
    assert!(!journal.is_full() && !journal.space_low());
    assert_eq!(journal.durable(), Position(accepted));
    append(&mut journal, accepted as u8 + 1).unwrap();
    journal.close().unwrap();
    let mut recovery = open(&disk).unwrap().recovery;
    for n in 1..=accepted + 1 {
        assert_eq!(recovery.next_record().unwrap().unwrap().body, [n as u8; PAGE_BODY]);
    }
}

#[test]
fn a_snapshot_of_what_is_not_durable_is_not_kept() {
    let disk = SimDisk::new(7);
    let mut journal = open(&disk).unwrap().journal;
    append(&mut journal, 1).unwrap();
    let mut writer = journal.snapshot_writer(Position(1)).unwrap();
    writer.write_all(b"state").unwrap();
    let refused = writer.finish();
    assert!(matches!(refused, Err(JournalError::SnapshotAhead { at: Position(1), .. })));
    assert!(disk.files().iter().all(|(name, _)| !name.starts_with("snapshot")));
}

#[test]
fn a_failed_snapshot_costs_the_journal_nothing() {
    let disk = SimDisk::new(8);
    let mut journal = open(&disk).unwrap().journal;
    append(&mut journal, 1).unwrap();
    commit(&mut journal);
    disk.set_faults(Faults { full: 1000, ..Faults::default() });
    let begun = journal.snapshot_writer(Position(1));
    assert!(matches!(begun, Err(JournalError::DiskFull { .. })));
    disk.set_faults(Faults { sync: 1000, ..Faults::default() });
    let writer = journal.snapshot_writer(Position(1)).unwrap();
    assert!(matches!(writer.finish(), Err(JournalError::Io { .. })));
    disk.set_faults(Faults::default());
    append(&mut journal, 2).unwrap();
    assert_eq!(journal.close().unwrap(), Position(2));
}

#[test]
fn spares_of_another_size_are_not_taken_over() {
    let disk = SimDisk::new(10);
    let mut journal = open(&disk).unwrap().journal;
    while journal.step() {}
    drop(journal);
    let spare = |bytes: usize| {
        disk.files().iter().any(|file| file.0.starts_with("spare-") && file.1 == bytes)
    };
    assert!(spare(40 << 10));
    let larger = Options { segment_bytes: 80 << 10, ..options() };
    let mut journal = Journal::open(Arc::new(disk.clone()), larger).unwrap().journal;
    assert!(!spare(40 << 10), "it would fill up too early");
    while journal.step() {}
    assert!(spare(80 << 10));
}

#[test]
fn steady_work_with_snapshots_reuses_files() {
    let disk = SimDisk::new(9);
    let mut journal = open(&disk).unwrap().journal;
    for n in 1..=200_u64 {
        append(&mut journal, n as u8).unwrap();
        commit(&mut journal);
        if n % 20 == 0 {
            let mut writer = journal.snapshot_writer(Position(n)).unwrap();
            writer.write_all(&[1; 100]).unwrap();
            writer.finish().unwrap();
        }
    }
    let recycled = disk
        .trace()
        .iter()
        .filter(|line| line.starts_with("rename segment-") && line.contains("to spare-"))
        .count();
    assert!(recycled >= 3, "{recycled} segments were reused");
    assert!(disk.files().len() < 10);
    journal.close().unwrap();
    assert_eq!(open(&disk).unwrap().journal.durable(), Position(200));
}
