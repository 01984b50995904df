//! Many lives of a journal on a disk that fails, checked against what was acknowledged.
//!
//! `ORRERY_SIM_RUNS` raises the number of seeds; `ORRERY_SIM_SEED` runs one seed and shows its
//! trace.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use orrery_journal::sim::{Faults, Random, SimDisk};
use orrery_journal::{
    Damage, Epoch, Journal, JournalError, Opened, Options, Position, Record, Recovery, scrub,
};

use crate::evidence;
use crate::oracle::{Oracle, chained};

/// Seeds run by a plain `cargo test`.
const RUNS: u64 = 2000;
/// Lives of a journal in one run.
const LIVES: u64 = 6;
/// Flipped bits tried on copies of the disk between two lives.
const FLIPS: u64 = 4;

struct Run {
    seed: u64,
    random: Random,
    disk: SimDisk,
    options: Options,
    /// All bodies have this length, so that what was forgotten fits where it must not return.
    body_bytes: Option<usize>,
    /// Snapshots sync the folder and hide what was forgotten to be synced: not every run has them.
    snapshots: bool,
    /// Whether writes may go astray.
    strays: bool,
    oracle: Oracle,
    figures: Figures,
}

/// What a run met, so that a test can tell that it met something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) acknowledged: u64,
    pub(crate) crashes: u64,
    pub(crate) poisoned: u64,
    pub(crate) full: u64,
    pub(crate) snapshots: u64,
    pub(crate) shortened: u64,
    pub(crate) damages_refused: u64,
    pub(crate) damages_survived: u64,
    /// Processes that died while opening, and those whose successor died while opening as well.
    pub(crate) openings_died: u64,
    pub(crate) openings_died_again: u64,
    /// What became of journals whose disk led a write astray.
    pub(crate) strays_harmless: u64,
    pub(crate) strays_refused: u64,
    /// The last group was lost, and nothing can tell.
    pub(crate) strays_blind: u64,
    /// So were groups before it, because the stray hit all that came behind as well.
    pub(crate) strays_blind_wide: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.crashes += other.crashes;
        self.poisoned += other.poisoned;
        self.full += other.full;
        self.snapshots += other.snapshots;
        self.shortened += other.shortened;
        self.damages_refused += other.damages_refused;
        self.damages_survived += other.damages_survived;
        self.openings_died += other.openings_died;
        self.openings_died_again += other.openings_died_again;
        self.strays_harmless += other.strays_harmless;
        self.strays_refused += other.strays_refused;
        self.strays_blind += other.strays_blind;
        self.strays_blind_wide += other.strays_blind_wide;
    }
}

fn options(random: &mut Random) -> Options {
    Options {
        shard: 1,
        segment_bytes: [8 << 10, 12 << 10, 32 << 10][random.below(3) as usize],
        queue_bytes_max: 12 << 10,
        preallocate: random.chance(4, 5),
        snapshots_kept: 1 + random.below(2) as usize,
        threaded: false,
    }
}

/// Reads everything an opened journal holds; gives the last position and the state there.
fn replay(recovery: &mut Recovery) -> Result<(u64, u64), JournalError> {
    let mut state = 0;
    let mut at = 0;
    if let Some(mut reader) = recovery.snapshot()? {
        at = reader.position().0;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|source| JournalError::Io {
            action: "read",
            file: "the snapshot".to_owned(),
            source: source.into(),
        })?;
        state = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(recovery.snapshot_position(), Position(at));
    }
    while let Some(entry) = recovery.next_record()? {
        assert_eq!(entry.position, Position(at + 1), "positions have no gap");
        at += 1;
        state = chained(state, entry.stream, entry.kind, entry.time_us, entry.body);
    }
    assert_eq!(recovery.last_position(), Position(at));
    Ok((at, state))
}

