//! The process under test: this test binary, told by the environment to keep a journal instead.
//!
//! Each of its threads appends numbered rounds and says on standard output which one is durable. The
//! state is the last round of each; a snapshot of it is made now and then. At its start it checks that
//! what the journal holds is every round of every thread, once and in order, and says how far.

use std::env;
use std::future::Future as _;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::pin::pin;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use orrery_journal::{
    Entry, Epoch, Journal, JournalError, Opened, Options, Position, RealDisk, Record, WaitDurable,
};

use crate::careless::{Care, Careless};

pub(crate) const FOLDER: &str = "ORRERY_CRASH_WRITER_FOLDER";
pub(crate) const CARE: &str = "ORRERY_CRASH_WRITER_CARE";
/// Size of a segment, of the largest body, and of the records between two snapshots.
pub(crate) const SIZES: &str = "ORRERY_CRASH_WRITER_SIZES";
pub(crate) const WRITERS: usize = 8;
/// It ended because the journal failed, as it must then.
pub(crate) const FAILED: i32 = 70;
/// What the journal holds is wrong.
pub(crate) const WRONG: i32 = 3;
/// The journal refused to open.
pub(crate) const REFUSED: i32 = 4;

/// The last round of each writer, after the record at `last`.
#[derive(Clone, Debug, Default)]
struct Machine {
    rounds: [u64; WRITERS],
    last: u64,
}

#[derive(Debug)]
struct Owner {
    journal: Journal,
    machine: Machine,
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    segment_bytes: u64,
    body_bytes: u64,
    snapshot_every: u64,
}

fn say(line: &str) {
    // One write call: a line is there whole or not at all.
    std::io::stdout().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

fn end(code: i32, why: &str) -> ! {
    say(&format!("ends {code} {why}"));
    process::exit(code)
}

/// Ends as a data plane would.
fn give_up(error: &JournalError) -> ! {
    match error {
        JournalError::Failed { .. }
        | JournalError::Unknown { .. }
        | JournalError::Io { .. }
        | JournalError::DiskFull { .. } => end(FAILED, &error.to_string()),
        _ => end(REFUSED, &error.to_string()),
    }
}

/// The body of a round: its number, and bytes that no other round has.
fn body(writer: usize, round: u64, body_bytes: u64) -> Vec<u8> {
    let length = (round * 7919 + writer as u64 * 104_729) % body_bytes;
    let mut body = round.to_le_bytes().to_vec();
    body.resize(8 + length as usize, (round * 31 + writer as u64) as u8);
    body
}

impl Machine {
    fn apply(&mut self, entry: &Entry<'_>, body_bytes: u64) -> Result<(), String> {
        let writer = entry.stream as usize;
        let round = self.rounds[writer] + 1;
        if entry.body != body(writer, round, body_bytes) {
            return Err(format!("{}: not round {round} of writer {writer}", entry.position));
        }
        self.rounds[writer] = round;
        self.last = entry.position.0;
        Ok(())
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = self.rounds.iter().chain([&self.last]);
        let mut bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
        // So that a snapshot may be torn in many places.
        bytes.resize(bytes.len() + (self.last % 50_000) as usize, self.last as u8);
        bytes
    }

    fn decode(bytes: &[u8]) -> Self {
        let number =
            |index: usize| u64::from_le_bytes(bytes[index * 8..index * 8 + 8].try_into().unwrap());
        Self { rounds: std::array::from_fn(number), last: number(WRITERS) }
    }
}

/// CPU that this thread has used: on a busy machine that says more than the clock does.
fn cpu_us() -> u64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    spent.split(' ').next().and_then(|spent_ns| spent_ns.parse().ok()).unwrap_or(0_u64) / 1000
}

