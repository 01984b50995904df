//! Who reads beside a journal that goes on: what is trimmed meanwhile is not damaged.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use orrery_journal::sim::SimDisk;
use orrery_journal::{Disk, DiskFile, Journal, JournalError, Lock, Options, Position, Record};

type Meanwhile = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A disk on which something happens between the opening of a file and the reading of it.
#[derive(Clone)]
struct Busy {
    disk: SimDisk,
    meanwhile: Meanwhile,
}

impl fmt::Debug for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

#[derive(Debug)]
struct BusyFile {
    file: Box<dyn DiskFile>,
    disk: Busy,
}

impl Disk for Busy {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        self.disk.lock()
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let (file, disk) = (self.disk.open(name)?, self.clone());
        Ok(Box::new(BusyFile { file, disk }))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
    fn nonce(&self) -> u64 {
        self.disk.nonce()
    }
}

impl DiskFile for BusyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let meanwhile = self.disk.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        self.file.read_at(into, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

fn append(journal: &mut Journal, records: usize) {
    for _ in 0..records {
        journal.append(Record { stream: 0, kind: 0, time_us: 0, body: &[1; 4000] }).unwrap();
        journal.flush();
        while journal.step() {}
    }
}

#[test]
fn a_segment_that_is_trimmed_and_reused_while_it_is_scrubbed_is_no_damage() {
    let disk = SimDisk::new(0);
    let busy = Busy { disk: disk.clone(), meanwhile: Meanwhile::default() };
    let options = Options { segment_bytes: 16 << 10, threaded: false, ..Options::default() };
    let mut journal = Journal::open(Arc::new(busy.clone()), options).unwrap().journal;
    append(&mut journal, 10);
    let scrubber = journal.scrubber();
    assert_eq!(scrubber.run(), []);
    *busy.meanwhile.lock().unwrap() = Some(Box::new(move || {
        journal.snapshot_writer(journal.durable()).unwrap().finish().unwrap();
        append(&mut journal, 10);
        journal.close().unwrap();
    }));
    assert_eq!(scrubber.run(), []);
    assert!(disk.trace().iter().any(|line| line.contains("to spare-")), "one was reused");
}

#[test]
fn a_reader_whose_segment_is_trimmed_and_reused_is_told_that_it_is_behind() {
    let disk = SimDisk::new(0);
    let busy = Busy { disk: disk.clone(), meanwhile: Meanwhile::default() };
    let options = Options { segment_bytes: 16 << 10, threaded: false, ..Options::default() };
    let mut journal = Journal::open(Arc::new(busy.clone()), options).unwrap().journal;
    // More segments than are kept for a reader.
    append(&mut journal, 80);
    let mut tail = journal.feed().tail(Position(0)).unwrap();
    *busy.meanwhile.lock().unwrap() = Some(Box::new(move || {
        journal.snapshot_writer(journal.durable()).unwrap().finish().unwrap();
        append(&mut journal, 20);
    }));
    let read = tail.next(Instant::now());
    assert!(matches!(read, Err(JournalError::Trimmed { oldest, .. }) if oldest.0 > 1), "{read:?}");
    assert!(disk.trace().iter().any(|line| line.contains("to spare-")), "one was reused");
}
