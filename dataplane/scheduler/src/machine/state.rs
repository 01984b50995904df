//! The state of a partition: its jobs and the runs that are not over.
//!
//! Invariants ([`State::check`]):
//! - every name leads to the job that has it, and every job is found by its name;
//! - a job that fires has as `next` the first second of its rule behind `after`;
//! - a run is in the list of its job's active runs, unless the job is gone; and nothing waits at a job
//!   without active runs.

mod apply;
mod slots;

use std::sync::Arc;

use foldhash::HashMap;
use foldhash::HashMapExt as _;
use hashbrown::HashTable;
use orrery_kit::mix::mix;
use orrery_recurrence::Zone;
use smallvec::SmallVec;

use self::slots::Slots;

use super::definition::{self, Definition, Definitions};
use super::effect::Effect;
use super::job::{Job, NEVER, Run, Waiting};
use super::links::Links;
use super::notice::Notices;
use super::zones::Rules;

/// What goes on at a job.
#[derive(Debug, Default)]
pub struct Activity {
    /// Numbers of its runs that are not over, oldest first.
    pub runs: SmallVec<[u64; 2]>,
    /// What waits for them, in order.
    pub waiting: std::collections::VecDeque<Waiting>,
}

/// Why a record cannot be applied: it does not fit what was before, or this release cannot read it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("a record names job {id}, which is not there")]
    NoJob { id: u64 },
    #[error("a record names run {run}, which is not there")]
    NoRun { run: u64 },
    #[error("a record names time zone {zone}, which is not there")]
    NoZone { zone: u32 },
    #[error("time zone {name} cannot be read: {message}")]
    Zone { name: String, message: String },
    #[error("job {name} cannot be read: {source}")]
    Definition { name: String, source: definition::DefinitionError },
    #[error(transparent)]
    Malformed(#[from] crate::codec::Malformed),
}

/// See the module.
#[derive(Debug)]
pub struct State {
    pub(super) slots: Slots,
    free: Vec<u32>,
    by_name: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    pub(super) runs: HashMap<u64, Run>,
    pub(super) active: HashMap<u32, Activity>,
    /// Every definition of a time zone ever used, by index.
    pub(super) zones: Vec<Arc<Zone>>,
    /// Every time that the rules of a time zone changed, in order.
    pub(super) rules: Vec<Rules>,
    pub(super) definitions: Definitions,
    pub(super) links: Links,
    pub(super) notices: Notices,
    /// Number of the next run.
    pub(super) next_run: u64,
    /// Where the next entry of the ledger begins.
    pub(super) ledger_end: u64,
    /// Jobs that were declared by objects.
    declared: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            free: vec![],
            by_name: HashTable::new(),
            hasher: foldhash::fast::FixedState::with_seed(0),
            runs: HashMap::new(),
            active: HashMap::new(),
            zones: vec![],
            rules: vec![],
            definitions: Definitions::default(),
            links: Links::default(),
            notices: Notices::new(),
            next_run: 1,
            // Offset 0 stands for "no entry" in chains.
            ledger_end: 1,
            declared: 0,
        }
    }
}

impl State {
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Jobs that were declared by objects.
    pub fn declared(&self) -> usize {
        self.declared
    }

    /// Runs that are not over.
    pub fn running(&self) -> usize {
        self.runs.len()
    }

    pub fn ledger_end(&self) -> u64 {
        self.ledger_end
    }