/// Opens the journal and says what it holds.
fn recover(folder: &Path, care: Care, sizes: Sizes) -> Owner {
    let (begun, cpu_before_us) = (Instant::now(), cpu_us());
    let disk = Arc::new(RealDisk::new(folder).unwrap());
    let options = Options { segment_bytes: sizes.segment_bytes, ..Options::default() };
    let opened = Journal::open(Arc::new(Careless { disk, care }), options);
    let Opened { mut journal, mut recovery } = opened.unwrap_or_else(|error| give_up(&error));
    let mut machine = Machine::default();
    if let Some(mut snapshot) = recovery.snapshot().unwrap_or_else(|error| give_up(&error)) {
        let mut bytes = Vec::new();
        let read = snapshot.read_to_end(&mut bytes);
        read.unwrap_or_else(|error| end(WRONG, &format!("the snapshot: {error}")));
        machine = Machine::decode(&bytes);
        if bytes != machine.encode() || snapshot.position().0 != machine.last {
            end(WRONG, "the snapshot is not what was written");
        }
    }
    let mut tail_bytes = 0;
    while let Some(entry) = recovery.next_record().unwrap_or_else(|error| give_up(&error)) {
        tail_bytes += 56 + entry.body.len() as u64;
        machine.apply(&entry, sizes.body_bytes).unwrap_or_else(|why| end(WRONG, &why));
    }
    if Position(machine.last) != journal.durable() {
        end(WRONG, &format!("{} records, durable {}", machine.last, journal.durable()));
    }
    let rounds: Vec<String> = machine.rounds.iter().map(ToString::to_string).collect();
    let (spent_us, cpu_us) = (begun.elapsed().as_micros(), cpu_us() - cpu_before_us);
    say(&format!("recovered {spent_us} {cpu_us} {tail_bytes} {}", rounds.join(" ")));
    let epoch = Epoch(journal.epoch().0 + 1);
    journal.raise_epoch(epoch).unwrap_or_else(|error| give_up(&error));
    Owner { journal, machine }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on(wait: WaitDurable) -> Result<Position, JournalError> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut wait = pin!(wait);
    loop {
        match wait.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(reached) => return reached,
            Poll::Pending => thread::park(),
        }
    }
}

fn locked(owner: &Mutex<Owner>) -> MutexGuard<'_, Owner> {
    owner.lock().unwrap()
}

/// Appends the next round of a writer and gives what to wait for.
fn append(owner: &Mutex<Owner>, writer: usize, sizes: Sizes) -> (u64, WaitDurable) {
    loop {
        let mut owner = locked(owner);
        let round = owner.machine.rounds[writer] + 1;
        let body = body(writer, round, sizes.body_bytes);
        let record = Record { stream: writer as u32, kind: 0, time_us: 0, body: &body };
        match owner.journal.append(record) {
            Ok(position) => {
                owner.journal.flush();
                owner.machine.rounds[writer] = round;
                owner.machine.last = position.0;
                return (round, owner.journal.wait_durable(position));
            }
            Err(JournalError::DiskFull { .. } | JournalError::QueueFull { .. }) => {}
            Err(error) => give_up(&error),
        }
        drop(owner);
        thread::sleep(Duration::from_millis(1));
    }
}

/// Makes a snapshot of the state as it is. One that fails costs nothing.
fn snapshot(owner: &Mutex<Owner>) {
    let owner = locked(owner);
    let state = owner.machine.encode();
    let writer = owner.journal.snapshot_writer(Position(owner.machine.last));
    drop(owner);
    let Ok(mut writer) = writer else { return };
    if writer.write_all(&state).is_ok() {
        let _ = writer.finish();
    }
}

/// Not a test by itself: what the child runs until it ends.
#[test]
fn child() {
    let Ok(folder) = env::var(FOLDER) else { return };
    let care = Care::of(&env::var(CARE).unwrap());
    let sizes = env::var(SIZES).unwrap();
    let sizes: Vec<u64> = sizes.split(' ').map(|size| size.parse().unwrap()).collect();
    let [segment_bytes, body_bytes, snapshot_every] = sizes[..] else { panic!("three sizes") };
    let sizes = Sizes { segment_bytes, body_bytes, snapshot_every };
    let owner = Mutex::new(recover(Path::new(&folder), care, sizes));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let owner = &owner;
            scope.spawn(move || {
                loop {
                    let (round, wait) = append(owner, writer, sizes);
                    if care != Care::Early {
                        block_on(wait).unwrap_or_else(|error| give_up(&error));
                    }
                    say(&format!("acknowledged {writer} {round}"));
                    if writer == 0 && round % sizes.snapshot_every == 0 {
                        snapshot(owner);
                    }
                }
            });
        }
    });
}
