//! The whole way from a command to the disk and back, on a disk that fails: machine, log, snapshots
//! and recovery, from one seed.
//!
//! A life runs random commands over keys of all classes. A reply counts as seen once its gate is
//! durable, as the server does it; what was seen must be there in the next life. Between lives bits
//! are flipped on copies of the disk: damage must be refused, never answered with a shorter
//! history. `ORRERY_SIM_RUNS` sets the number of seeds, `ORRERY_SIM_SEED` runs one with its trace.

mod books;
mod engine;
mod ledger;
mod workload;

use std::sync::Arc;

use orrery_journal::sim::{Faults, Random, SimDisk};
use orrery_journal::{Journal, JournalError, Options, scrub};

use self::engine::Engine;
use self::ledger::Ledger;
use super::PersistenceError;
use crate::rdb::RdbError;

/// Seeds run by a plain `cargo test`.
const RUNS: u64 = 150;
/// Lives of an engine in one run.
const LIVES: u64 = 5;
/// Flipped bits tried on copies of the disk between two lives.
const FLIPS: u64 = 3;
/// Turns of the loop in one life, at most.
const TURNS: u64 = 60;

/// What a run met, so that a test can tell that it met something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Figures {
    promised: u64,
    power_losses: u64,
    poisoned: u64,
    refused: u64,
    healed: u64,
    stalled: u64,
    snapshots: u64,
    snapshots_failed: u64,
    /// Changes made while a snapshot had seen a part of the keys.
    overtaken: u64,
    shortened: u64,
    damages_refused: u64,
    damages_survived: u64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.promised += other.promised;
        self.power_losses += other.power_losses;
        self.poisoned += other.poisoned;
        self.refused += other.refused;
        self.healed += other.healed;
        self.stalled += other.stalled;
        self.snapshots += other.snapshots;
        self.snapshots_failed += other.snapshots_failed;
        self.overtaken += other.overtaken;
        self.shortened += other.shortened;
        self.damages_refused += other.damages_refused;
        self.damages_survived += other.damages_survived;
    }
}

struct Run {
    random: Random,
    disk: SimDisk,
    options: Options,
    ledger: Ledger,
    figures: Figures,
    now_ms: i64,
    serial: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x3c6e_f372_fe94_f82b);
        let options = Options {
            shard: 0,
            segment_bytes: [8 << 10, 16 << 10, 64 << 10][random.below(3) as usize],
            queue_bytes_max: [2 << 10, 12 << 10][random.below(2) as usize],
            preallocate: random.chance(4, 5),
            snapshots_kept: 1 + random.below(2) as usize,
            threaded: false,
        };
        Self {
            random,
            disk: SimDisk::new(seed),
            options,
            ledger: Ledger::new(),
            figures: Figures::default(),
            now_ms: 1_700_000_000_000,
            serial: 0,
        }
    }

    fn faults(&mut self) -> Faults {
        let random = &mut self.random;
        let mut faults = Faults::default();
        match random.below(6) {
            0 => faults.sync = 30,
            1 => faults.write = 30,
            2 => faults.full = 60,
            3 => faults.folder = 40,
            4 => faults.room_bytes = Some(20_000 + random.below(100_000)),
            _ => {}
        }
        if random.chance(2, 3) {
            faults.dies_after = Some(random.below(250));
        }
        faults
    }

    fn open(&self, disk: &SimDisk) -> Result<Engine, PersistenceError> {
        let opened = Journal::open(Arc::new(disk.clone()), self.options.clone())?;
        Engine::recover(opened, self.now_ms)
    }

    /// Opens, at first with faults; without them it must succeed.
    fn open_somehow(&mut self) -> Engine {
        if self.random.chance(1, 2) {
            let mut faults = self.faults();
            faults.read = self.random.below(100);
            faults.dies_after = faults.dies_after.map(|after| after % 40);
            self.disk.set_faults(faults);
            match self.open(&self.disk) {
                Ok(engine) => return self.check(engine),
                Err(
                    PersistenceError::Journal(
                        JournalError::Io { .. } | JournalError::DiskFull { .. },
                    )
                    | PersistenceError::Snapshot { source: RdbError::Io(_), .. },
                ) => {}
                Err(error) => panic!("a failing disk is not {error:?}"),
            }
            self.end_process();
        }
        let engine = self.open(&self.disk).unwrap_or_else(|error| panic!("refused: {error:?}"));
        self.check(engine)
    }

    fn check(&mut self, mut engine: Engine) -> Engine {
        let before = self.ledger.last();
        self.ledger.recovered(engine.log.appended(), &books::read_all(&mut engine.machine));
        self.figures.shortened += u64::from(self.ledger.last() < before);
        engine.check_declared(self.ledger.last());
        engine.books = self.ledger.books();
        engine
    }

    /// The process ends, and with it perhaps the power.
    fn end_process(&mut self) {
        if self.random.chance(1, 2) {
            self.disk.lose_power();
            self.figures.power_losses += 1;
        } else {
            self.disk.restart();
        }
    }

    /// One life: turns of the loop, then one of several ends.
    fn live(&mut self, mut engine: Engine) {
        let faults = self.faults();
        self.disk.set_faults(faults);
        for _ in 0..self.random.below(TURNS) {
            self.now_ms += [0, 1, 40, 700, 9000][self.random.below(5) as usize];
            self.turn(&mut engine);
            if self.disk.is_dead() {
                break;
            }
            let is_full = engine.log.reason() == "JournalFull";
            if is_full && self.random.chance(1, 4) {
                self.make_room(&mut engine);
                self.figures.healed += 1;
            }
        }
        self.figures.poisoned += u64::from(engine.log.is_failed());
        self.end(engine);
    }

    /// There is room on the disk again: writes must be taken again without a restart.
    fn make_room(&mut self, engine: &mut Engine) {
        self.disk.set_faults(Faults::default());
        while engine.log.step_journal() {}
        engine.log.refresh();
        assert!(engine.log.is_writable(), "{}", engine.log.refusal());
    }

    fn end(&mut self, mut engine: Engine) {
        engine.snapshots.abandon();
        if self.random.chance(1, 4) {
            let is_whole = !engine.log.is_stalled() && engine.log.is_writable();
            if let Ok(last) = engine.log.close() {
                // No proof: the mark behind the last group is left out when it finds no room.
                self.ledger.reported(last);
                assert!(!is_whole || last == self.ledger.last(), "an orderly end keeps all");
            }
        }
        self.figures.promised = self.ledger.promised();
    }

    /// Flips bits on copies of the disk: recovery must refuse, or give the whole history, of which
    /// only the last group may be missing, since nothing tells a damaged one from a torn one.
    fn try_damage(&mut self) {
        assert_eq!(scrub(&self.disk).expect("it can be read"), [], "damage where there is none");
        for _ in 0..FLIPS {
            let copy = self.disk.fork();
            let files = copy.files();
            let (name, bytes) = &files[self.random.below(files.len() as u64) as usize];
            let bit = self.random.below(*bytes as u64 * 8) as usize;
            copy.flip_bit(name, bit);
            match self.open(&copy) {
                Ok(mut engine) => {
                    let found = books::read_all(&mut engine.machine);
                    self.ledger.recovered_damaged(engine.log.appended(), &found);
                    self.figures.damages_survived += 1;
                }
                Err(PersistenceError::Journal(JournalError::Corrupt { .. })) => {
                    self.figures.damages_refused += 1;
                }
                Err(error) => panic!("damage to bit {bit} of {name} gave {error:?}"),
            }
        }
    }

    fn run(mut self) -> (Figures, Vec<String>) {
        for life in 0..LIVES {
            let engine = self.open_somehow();
            self.live(engine);
            self.end_process();
            let has_begun = self.disk.files().iter().any(|(name, _)| name == "epoch");
            if life + 1 < LIVES && has_begun {
                self.try_damage();
            }
        }
        self.open_somehow();
        (self.figures, self.disk.trace())
    }
}