    pub fn zones(&self) -> &[Arc<Zone>] {
        &self.zones
    }

    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.slots.jobs()
    }

    /// The newest run there was; 0 before the first.
    pub fn newest_run(&self) -> u64 {
        self.next_run - 1
    }

    pub fn runs(&self) -> impl Iterator<Item = (u64, &Run)> {
        self.runs.iter().map(|(number, run)| (*number, run))
    }

    pub fn run(&self, number: u64) -> Option<&Run> {
        self.runs.get(&number)
    }

    pub fn activity(&self, job: &Job) -> Option<&Activity> {
        self.active.get(&job.slot())
    }

    pub fn named(&self, name: &str) -> Option<&Job> {
        let found = |slot: &u32| self.at(*slot).is_some_and(|job| &*job.name == name);
        self.at(*self.by_name.find(self.hash(name), found)?)
    }

    pub fn at(&self, slot: u32) -> Option<&Job> {
        self.slots.job(slot)
    }

    pub fn job(&self, id: u64) -> Option<&Job> {
        self.at(id as u32).filter(|job| job.id == id)
    }

    pub(super) fn job_mut(&mut self, id: u64) -> Option<&mut Job> {
        self.slots.job_mut(id as u32).filter(|job| job.id == id)
    }

    fn must(&mut self, id: u64) -> Result<&mut Job, StateError> {
        self.job_mut(id).ok_or(StateError::NoJob { id })
    }

    fn hash(&self, name: &str) -> u64 {
        use std::hash::BuildHasher as _;
        self.hasher.hash_one(name)
    }

    /// The id that the next new job gets.
    pub fn next_id(&self) -> u64 {
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let incarnation = self.slots.incarnation(slot);
        // From 1, so that no id is 0.
        (u64::from(incarnation) + 1) << 32 | u64::from(slot)
    }

    /// Places a new job at the slot of its id.
    pub(super) fn insert(&mut self, job: Job) {
        let slot = job.slot();
        if self.free.last() == Some(&slot) {
            self.free.pop();
        }
        let hash = self.hash(&job.name);
        self.slots.place(job);
        let (slots, hasher) = (&self.slots, &self.hasher);
        let again = |slot: &u32| {
            use std::hash::BuildHasher as _;
            hasher.hash_one(slots.job(*slot).map_or("", |job| &*job.name))
        };
        self.by_name.insert_unique(hash, slot, again);
    }

    /// Frees the slots without a job in ascending order, after jobs were placed by a snapshot.
    pub(super) fn restore_free(&mut self, incarnations: &[(u32, u32)], free: Vec<u32>) {
        for (slot, incarnation) in incarnations {
            self.slots.vacate(*slot, *incarnation);
        }
        self.free = free;
    }

    /// Free slots in the order they are used, the last first, with how many jobs lay there.
    pub(super) fn free(&self) -> impl Iterator<Item = (u32, u32)> {
        self.free.iter().map(|slot| (*slot, self.slots.incarnation(*slot)))
    }

    pub(super) fn count_declared(&mut self) {
        self.declared = self.jobs().filter(|job| job.is_declared()).count();
    }

    /// Whether an effect changes what the status of an object shows: of a declared job, or of one that
    /// follows a job which comes or goes.
    pub(super) fn is_shown(&self, effect: &Effect<'_>) -> bool {
        let is_declared = |id: u64| self.job(id).is_some_and(Job::is_declared);
        let is_followed = |name: &str| !self.links.of(name).is_empty();
        match effect {
            Effect::Put(put) => put.generation > 0 || is_declared(put.id) || is_followed(put.name),
            Effect::Remove { id, .. } => {
                is_declared(*id) || self.job(*id).is_some_and(|job| is_followed(&job.name))
            }
            Effect::Paused { id, .. }
            | Effect::Launch { id, .. }
            | Effect::Skip { id, .. }
            | Effect::SkipRange { id, .. }
            | Effect::Wait { id, .. } => is_declared(*id),
            Effect::Rules { .. } => self.declared > 0,
            Effect::End { run, .. } | Effect::Overdue { run } => {
                self.run(*run).is_some_and(|run| is_declared(run.job))
            }
            _ => false,
        }
    }

    /// The definition of a job, for those who look.
    pub fn definition(&self, id: u64) -> Option<&Arc<Definition>> {
        self.job(id).map(|job| &job.definition)
    }

    /// A number that two states share if they hold the same, in whatever order it lies in memory.
    pub fn digest(&self) -> u64 {
        let mut sum = mix(self.next_run ^ self.ledger_end.rotate_left(32));
        let mut add = |bytes: &[u8]| {
            sum = sum.wrapping_add(mix(u64::from(crc32c::crc32c(bytes)) << 8 | 1));
        };
        for job in self.jobs() {
            let zone = job.definition.zone;
            add(format!(
                "{} {} {zone} {} {:?} {} {:?} {} {} {} {} {} {} {} {} {:?}",
                job.id,
                job.name,
                job.definition.text,
                job.payload(),
                job.revision,
                job.pause,
                job.overdue,
                job.failures,
                job.generation(),
                job.since,
                job.after,
                job.next,
                job.started,
                job.chain,
                job.last()
            )
            .as_bytes());
        }
        for (number, run) in &self.runs {
            add(format!("{number} {run:?}").as_bytes());
        }
        for (slot, activity) in &self.active {
            add(format!("{slot} {activity:?}").as_bytes());
        }
        add(self.links.digested().as_bytes());
        add(format!("{:?} {:?}", self.rules, self.notices).as_bytes());
        sum
    }

    /// Breaks of the invariants, in words.
    pub fn check(&self) -> Vec<String> {
        let mut broken = vec![];
        for job in self.jobs() {
            if self.named(&job.name).map(|found| found.id) != Some(job.id) {
                broken.push(format!("{} is not found by its name", job.name));
            }
            if job.next != job.following() {
                broken.push(format!("{} has next {} instead", job.name, job.next));
            }
        }
        if self.jobs().count() != self.len() {
            broken.push("names and jobs differ in number".to_owned());
        }
        for (number, run) in &self.runs {
            let listed = self.active.get(&(run.job as u32));
            let is_listed = listed.is_some_and(|active| active.runs.contains(number));
            if self.job(run.job).is_some() != is_listed {
                broken.push(format!("run {number} and its job do not know each other"));
            }
        }
        for (slot, activity) in &self.active {
            if activity.runs.is_empty() {
                broken.push(format!("something waits at slot {slot} for nothing"));
            }
        }
        broken
    }
}

impl Job {
    /// A second was decided.
    fn decided(&mut self, nominal: i64) {
        self.after = self.after.max(nominal);
        self.follow();
    }

    /// From `after` on the job is as it is now.
    fn reset(&mut self, after: i64) {
        self.since = after;
        self.after = self.after.max(after);
        self.follow();
    }

    /// Finds the next second to decide; it is to be planned anew.
    pub(super) fn follow(&mut self) {
        let next = self.following();
        if next != self.next {
            self.next = next;
            self.plan(None);
        }
    }

    /// The next second that is to be decided.
    pub(super) fn following(&self) -> i64 {
        if !self.fires() {
            return NEVER;
        }
        let limit = self.definition.policies.limit_runs;
        if limit.is_some_and(|limit| u64::from(self.started) >= limit) {
            return NEVER;
        }
        self.times().and_then(|times| times.next_after(self.after)).unwrap_or(NEVER)
    }
}
