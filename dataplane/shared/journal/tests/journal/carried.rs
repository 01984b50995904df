//! Processes with folders of their own and one carrier: they take over from each other, lose power in
//! the middle, wake up late, and nothing that any of them acknowledged is ever missing.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orrery_journal::carrier::{MemoryCarrier, Trouble};
use orrery_journal::sim::{Random, SimDisk};
use orrery_journal::{
    Carrier, CarrierError, CopyWriter, Disk, Epoch, Group, Journal, JournalError, Opened, Options,
    Owner, Position, RealDisk, Record, Recovery,
};

const SHARD: u32 = 3;
const MEMBERS: usize = 3;
const RUNS: u64 = 300;
const STEPS: u64 = 400;
/// Calls in 1,000 whose request or answer is lost.
const LOST: u64 = 150;

fn options() -> Options {
    Options {
        shard: SHARD,
        segment_bytes: 8 << 10,
        queue_bytes_max: 8 << 10,
        threaded: false,
        ..Options::default()
    }
}

/// What a machine has made of the records: one value each.
type State = Vec<u64>;

fn value_of(body: &[u8]) -> u64 {
    u64::from_le_bytes(body[..8].try_into().expect("eight bytes"))
}

fn restored(recovery: &mut Recovery) -> Result<State, JournalError> {
    let mut state = State::new();
    if let Some(mut snapshot) = recovery.snapshot()? {
        let mut bytes = vec![];
        snapshot.read_to_end(&mut bytes).expect("verified when it was opened");
        state.extend(bytes.chunks(8).map(value_of));
        assert_eq!(recovery.snapshot_position().0, state.len() as u64);
    }
    while let Some(entry) = recovery.next_record()? {
        state.push(value_of(entry.body));
        assert_eq!(entry.position.0, state.len() as u64);
    }
    Ok(state)
}

/// Makes an empty folder into one that begins with the carrier's newest snapshot; gives its position.
fn fill(disk: &Arc<dyn Disk>, options: &Options, carrier: &MemoryCarrier) -> Position {
    let Some(saved) = carrier.look().expect("it answers").snapshot else { return Position(0) };
    let begun = CopyWriter::begin(Arc::clone(disk), options.clone(), saved.at, saved.epoch);
    let mut to = begun.expect("it is empty");
    let mut from = carrier.load(saved.at).expect("it is there");
    let copied = std::io::copy(&mut from, &mut to).expect("there is room");
    assert_eq!(copied, saved.bytes);
    to.finish().expect("there is room");
    saved.at
}

struct Process {
    journal: Journal,
    state: State,
}