/// Runs one seed; a panic says which.
fn run(seed: u64) -> (Figures, Vec<String>) {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("this was seed {}: run it with ORRERY_SIM_SEED={}", self.0, self.0);
            }
        }
    }
    let _told = Told(seed);
    Run::new(seed).run()
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn nothing_answered_is_lost_doubled_or_changed_by_a_failing_disk() {
    if let Some(seed) = setting("ORRERY_SIM_SEED") {
        let (figures, trace) = run(seed);
        println!("{}\n{figures:?}", trace.join("\n"));
        return;
    }
    let runs = setting("ORRERY_SIM_RUNS").unwrap_or(RUNS);
    let mut total = Figures::default();
    for seed in 0..runs {
        total.add(&run(seed).0);
    }
    println!("{runs} runs: {total:?}");
    // The runs are worth something only if they met what they are for.
    assert!(total.promised > 5 * runs);
    assert!(total.power_losses > runs && total.snapshots > runs / 2);
    assert!(total.overtaken > runs / 2 && total.snapshots_failed > runs / 10);
    assert!(total.poisoned > runs / 10 && total.refused > runs / 10 && total.healed > runs / 20);
    assert!(total.shortened > runs / 10 && total.stalled > 0);
    assert!(total.damages_refused > runs / 2 && total.damages_survived > runs / 2);
}

#[test]
fn one_seed_gives_one_run() {
    for seed in 0..10 {
        let (first, second) = (run(seed), run(seed));
        assert!(first.1.len() > 50);
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn a_snapshot_that_is_given_up_leaves_nothing_behind() {
    let mut run = Run::new(1);
    let mut engine = run.open(&run.disk).expect("an empty disk");
    run.turn(&mut engine);
    run.begin_snapshot(&mut engine).expect("the disk has no faults");
    // Everything is durable: nothing but the missing end stands in the way.
    while engine.log.step_journal() {}
    engine.snapshots.abandon();
    let files = run.disk.files();
    assert!(!files.iter().any(|(name, _)| name.starts_with("snapshot-")), "{files:?}");
}
