//! The journal with its threads, on a real folder.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use orrery_journal::sim::{Faults, SimDisk};
use orrery_journal::{
    Epoch, Journal, JournalError, Opened, Options, Position, RealDisk, Record, WaitDurable, scrub,
};

fn options() -> Options {
    Options { segment_bytes: 64 << 10, ..Options::default() }
}

fn open_with(folder: &Path, options: Options) -> Opened {
    Journal::open(Arc::new(RealDisk::new(folder).unwrap()), options).unwrap()
}

fn open(folder: &Path) -> Opened {
    open_with(folder, options())
}

fn record(body: &[u8]) -> Record<'_> {
    Record { stream: 7, kind: 3, time_us: -5, body }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

/// Polls a condition with a deadline.
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = soon();
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come to pass");
        std::thread::yield_now();
    }
}

#[test]
fn records_are_read_back_in_order_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut opened = open(folder.path());
    assert!(opened.recovery.next_record().unwrap().is_none());
    for n in 1..=500_u32 {
        let body = n.to_le_bytes().repeat(n as usize % 90);
        let position = opened.journal.append(record(&body)).unwrap();
        assert_eq!(position, Position(u64::from(n)));
        if n % 7 == 0 {
            opened.journal.flush();
        }
    }
    assert_eq!(opened.journal.close().unwrap(), Position(500));

    let mut opened = open(folder.path());
    assert_eq!(opened.journal.durable(), Position(500));
    for n in 1..=500_u32 {
        let entry = opened.recovery.next_record().unwrap().unwrap();
        assert_eq!(entry.position, Position(u64::from(n)));
        assert_eq!((entry.stream, entry.kind, entry.time_us), (7, 3, -5));
        assert_eq!(entry.body, n.to_le_bytes().repeat(n as usize % 90));
    }
    assert!(opened.recovery.next_record().unwrap().is_none());
    assert!(scrub(&RealDisk::new(folder.path()).unwrap()).unwrap().is_empty());
}

#[test]
fn what_was_flushed_survives_a_drop_without_close() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    journal.append(record(b"kept")).unwrap();
    journal.flush();
    journal.append(record(b"never handed over")).unwrap();
    drop(journal);
    assert_eq!(open(folder.path()).journal.durable(), Position(1));
}

#[test]
fn a_folder_in_use_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open(folder.path());
    let second = Journal::open(Arc::new(RealDisk::new(folder.path()).unwrap()), options());
    assert!(matches!(second, Err(JournalError::Locked)));
    drop(opened);
    open(folder.path());
}

#[test]
fn progress_is_told_and_a_blocking_wait_ends() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    journal.on_progress(Box::new(move || {
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    let position = journal.append(record(b"x")).unwrap();
    let passed = journal.wait_durable_until(position, Instant::now());
    assert!(matches!(passed, Err(JournalError::Deadline { .. })));
    journal.flush();
    assert_eq!(journal.wait_durable_until(position, soon()).unwrap(), position);
    until("progress", || calls.load(Ordering::SeqCst) > 0);
}

struct Flag(AtomicUsize);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_future_completes_when_its_position_is_durable() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let position = journal.append(record(b"x")).unwrap();
    let flag = Arc::new(Flag(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    let mut wait = pin!(journal.wait_durable(position));
    assert!(wait.as_mut().poll(&mut context).is_pending());
    journal.flush();
    until("the wake", || flag.0.load(Ordering::SeqCst) > 0);
    assert!(matches!(wait.poll(&mut context), Poll::Ready(Ok(reached)) if reached == position));
}

/// A future for a position, polled once, and how often it was woken since.
fn waiting(journal: &Journal, position: u64) -> (std::pin::Pin<Box<WaitDurable>>, Arc<Flag>) {
    let mut wait = Box::pin(journal.wait_durable(Position(position)));
    let flag = Arc::new(Flag(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&flag));
    assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    (wait, flag)
}

#[test]
fn futures_are_woken_by_their_own_position_and_by_a_failure() {
    let disk = SimDisk::new(0);
    let inline = Options { threaded: false, ..options() };
    let mut journal = Journal::open(Arc::new(disk.clone()), inline).unwrap().journal;
    let turn = |journal: &mut Journal| {
        journal.append(record(b"x")).unwrap();
        journal.flush();
        while journal.step() {}
    };
    let waits = [1, 2, 3].map(|position| waiting(&journal, position));
    let woken = || waits.each_ref().map(|(_, flag)| flag.0.load(Ordering::SeqCst));
    turn(&mut journal);
    assert_eq!(woken(), [1, 0, 0]);
    turn(&mut journal);
    assert_eq!(woken(), [1, 1, 0]);
    disk.set_faults(Faults { sync: 1000, ..Faults::default() });
    turn(&mut journal);
    assert_eq!(woken(), [1, 1, 1]);
    let fates = waits.map(|(mut wait, flag)| {
        let waker = Waker::from(flag);
        wait.as_mut().poll(&mut Context::from_waker(&waker))
    });
    assert!(matches!(fates[..2], [Poll::Ready(Ok(_)), Poll::Ready(Ok(_))]), "{fates:?}");
    assert!(matches!(fates[2], Poll::Ready(Err(JournalError::Unknown { .. }))), "{fates:?}");
}

#[test]
fn a_future_of_a_closed_journal_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let position = journal.append(record(b"never flushed")).unwrap();
    let mut wait = pin!(journal.wait_durable(position));
    drop(journal);
    let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Err(JournalError::Unknown { .. }))));
}

