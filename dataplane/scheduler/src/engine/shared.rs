//! Figures that partitions tell and others read, without waiting for each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use orrery_kit::health::Health;

use crate::machine::Ended;
use crate::ownership::Standing;

/// Upper bounds of the buckets of lateness, in milliseconds; the last bucket has none.
pub const LATENESS_BOUNDS_MS: [i64; 14] =
    [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000, 10_000, 30_000, 60_000];

/// What a partition says of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub jobs: u64,
    pub declared: u64,
    pub running: u64,
    pub parked: u64,
    /// Position of its journal that is on disk.
    pub durable: u64,
}

/// The figures of one partition.
#[derive(Debug, Default)]
struct Cell {
    jobs: AtomicU64,
    declared: AtomicU64,
    running: AtomicU64,
    parked: AtomicU64,
    durable: AtomicU64,
    serves: AtomicBool,
    is_full: AtomicBool,
}

/// Of the whole process.
#[derive(Debug)]
pub struct Shared {
    cells: Vec<Cell>,
    lateness: [AtomicU64; LATENESS_BOUNDS_MS.len() + 1],
    lateness_sum_ms: AtomicU64,
    ended: [AtomicU64; Ended::ALL.len()],
    overdue: AtomicU64,
    /// Grows when something changed that statuses of objects show.
    changes: tokio::sync::watch::Sender<u64>,
    pub health: Health,
    /// Whether this process launches.
    pub standing: Arc<Standing>,
    /// The spec says that nothing may be launched or changed.
    is_fenced: AtomicBool,
}

impl Shared {
    /// Of a process that is alone.
    pub fn new(partitions: u16, health: Health) -> Self {
        Self::of(partitions, health, Arc::new(Standing::alone()))
    }

    pub fn of(partitions: u16, health: Health, standing: Arc<Standing>) -> Self {
        Self {
            cells: (0..partitions).map(|_| Cell::default()).collect(),
            lateness: Default::default(),
            lateness_sum_ms: AtomicU64::new(0),
            ended: Default::default(),
            overdue: AtomicU64::new(0),
            changes: tokio::sync::watch::Sender::new(0),
            health,
            standing,
            is_fenced: AtomicBool::new(false),
        }
    }

    /// Whether the spec says that nothing may be launched or changed.
    pub fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::Acquire)
    }

    pub fn set_fenced(&self, is_fenced: bool) {
        self.is_fenced.store(is_fenced, Ordering::Release);
    }

    /// A partition works.
    pub fn serves(&self, partition: u16) {
        self.cells[usize::from(partition)].serves.store(true, Ordering::Release);
        if self.all_serve() {
            self.health.set_ready();
        }
    }

    /// Whether every partition works, and has handed over what an earlier process left.
    pub fn all_serve(&self) -> bool {
        self.cells.iter().all(|cell| cell.serves.load(Ordering::Acquire))
    }

    /// A partition has no room for records, or has it again. Where journals are carried elsewhere that
    /// engine may not answer instead.
    pub fn is_full(&self, partition: u16, is_full: bool) {
        self.cells[usize::from(partition)].is_full.store(is_full, Ordering::Release);
        if self.cells.iter().any(|cell| cell.is_full.load(Ordering::Acquire)) {
            if self.standing.is_grouped() {
                let why =
                    "what carries the journals does not answer: nothing is launched until it does";
                self.health.set_degraded("JournalAway", why);
                return;
            }
            let why = "the volume of the journal is full: nothing is launched until there is room";
            self.health.set_not_ready("JournalFull", why);
        } else {
            self.health.set_ready();
        }
    }

    /// The figures of a partition, and whether something changed that statuses show.
    pub fn tell(&self, partition: u16, figures: Figures, changed: bool) {
        let cell = &self.cells[usize::from(partition)];
        cell.jobs.store(figures.jobs, Ordering::Relaxed);
        cell.declared.store(figures.declared, Ordering::Relaxed);
        cell.running.store(figures.running, Ordering::Relaxed);
        cell.parked.store(figures.parked, Ordering::Relaxed);
        cell.durable.store(figures.durable, Ordering::Relaxed);
        if changed {
            self.changed();
        }
    }

    /// Something changed that statuses show.
    pub fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What a turn did.
    pub fn count(
        &self,
        _partition: u16,
        lateness_ms: &[i64],
        ended: &[(u64, i64, Ended)],
        overdue: usize,
    ) {
        for late in lateness_ms {
            let bucket = LATENESS_BOUNDS_MS.partition_point(|bound| *bound < *late);
            self.lateness[bucket].fetch_add(1, Ordering::Relaxed);
            let late = u64::try_from(*late).unwrap_or(0);
            self.lateness_sum_ms.fetch_add(late, Ordering::Relaxed);
        }
        for (_, _, ended) in ended {
            self.ended[*ended as usize - 1].fetch_add(1, Ordering::Relaxed);
        }
        self.overdue.fetch_add(overdue as u64, Ordering::Relaxed);
    }

    /// The figures of all partitions together.
    pub fn figures(&self) -> Figures {
        let mut sum = Figures::default();
        for cell in &self.cells {
            sum.jobs += cell.jobs.load(Ordering::Relaxed);
            sum.declared += cell.declared.load(Ordering::Relaxed);
            sum.running += cell.running.load(Ordering::Relaxed);
            sum.parked += cell.parked.load(Ordering::Relaxed);
            sum.durable += cell.durable.load(Ordering::Relaxed);
        }
        sum
    }

    /// The figures of each partition, and whether it works and has room.
    pub fn each(&self) -> Vec<(Figures, bool)> {
        let each = self.cells.iter().map(|cell| {
            let figures = Figures {
                jobs: cell.jobs.load(Ordering::Relaxed),
                declared: cell.declared.load(Ordering::Relaxed),
                running: cell.running.load(Ordering::Relaxed),
                parked: cell.parked.load(Ordering::Relaxed),
                durable: cell.durable.load(Ordering::Relaxed),
            };
            let is_full = cell.is_full.load(Ordering::Acquire);
            (figures, cell.serves.load(Ordering::Acquire) && !is_full)
        });
        each.collect()
    }

    /// Launches by how late they were: one count per bucket of [`LATENESS_BOUNDS_MS`], and behind.
    pub fn lateness(&self) -> Vec<u64> {
        self.lateness.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    pub fn lateness_sum_ms(&self) -> u64 {
        self.lateness_sum_ms.load(Ordering::Relaxed)
    }

    /// Runs that ended, by how.
    pub fn ended(&self) -> impl Iterator<Item = (Ended, u64)> {
        let counts = self.ended.iter().map(|count| count.load(Ordering::Relaxed));
        Ended::ALL.into_iter().zip(counts.collect::<Vec<_>>())
    }

    pub fn overdue(&self) -> u64 {
        self.overdue.load(Ordering::Relaxed)
    }

    /// Lateness that 99 of 100 launches stay below, as the bound of a bucket; none without launches.
    pub fn p99_bound_ms(&self) -> Option<i64> {
        let counts = self.lateness();
        let all: u64 = counts.iter().sum();
        let mut below = 0;
        for (count, bound) in counts.iter().zip(LATENESS_BOUNDS_MS.iter().chain([&i64::MAX])) {
            below += count;
            if all > 0 && below * 100 >= all * 99 {
                return Some(*bound);
            }
        }
        None
    }
}
