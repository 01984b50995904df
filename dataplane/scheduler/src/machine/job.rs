//! A job and a run as they lie in memory. A million jobs are to fit in a few hundred MB: what many
//! have in common is shared, and what is rare lives elsewhere.

use std::sync::Arc;

use compact_str::CompactString;
use orrery_recurrence::Occurrences;

use super::definition::Definition;
use super::effect::{Cause, Ended, Pause};

/// No second: the rule names none any more.
pub const NEVER: i64 = i64::MAX;

/// A moment that was not planned yet, in milliseconds behind its second.
const UNPLANNED: u32 = u32::MAX;

/// A job: a rule, an action, and how far both came.
///
/// There may be a million of them: what few have is in [`Own`], numbers are as wide as they need to be, and
/// a name of up to 24 bytes lies in the job.
#[derive(Debug)]
pub struct Job {
    /// Unique in the partition for all times; the lower half is the slot.
    pub id: u64,
    pub name: CompactString,
    pub definition: Arc<Definition>,
    own: Option<Box<Own>>,
    /// Seconds after this one belong to this revision and pause.
    pub since: i64,
    /// Seconds up to here are decided.
    pub after: i64,
    /// The next second that the rule names; [`NEVER`] when there is none, or the job pauses.
    pub next: i64,
    /// Where its newest entry in the ledger is; 0 when it has none.
    pub chain: u64,
    last: Option<LastRun>,
    pub revision: u32,
    /// Runs that failed since one succeeded.
    pub failures: u32,
    /// Which timer of the job is the valid one.
    pub timer: u32,
    /// Runs it brought about itself, for `limitRuns`.
    pub started: u32,
    /// When `next` is to be launched, in milliseconds behind it: jitter and window are days at most.
    planned_behind_ms: u32,
    pub pause: Pause,
    /// A run is not over although it should be.
    pub overdue: bool,
}

/// What few jobs have: times that depend on the name, a body, an object that declares them.
#[derive(Debug, Default)]
pub struct Own {
    pub times: Option<Arc<Occurrences>>,
    /// Body of the action.
    pub payload: Option<Box<[u8]>>,
    /// Generation of the object it was declared by; 0 for jobs of the API.
    pub generation: i64,
}

impl Own {
    fn is_empty(&self) -> bool {
        self.times.is_none() && self.payload.is_none() && self.generation == 0
    }
}

/// The run of a job that began last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    pub nominal: i64,
    pub started_ms: i64,
    /// When it ended, once it has.
    ended_ms: i64,
    /// How it ended; none while it goes on.
    ended: Option<Ended>,
}

impl LastRun {
    pub fn new(nominal: i64, started_ms: i64, ended: Option<(i64, Ended)>) -> Self {
        let (ended_ms, ended) = ended.map_or((0, None), |(at_ms, ended)| (at_ms, Some(ended)));
        Self { nominal, started_ms, ended_ms, ended }
    }

    /// When and how it ended; none while it goes on.
    pub fn ended(&self) -> Option<(i64, Ended)> {
        self.ended.map(|ended| (self.ended_ms, ended))
    }
}

impl Job {
    /// A job that never ran and is due at no time until it [follows](Self::follow) its rule.
    pub fn new(id: u64, name: &str, definition: Arc<Definition>, own: Own) -> Self {
        let mut job = Self {
            id,
            name: name.into(),
            definition,
            own: None,
            since: 0,
            after: 0,
            next: NEVER,
            chain: 0,
            last: None,
            revision: 0,
            failures: 0,
            timer: 0,
            started: 0,
            planned_behind_ms: UNPLANNED,
            pause: Pause::None,
            overdue: false,
        };
        job.set_own(own);
        job
    }

    pub fn slot(&self) -> u32 {
        self.id as u32
    }

    /// Whether the rule counts now.
    pub fn fires(&self) -> bool {
        self.pause == Pause::None && !self.definition.policies.suspend
    }

    /// The seconds of its rule; none where runs of another job bring its runs about.
    pub fn times(&self) -> Option<&Arc<Occurrences>> {
        let own = self.own.as_ref().and_then(|own| own.times.as_ref());
        own.or(self.definition.times.as_ref())
    }

    /// Body of the action.
    pub fn payload(&self) -> Option<&[u8]> {
        self.own.as_ref().and_then(|own| own.payload.as_deref())
    }

    /// Generation of the object it was declared by; 0 for jobs of the API.
    pub fn generation(&self) -> i64 {
        self.own.as_ref().map_or(0, |own| own.generation)
    }

    pub fn is_declared(&self) -> bool {
        self.generation() > 0
    }

    pub(super) fn set_own(&mut self, own: Own) {
        self.own = (!own.is_empty()).then(|| Box::new(own));
    }

    pub(super) fn set_times(&mut self, times: Option<Arc<Occurrences>>) {
        let own = self.own.take().map_or_else(Own::default, |own| *own);
        self.set_own(Own { times, ..own });
    }

    /// When `next` is to be launched, in milliseconds; none until it was planned.
    pub fn planned_ms(&self) -> Option<i64> {
        let behind = Some(self.planned_behind_ms).filter(|behind| *behind != UNPLANNED)?;
        Some(self.next.saturating_mul(1000).saturating_add(i64::from(behind)))
    }

    pub(super) fn plan(&mut self, planned_ms: Option<i64>) {
        let behind = planned_ms.map(|at_ms| at_ms - self.next.saturating_mul(1000));
        let behind = behind.and_then(|behind| u32::try_from(behind).ok());
        self.planned_behind_ms = behind.unwrap_or(UNPLANNED);
    }

    pub fn last(&self) -> Option<LastRun> {
        self.last
    }

    pub(super) fn set_last(&mut self, last: Option<LastRun>) {
        self.last = last;
    }
}

/// A run that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Of its job, which may be gone.
    pub job: u64,
    pub revision: u32,
    pub cause: Cause,
    pub nominal: i64,
    pub planned_ms: i64,
    pub launched_ms: i64,
    /// 1 for the first.
    pub attempt: u32,
    /// What it is counted under: the target it was launched for.
    pub target: Arc<str>,
    /// The attempt failed, and the next one begins then.
    pub retry_at_ms: Option<i64>,
    pub overdue: bool,
    /// The attempt was begun outside of this process: it is never begun again.
    pub started: bool,
}

impl Run {
    /// The moment that `finishWithinSeconds` counts from: the second of the rule; where no rule named
    /// one, when it was to begin.
    pub fn due_ms(&self) -> i64 {
        if self.cause.is_scheduled() { self.nominal.saturating_mul(1000) } else { self.planned_ms }
    }
}

/// A second that waits for the runs before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub nominal: i64,
    pub cause: Cause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_no_larger_than_a_million_of_them_may_be() {
        assert!(size_of::<Job>() <= 136, "{}", size_of::<Job>());
    }
}