#[test]
fn a_full_queue_refuses_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let small = Options { queue_bytes_max: 1000, ..options() };
    let mut journal = open_with(folder.path(), small.clone()).journal;
    // Larger than the queue, and taken because nothing else waits.
    journal.append(record(&[1; 2000])).unwrap();
    let refused = journal.append(record(b"x"));
    assert!(matches!(refused, Err(JournalError::QueueFull { .. })));
    assert_eq!(journal.last(), Position(1));
    journal.flush();
    journal.wait_durable_until(Position(1), soon()).unwrap();
    assert_eq!(journal.append(record(b"y")).unwrap(), Position(2));
    journal.close().unwrap();
    let mut recovery = open_with(folder.path(), small).recovery;
    assert_eq!(recovery.next_record().unwrap().unwrap().body, [1; 2000]);
    assert_eq!(recovery.next_record().unwrap().unwrap().body, b"y");
}

#[test]
fn a_record_larger_than_a_segment_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let big: Vec<u8> = (0..3_000_000_u32).map(|n| (n * 31) as u8).collect();
    journal.append(record(b"before")).unwrap();
    journal.flush();
    journal.append(record(&big)).unwrap();
    journal.flush();
    journal.append(record(b"after")).unwrap();
    journal.close().unwrap();
    let mut recovery = open(folder.path()).recovery;
    assert_eq!(recovery.next_record().unwrap().unwrap().body, b"before");
    assert_eq!(recovery.next_record().unwrap().unwrap().body, big);
    assert_eq!(recovery.next_record().unwrap().unwrap().body, b"after");
}

#[test]
fn a_record_above_one_gibibyte_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    let huge = vec![0; (1 << 30) + 1];
    let refused = journal.append(record(&huge));
    assert!(matches!(refused, Err(JournalError::TooLarge { bytes }) if bytes == (1 << 30) + 1));
    assert_eq!(journal.next_position(), Position(1));
}

#[test]
fn a_lower_epoch_is_fenced_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    journal.raise_epoch(Epoch(5)).unwrap();
    journal.raise_epoch(Epoch(5)).unwrap();
    journal.append(record(b"x")).unwrap();
    journal.close().unwrap();
    let mut opened = open(folder.path());
    assert_eq!(opened.journal.epoch(), Epoch(5));
    let refused = opened.journal.raise_epoch(Epoch(4));
    assert!(matches!(refused, Err(JournalError::Fenced { held: Epoch(5), asked: Epoch(4) })));
    assert_eq!(opened.recovery.next_record().unwrap().unwrap().epoch, Epoch(5));
}

#[test]
fn another_shard_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let disk = Arc::new(RealDisk::new(folder.path()).unwrap());
    let refused = Journal::open(disk, Options { shard: 9, ..options() });
    assert!(matches!(refused, Err(JournalError::WrongShard { found: 0, expected: 9, .. })));
}

#[test]
fn a_snapshot_replaces_what_came_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    for n in 0..400_u32 {
        journal.append(record(&[n as u8; 1000])).unwrap();
        journal.flush();
    }
    journal.wait_durable_until(Position(400), soon()).unwrap();
    let state: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    let mut writer = journal.snapshot_writer(Position(390)).unwrap();
    assert!(matches!(journal.snapshot_writer(Position(391)), Err(JournalError::SnapshotBusy)));
    writer.write_all(&state).unwrap();
    writer.finish().unwrap();
    assert!(journal.scrubber().run().is_empty());
    journal.close().unwrap();

    let segments = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| {
            entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("segment-")
        })
        .count();
    assert!(segments <= 2, "{segments} segments are left");
    let mut opened = open(folder.path());
    let mut read = Vec::new();
    opened.recovery.snapshot().unwrap().unwrap().read_to_end(&mut read).unwrap();
    assert_eq!(read, state);
    for n in 391..=400 {
        assert_eq!(opened.recovery.next_record().unwrap().unwrap().position, Position(n));
    }
    assert!(opened.recovery.next_record().unwrap().is_none());
}

#[test]
fn an_abandoned_snapshot_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = open(folder.path()).journal;
    journal.append(record(b"x")).unwrap();
    let mut writer = journal.snapshot_writer(Position(1)).unwrap();
    writer.write_all(b"half").unwrap();
    drop(writer);
    journal.close().unwrap();
    let opened = open(folder.path());
    assert!(opened.recovery.snapshot().unwrap().is_none());
    assert_eq!(opened.journal.durable(), Position(1));
}