struct Run {
    random: Random,
    carrier: MemoryCarrier,
    disks: Vec<SimDisk>,
    processes: Vec<Option<Process>>,
    epoch: u64,
    acknowledged: BTreeMap<u64, u64>,
    next_value: u64,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    take_overs: u64,
    fenced: u64,
    remade: u64,
    snapshots: u64,
    acknowledged: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let carrier = MemoryCarrier::new(SHARD);
        carrier.set_chances(seed, LOST);
        Self {
            random: Random::new(seed ^ 0x5bd1_e995),
            carrier,
            disks: (0..MEMBERS as u64).map(|member| SimDisk::new(seed * 7 + member)).collect(),
            processes: (0..MEMBERS).map(|_| None).collect(),
            epoch: 0,
            acknowledged: BTreeMap::new(),
            next_value: 0,
            figures: Figures::default(),
        }
    }

    fn start(&mut self, member: usize) {
        let opened = self.open(member).unwrap_or_else(|| {
            // Its folder is only a copy: it is made again.
            self.figures.remade += 1;
            self.disks[member] = SimDisk::new(self.random.next());
            let disk: Arc<dyn Disk> = Arc::new(self.disks[member].clone());
            let lock = disk.lock().expect("it is new");
            fill(&disk, &options(), &self.carrier);
            drop(lock);
            self.open(member).expect("a new folder opens")
        });
        self.check(&opened.state);
        self.processes[member] = Some(opened);
    }

    fn open(&self, member: usize) -> Option<Process> {
        let disk = Arc::new(self.disks[member].clone());
        let carrier = Arc::new(self.carrier.clone());
        let restore = |Opened { journal, mut recovery }| {
            let state = restored(&mut recovery)?;
            Ok(Process { journal, state })
        };
        match Journal::open_carried(disk, options(), carrier).and_then(restore) {
            Ok(process) => Some(process),
            Err(JournalError::Corrupt { .. }) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Nothing differs from what was acknowledged.
    fn check(&self, state: &State) {
        for (position, value) in self.acknowledged.range(..=state.len() as u64) {
            assert_eq!(state[*position as usize - 1], *value, "at {position}");
        }
    }

    /// Takes what is carried and not here. False if it was trimmed.
    fn catch_up(&mut self, member: usize) -> bool {
        let Some(Process { journal, state }) = &mut self.processes[member] else { return false };
        loop {
            let groups = match self.carrier.read(journal.last(), 1000) {
                Ok(groups) => groups,
                Err(CarrierError::Trimmed { .. }) => return false,
                Err(error) => panic!("{error:?}"),
            };
            if groups.is_empty() {
                break;
            }
            for entry in groups.iter().flat_map(Group::entries) {
                let entry = entry.expect("intact");
                if entry.position <= journal.last() {
                    continue;
                }
                if entry.epoch > journal.epoch() {
                    journal.raise_epoch(entry.epoch).expect("the disk works");
                }
                let body = entry.body;
                let record = Record { stream: 0, kind: 0, time_us: 0, body };
                journal.append_under(entry.epoch, record).expect("it is taken");
                state.push(value_of(body));
                journal.flush();
                while journal.step() {}
            }
        }
        true
    }

    fn take_over(&mut self, member: usize) {
        self.stop_owning(member);
        if self.processes[member].is_none() {
            return;
        }
        self.epoch += 1;
        let owner = Owner { epoch: Epoch(self.epoch), token: self.random.next() };
        let carried = loop {
            match self.carrier.take_over(owner) {
                Ok(carried) => break carried,
                Err(error) => assert!(error.is_passing(), "{error:?}"),
            }
        };
        if !self.catch_up(member) {
            // Too far behind: begins again, and somebody asks it again then.
            self.processes[member] = None;
            self.disks[member] = SimDisk::new(self.random.next());
            let disk: Arc<dyn Disk> = Arc::new(self.disks[member].clone());
            fill(&disk, &options(), &self.carrier);
            self.start(member);
            assert!(self.catch_up(member), "the snapshot is new enough");
        }
        let process = self.processes[member].as_mut().expect("it runs");
        assert_eq!(process.journal.last(), carried.last);
        process.journal.own(owner).expect("everything is here");
        self.figures.take_overs += 1;
        let state = process.state.clone();
        self.check(&state);
        let reached = self.acknowledged.keys().next_back().copied().unwrap_or(0);
        assert!(state.len() as u64 >= reached, "{} of {reached}", state.len());
    }

    /// An owner that becomes a follower ends first: what it has under way nobody knows.
    fn stop_owning(&mut self, member: usize) {
        if self.processes[member].as_ref().is_some_and(|process| process.journal.owner().is_some())
        {
            self.end(member);
            self.start(member);
        }
    }

    fn write(&mut self, member: usize) {
        let Some(Process { journal, state }) = &mut self.processes[member] else { return };
        if journal.owner().is_none() {
            return;
        }
        for _ in 0..=self.random.below(4) {
            let mut body = vec![0; 8 + self.random.below(200) as usize];
            body[..8].copy_from_slice(&self.next_value.to_le_bytes());
            let record = Record { stream: 0, kind: 0, time_us: 0, body: &body };
            match journal.append(record) {
                Ok(position) => {
                    state.push(self.next_value);
                    assert_eq!(position.0, state.len() as u64);
                    self.next_value += 1;
                }
                Err(JournalError::QueueFull { .. } | JournalError::Failed { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        journal.flush();
    }

    fn step(&mut self, member: usize) {
        let Some(Process { journal, state }) = &mut self.processes[member] else { return };
        let before = journal.durable().0;
        journal.step();
        let is_owner = journal.owner().is_some();
        for position in (before + 1..=journal.durable().0).filter(|_| is_owner) {
            let value = state[position as usize - 1];
            let twice = self.acknowledged.insert(position, value);
            assert_eq!(twice, None, "position {position} was acknowledged twice");
            self.figures.acknowledged += 1;
        }
        if let Some(error) = journal.failed() {
            assert!(matches!(error, JournalError::Fenced { .. }), "{error:?}");
            self.figures.fenced += 1;
            self.end(member);
        }
    }

    fn snapshot(&mut self, member: usize) {
        let Some(Process { journal, state }) = &mut self.processes[member] else { return };
        let at = journal.durable();
        if at.0 == 0 || journal.last() != at {
            return;
        }
        // It would wait for a carrier that does not answer.
        self.carrier.set_chances(0, 0);
        let mut writer = journal.snapshot_writer(at).expect("none is under way");
        for value in state.iter() {
            writer.write_all(&value.to_le_bytes()).expect("there is room");
        }
        match writer.finish() {
            Ok(_) => self.figures.snapshots += 1,
            Err(JournalError::Carrier(CarrierError::Fenced { .. })) => {}
            Err(error) => panic!("{error:?}"),
        }
        self.carrier.set_chances(self.random.next(), LOST);
    }

    fn end(&mut self, member: usize) {
        self.processes[member] = None;
        if self.random.chance(1, 2) {
            self.disks[member].lose_power();
        } else {
            self.disks[member].restart();
        }
    }

    fn run(mut self) -> Figures {
        for _ in 0..STEPS {
            let member = self.random.below(MEMBERS as u64) as usize;
            match self.random.below(40) {
                0..3 if self.processes[member].is_none() => self.start(member),
                3..5 => self.take_over(member),
                5 => self.end(member),
                6 => self.snapshot(member),
                7..10 => {
                    let is_owner = self.processes[member]
                        .as_ref()
                        .is_some_and(|p| p.journal.owner().is_some());
                    if !is_owner && !self.catch_up(member) {
                        self.processes[member] = None;
                    }
                }
                10..25 => self.write(member),
                _ => self.step(member),
            }
        }
        for member in 0..MEMBERS {
            if self.processes[member].is_none() {
                self.start(member);
            }
            self.take_over(member);
        }
        self.figures
    }
}

#[test]
fn nothing_acknowledged_is_missing_whoever_takes_over() {
    let mut total = Figures::default();
    for seed in 0..RUNS {
        struct Told(u64);
        impl Drop for Told {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("this was seed {}", self.0);
                }
            }
        }
        let _told = Told(seed);
        let figures = Run::new(seed).run();
        total.take_overs += figures.take_overs;
        total.fenced += figures.fenced;
        total.remade += figures.remade;
        total.snapshots += figures.snapshots;
        total.acknowledged += figures.acknowledged;
    }
    println!("{RUNS} runs: {total:?}");
    assert!(total.take_overs > 5 * RUNS && total.acknowledged > 20 * RUNS);
    assert!(total.fenced > RUNS / 4 && total.snapshots > RUNS / 4 && total.remade > RUNS / 10);
}

fn opened(folder: &std::path::Path, carrier: &MemoryCarrier) -> Journal {
    let disk = RealDisk::new(folder).expect("a folder");
    let options = Options { shard: SHARD, ..Options::default() };
    Journal::open_carried(Arc::new(disk), options, Arc::new(carrier.clone())).expect("new").journal
}

fn own(journal: &mut Journal, carrier: &MemoryCarrier, epoch: u64) -> Owner {
    let owner = Owner { epoch: Epoch(epoch), token: epoch };
    carrier.take_over(owner).expect("it is free");
    journal.own(owner).expect("nothing is missing");
    owner
}

fn put(journal: &mut Journal, body: &[u8]) -> Position {
    let record = Record { stream: 0, kind: 0, time_us: 0, body };
    let position = journal.append(record).expect("it is taken");
    journal.flush();
    position
}

#[test]
fn a_carrier_that_is_away_holds_records_and_has_them_once_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let carrier = MemoryCarrier::new(SHARD);
    let mut journal = opened(folder.path(), &carrier);
    own(&mut journal, &carrier, 1);
    carrier.set_chances(1, 1000);
    let position = put(&mut journal, b"waits");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !journal.is_away() {
        assert!(Instant::now() < deadline, "nobody says that it is away");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(journal.durable(), Position(0));
    let refused = journal.own(Owner { epoch: Epoch(2), token: 2 });
    assert!(matches!(refused, Err(JournalError::Unsettled { .. })), "{refused:?}");
    carrier.set_chances(1, 0);
    journal.wait_durable_until(position, deadline).expect("it is carried");
    assert!(!journal.is_away() && journal.failed().is_none());
    assert_eq!(carrier.look().expect("it answers").last, position);
}

#[test]
fn a_stale_owner_is_told_and_acknowledges_nothing() {
    let folders = [tempfile::tempdir(), tempfile::tempdir()].map(|folder| folder.expect("one"));
    let carrier = MemoryCarrier::new(SHARD);
    let [mut old, mut new] = folders.each_ref().map(|folder| opened(folder.path(), &carrier));
    own(&mut old, &carrier, 1);
    own(&mut new, &carrier, 2);
    let position = put(&mut old, b"stale");
    let fate = old.wait_durable_until(position, Instant::now() + Duration::from_mins(1));
    assert!(matches!(fate, Err(JournalError::Unknown { .. })), "{fate:?}");
    assert!(matches!(old.failed(), Some(JournalError::Fenced { held: Epoch(2), .. })));
    let position = put(&mut new, b"newer");
    new.wait_durable_until(position, Instant::now() + Duration::from_mins(1)).expect("taken");
    let groups = carrier.read(Position(0), 1).expect("one");
    assert_eq!((groups.len(), groups[0].epoch()), (1, Epoch(2)));
    drop(old);
    let again = opened(folders[0].path(), &carrier);
    assert_eq!(again.last(), Position(0), "what was not carried is not here either");
}

#[test]
fn an_owner_appends_under_its_own_epoch_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let carrier = MemoryCarrier::new(SHARD);
    let mut journal = opened(folder.path(), &carrier);
    own(&mut journal, &carrier, 3);
    let record = Record { stream: 0, kind: 0, time_us: 0, body: b"of another leader" };
    let refused = journal.append_under(Epoch(2), record);
    assert!(matches!(refused, Err(JournalError::Fenced { .. })), "{refused:?}");
    journal.append_under(Epoch(3), record).expect("its own");
}

#[test]
fn snapshots_are_carried_and_a_folder_is_made_from_them() {
    let folders = [tempfile::tempdir(), tempfile::tempdir()].map(|folder| folder.expect("one"));
    let carrier = MemoryCarrier::new(SHARD);
    let mut journal = opened(folders[0].path(), &carrier);
    let owner = own(&mut journal, &carrier, 1);
    for body in [b"one".as_slice(), b"two", b"three"] {
        let position = put(&mut journal, body);
        let deadline = Instant::now() + Duration::from_mins(1);
        journal.wait_durable_until(position, deadline).expect("it is carried");
    }
    let content = vec![9; 700_000];
    let mut writer = journal.snapshot_writer(Position(2)).expect("none is under way");
    writer.write_all(&content).expect("there is room");
    // One request and one answer are lost.
    carrier.plan([Trouble::Refused, Trouble::Unanswered]);
    writer.finish().expect("it is carried after all");
    let found = carrier.look().expect("it answers");
    assert_eq!(found.oldest, Position(3), "what it makes superfluous is gone");
    let saved = found.snapshot.expect("it is there");
    assert_eq!((saved.at, saved.bytes), (Position(2), content.len() as u64));

    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folders[1].path()).expect("a folder"));
    let options = Options { shard: SHARD, ..Options::default() };
    assert_eq!(fill(&disk, &options, &carrier), Position(2));
    let opened = Journal::open_carried(disk, options, Arc::new(carrier.clone())).expect("it opens");
    let Opened { journal: copy, recovery } = opened;
    let mut read = vec![];
    recovery.snapshot().expect("one").expect("one").read_to_end(&mut read).expect("intact");
    assert!(read == content);
    assert_eq!((copy.last(), copy.owner()), (Position(2), None));
    assert_eq!(journal.owner(), Some(owner));
}