fn check_refusal(journal: &Journal, error: &JournalError) {
    match error {
        JournalError::QueueFull { .. } => assert!(journal.waiting_bytes() > 0),
        JournalError::DiskFull { .. } => assert!(journal.is_full()),
        JournalError::Failed { .. } => assert!(journal.failed().is_some()),
        other => panic!("append answered {other:?}"),
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x6a09_e667_f3bc_c908);
        let options = options(&mut random);
        let disk = SimDisk::new(seed);
        let oracle = Oracle::new(seed);
        // Some lengths make frames that end with a sector or a page.
        let fixed = [8 * random.below(60) as usize, 456, 968, 4040][random.below(4) as usize];
        let body_bytes = random.chance(1, 2).then_some(fixed);
        let snapshots = random.chance(2, 3);
        let strays = random.chance(1, 4);
        let figures = Figures::default();
        Self { seed, random, disk, options, body_bytes, snapshots, strays, oracle, figures }
    }

    fn faults(&mut self) -> Faults {
        let random = &mut self.random;
        let mut faults = Faults::default();
        match random.below(6) {
            0 => faults.sync = 30,
            1 => faults.write = 30,
            2 => faults.full = 60,
            3 => faults.folder = 40,
            4 => faults.room_bytes = Some(20_000 + random.below(60_000)),
            _ => {}
        }
        if self.strays && random.chance(1, 2) {
            faults.astray = 30;
        }
        if random.chance(2, 3) {
            faults.dies_after = Some(random.below(250));
        }
        faults
    }

    fn open(&self, disk: &SimDisk) -> Result<(Journal, u64, u64), JournalError> {
        let Opened { journal, mut recovery } =
            Journal::open(Arc::new(disk.clone()), self.options.clone())?;
        let (last, state) = replay(&mut recovery)?;
        assert_eq!(journal.durable(), Position(last));
        assert_eq!(journal.next_position(), Position(last + 1));
        Ok((journal, last, state))
    }

    /// Opens, at first with faults, and perhaps again and again; without them it must succeed.
    /// `None` if a stray write ended the journal.
    fn open_somehow(&mut self) -> Option<Journal> {
        let mut died = 0;
        while self.random.chance(1, 2) {
            let mut faults = self.faults();
            faults.read = self.random.below(100);
            faults.short = [0, 200][self.random.below(2) as usize];
            faults.dies_after = faults.dies_after.map(|after| after % 40);
            self.disk.set_faults(faults);
            let proven = evidence::proven(&self.disk);
            match self.open(&self.disk) {
                Err(JournalError::Io { .. } | JournalError::DiskFull { .. }) => {}
                opened => return self.judge(opened, proven),
            }
            if self.disk.is_dead() {
                died += 1;
                self.figures.openings_died += u64::from(died == 1);
                self.figures.openings_died_again += u64::from(died == 2);
            }
            self.end_process();
        }
        self.disk.set_faults(Faults { short: 100, ..Faults::default() });
        let proven = evidence::proven(&self.disk);
        let opened = self.open(&self.disk);
        self.judge(opened, proven)
    }

    /// Whether what opening gave is right, of a folder that proves records up to `proven`.
    fn judge(
        &mut self,
        opened: Result<(Journal, u64, u64), JournalError>,
        proven: u64,
    ) -> Option<Journal> {
        let is_astray = self.disk.astray() > 0;
        match opened {
            Ok((journal, last, state)) if is_astray => {
                let epoch = journal.epoch();
                match self.oracle.recovered_astray((last, state), epoch, proven) {
                    0 => {
                        self.figures.strays_harmless += 1;
                        return Some(journal);
                    }
                    1 => self.figures.strays_blind += 1,
                    _ => self.figures.strays_blind_wide += 1,
                }
                None
            }
            Ok((journal, last, state)) => {
                self.oracle.recovered(last, state, journal.epoch());
                Some(journal)
            }
            Err(error @ JournalError::Corrupt { .. }) if is_astray => {
                self.disk.restart();
                self.figures.strays_refused += 1;
                if scrub(&self.disk).unwrap().is_empty() {
                    // The stray hit the last group while it was being opened. This process knew that
                    // it had been there; the next one cannot.
                    let proven = evidence::proven(&self.disk);
                    let again = self.open(&self.disk);
                    assert!(again.is_ok(), "scrub missed that {error}");
                    self.judge(again, proven);
                }
                None
            }
            Err(error) => panic!("refused: {error:?}"),
        }
    }

    /// The process ends, and with it perhaps the power.
    fn end_process(&mut self) {
        if self.random.chance(1, 2) {
            self.disk.lose_power();
            self.figures.crashes += 1;
        } else {
            self.disk.restart();
        }
    }

    fn append_some(&mut self, journal: &mut Journal) {
        for _ in 0..=self.random.below(4) {
            let size = [10, 200, 3000][self.random.below(3) as usize];
            let bytes = self.body_bytes.unwrap_or(self.random.below(size) as usize);
            let body = vec![self.random.next() as u8; bytes];
            let (stream, time_us) = (self.random.next() as u32, self.random.next() as i64);
            let kind = self.random.next() as u8;
            let before = journal.last();
            match journal.append(Record { stream, kind, time_us, body: &body }) {
                Ok(position) => {
                    assert_eq!(position, Position(before.0 + 1));
                    self.oracle.appended(position.0, stream, kind, time_us, &body);
                }
                Err(error) => {
                    assert_eq!(journal.last(), before, "a refused record changes nothing");
                    check_refusal(journal, &error);
                }
            }
        }
    }

    fn snapshot(&mut self, journal: &Journal) {
        let at = journal.durable().0.saturating_sub(self.random.below(5));
        if at == 0 || !self.snapshots {
            return;
        }
        let size = self.random.below(6000) as usize;
        let written = journal.snapshot_writer(Position(at)).and_then(|mut writer| {
            // A failed write surfaces again in `finish`, or the snapshot is abandoned here.
            let mut write = writer.write_all(&self.oracle.state(at).to_le_bytes());
            write = write.and_then(|()| writer.write_all(&vec![7; size]));
            write.map_err(|source| JournalError::Io {
                action: "write",
                file: "the snapshot".to_owned(),
                source: source.into(),
            })?;
            writer.finish()
        });
        if written.is_ok() {
            self.figures.snapshots += 1;
            self.oracle.proven(at);
        }
    }

    fn raise_epoch(&mut self, journal: &mut Journal) {
        let held = journal.epoch().0;
        let lower = journal.raise_epoch(Epoch(held.saturating_sub(1)));
        assert!(held == 0 || matches!(lower, Err(JournalError::Fenced { .. })));
        self.oracle.epoch_tried(held + 1);
        if journal.raise_epoch(Epoch(held + 1)).is_ok() {
            self.oracle.epoch_raised(held + 1);
        }
    }

    /// One life: some work, then one of several ends.
    fn live(&mut self, mut journal: Journal) {
        let faults = self.faults();
        self.disk.set_faults(faults);
        for _ in 0..self.random.below(60) {
            match self.random.below(20) {
                0..9 => self.append_some(&mut journal),
                9..13 => journal.flush(),
                13..18 => {
                    journal.step();
                }
                18 => self.snapshot(&journal),
                _ if self.random.chance(1, 3) => self.raise_epoch(&mut journal),
                _ => {}
            }
            self.oracle.acknowledged(journal.durable().0);
            self.figures.full += u64::from(journal.is_full());
            if self.disk.is_dead() {
                break;
            }
        }
        if let Some(error) = journal.failed() {
            self.figures.poisoned += 1;
            let refused = journal.append(Record { stream: 0, kind: 0, time_us: 0, body: b"" });
            assert!(matches!(refused, Err(JournalError::Failed { .. })), "after {error:?}");
        }
        if self.random.chance(1, 4) {
            let last = journal.last();
            if let Ok(reached) = journal.close() {
                assert_eq!(reached, last);
                self.oracle.acknowledged(last.0);
            }
        }
        self.figures.acknowledged = self.oracle.durable();
    }

    /// Flips bits on copies of the disk: opening must refuse, or give the whole history, of which
    /// only the last group may be missing, since nothing tells a damaged one from a torn one.
    fn try_damage(&mut self) {
        if self.disk.astray() > 0 {
            return;
        }
        assert_eq!(scrub(&self.disk).unwrap(), [], "damage where there is none");
        for _ in 0..FLIPS {
            let copy = self.disk.fork();
            let files = copy.files();
            let (name, bytes) = &files[self.random.below(files.len() as u64) as usize];
            let bit = self.random.below(*bytes as u64 * 8) as usize;
            copy.flip_bit(name, bit);
            let found: Vec<Damage> = scrub(&copy).unwrap();
            let proven = evidence::proven(&copy);
            match self.open(&copy) {
                Ok((_, last, state)) => {
                    self.oracle.check_damaged(last, state, proven);
                    self.figures.damages_survived += 1;
                }
                Err(JournalError::Corrupt { .. }) => {
                    assert!(!found.is_empty(), "scrub missed bit {bit} of {name}");
                    self.figures.damages_refused += 1;
                }
                Err(error) => panic!("damage to bit {bit} of {name} gave {error:?}"),
            }
        }
    }

    fn run(mut self) -> (Figures, Vec<String>) {
        for life in 0..LIVES {
            let before = self.oracle.last();
            let Some(journal) = self.open_somehow() else {
                return (self.figures, self.disk.trace());
            };
            self.figures.shortened += u64::from(self.oracle.last() < before);
            self.live(journal);
            self.end_process();
            if life + 1 < LIVES && self.disk.files().iter().any(|(name, _)| name == "epoch") {
                self.try_damage();
            }
        }
        self.open_somehow();
        (self.figures, self.disk.trace())
    }
}

