//! Who reads beside a journal that goes on: what is trimmed, written or begun meanwhile is not damaged.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use orrery_journal::sim::SimDisk;
use orrery_journal::{
    Damage, Disk, DiskFile, Epoch, Journal, JournalError, Lock, Options, Position, Record, scrub,
    scrub_running,
};

/// What a record of [`append`] takes in a segment.
const FRAME_BYTES: usize = 56 + 4000;

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

/// Another process's view of a disk, on which something happens within one of its calls; files are
/// read a page at a time, so that a file may change while it is read.
#[derive(Clone)]
struct Watched {
    disk: SimDisk,
    /// How many calls pass before it happens.
    left: Arc<Mutex<usize>>,
    meanwhile: Meanwhile,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Box<dyn DiskFile>,
    disk: Watched,
}

impl Watched {
    fn call(&self) {
        let mut left = self.left.lock().unwrap();
        if *left > 0 {
            *left -= 1;
        } else if let Some(meanwhile) = self.meanwhile.lock().unwrap().take() {
            meanwhile();
        }
    }

    fn has_happened(&self) -> bool {
        self.meanwhile.lock().unwrap().is_none()
    }
}

impl Disk for Watched {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        panic!("who reads beside a journal takes no lock")
    }
    fn list(&self) -> io::Result<Vec<String>> {
        let names = self.disk.list();
        self.call();
        names
    }
    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        panic!("who reads beside a journal writes nothing")
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let (file, disk) = (self.disk.open(name)?, self.clone());
        self.call();
        Ok(Box::new(WatchedFile { file, disk }))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        panic!("who reads beside a journal renames nothing")
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        panic!("who reads beside a journal removes nothing")
    }
    fn sync_dir(&self) -> io::Result<()> {
        panic!("who reads beside a journal syncs nothing")
    }
    fn nonce(&self) -> u64 {
        0
    }
}

impl DiskFile for WatchedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.call();
        let page = into.len().min(4096);
        self.file.read_at(&mut into[..page], offset)
    }
    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        panic!("who reads beside a journal writes nothing")
    }
    fn sync(&self) -> io::Result<()> {
        panic!("who reads beside a journal syncs nothing")
    }
}

/// What a journal may do while another process reads its folder.
#[derive(Clone, Copy, Debug)]
enum Doing {
    Appends,
    BeginsSegments,
    TrimsAndUsesAgain,
    RaisesItsEpoch,
}

impl Doing {
    const ALL: [Self; 4] =
        [Self::Appends, Self::BeginsSegments, Self::TrimsAndUsesAgain, Self::RaisesItsEpoch];

    fn run(self, journal: &mut Journal) {
        match self {
            Self::Appends => append(journal, 2),
            Self::BeginsSegments => append(journal, 12),
            Self::TrimsAndUsesAgain => {
                journal.snapshot_writer(journal.durable()).unwrap().finish().unwrap();
                append(journal, 14);
            }
            Self::RaisesItsEpoch => {
                journal.raise_epoch(Epoch(journal.epoch().0 + 1)).unwrap();
                append(journal, 1);
            }
        }
    }
}

type Scrub = fn(&Watched) -> Result<Vec<Damage>, JournalError>;

/// Scrubs from outside while `doing` happens within each call in turn; gives what was found each time.
/// With `damaged`, that record is.
fn scrub_meanwhile(doing: Doing, damaged: Option<u64>, scrub: Scrub) -> Vec<Vec<Damage>> {
    let mut found = Vec::new();
    for left in 0.. {
        let disk = SimDisk::new(0);
        let options = Options { segment_bytes: 32 << 10, threaded: false, ..Options::default() };
        let mut journal = Journal::open(Arc::new(disk.clone()), options).unwrap().journal;
        append(&mut journal, 6);
        journal.snapshot_writer(Position(4)).unwrap().finish().unwrap();
        append(&mut journal, 5);
        if let Some(position) = damaged {
            let (segment, first) = segment_of(&disk, position);
            disk.flip_bit(&segment, (4096 + (position - first) as usize * FRAME_BYTES + 70) * 8);
        }
        let meanwhile: Box<dyn FnOnce() + Send> = Box::new(move || {
            doing.run(&mut journal);
            // It goes on: nothing is closed or let go of.
            std::mem::forget(journal);
        });
        let meanwhile = Arc::new(Mutex::new(Some(meanwhile)));
        let watched = Watched { disk, left: Arc::new(Mutex::new(left)), meanwhile };
        found.push(scrub(&watched).unwrap());
        if !watched.has_happened() {
            return found;
        }
    }
    unreachable!("a scrub makes a finite number of calls")
}

/// The segment that holds a record, and its first position.
fn segment_of(disk: &SimDisk, position: u64) -> (String, u64) {
    let first = |name: &str| name.strip_prefix("segment-").map(|digits| digits.parse().unwrap());
    let firsts = disk.files().into_iter().filter_map(|(name, _)| first(&name));
    let first: u64 = firsts.filter(|first| *first <= position).max().unwrap();
    (format!("segment-{first:020}"), first)
}

fn scrub_outside(disk: &Watched) -> Result<Vec<Damage>, JournalError> {
    scrub_running(disk, &mut |_, _| {}, &mut || {})
}

#[test]
fn a_scrub_from_another_process_raises_no_false_alarm_whatever_happens_meanwhile() {
    for doing in Doing::ALL {
        let found = scrub_meanwhile(doing, None, scrub_outside);
        assert!(found.len() > 10, "{doing:?}: {} moments", found.len());
        for (moment, damages) in found.iter().enumerate() {
            assert_eq!(*damages, [], "{doing:?} within call {moment}");
        }
    }
    // One look would not do.
    let one_look: Scrub = |disk| scrub(disk);
    let alarms = Doing::ALL.map(|doing| {
        scrub_meanwhile(doing, None, one_look).iter().filter(|damages| !damages.is_empty()).count()
    });
    assert!(alarms.iter().filter(|count| **count > 0).count() >= 3, "{alarms:?}");
}

#[test]
fn a_scrub_from_another_process_finds_damage_whatever_happens_meanwhile() {
    let all = [Doing::Appends, Doing::BeginsSegments, Doing::RaisesItsEpoch];
    // In a sealed segment, and in the one being written.
    for (doing, position) in all.into_iter().flat_map(|doing| [(doing, 2), (doing, 9)]) {
        let found = scrub_meanwhile(doing, Some(position), scrub_outside);
        for (moment, damages) in found.iter().enumerate() {
            let [damage] = &damages[..] else { panic!("{doing:?} within {moment}: {damages:?}") };
            assert_eq!(
                damage.position,
                Position(position),
                "{doing:?} within {moment}: {damage:?}"
            );
        }
    }
}