/// Runs one seed; a panic says which.
pub(crate) fn run(seed: u64) -> (Figures, Vec<String>) {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this was seed {}: run it with ORRERY_SIM_SEED={}", self.0, self.0);
            }
        }
    }
    let run = Run::new(seed);
    let _told = Told(run.seed);
    run.run()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_changed() {
    if let Some(seed) = setting("ORRERY_SIM_SEED") {
        let (figures, trace) = run(seed);
        println!("{}\n{figures:?}", trace.join("\n"));
        return;
    }
    let runs = setting("ORRERY_SIM_RUNS").unwrap_or(RUNS);
    let mut total = Figures::default();
    for seed in 0..runs {
        total.add(run(seed).0);
    }
    println!("{runs} runs: {total:?}");
    // The runs are worth something only if they met what they are for.
    assert!(total.acknowledged > 10 * runs);
    assert!(total.crashes > runs && total.snapshots > runs / 2);
    assert!(total.poisoned > runs / 10 && total.full > runs / 10);
    assert!(total.shortened > runs / 10 && total.damages_refused > runs);
    assert!(total.openings_died > runs / 10 && total.openings_died_again > runs / 50);
    assert!(total.strays_harmless > runs / 50 && total.strays_refused > runs / 50);
    assert!(total.strays_blind > runs / 2000 || runs < 1000);
}

#[test]
fn one_seed_gives_one_run() {
    for seed in 0..20 {
        let (first, second) = (run(seed), run(seed));
        assert!(first.1.len() > 50);
        assert_eq!(first, second);
    }
}
