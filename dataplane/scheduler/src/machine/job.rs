//! A job and a run as they lie in memory. A million jobs are to fit in a few hundred MB: what many
//! have in common is shared, and what is rare lives elsewhere.

use std::sync::Arc;

use orrery_recurrence::Occurrences;

use super::definition::Definition;
use super::effect::{Cause, Ended, Pause};

/// No second: the rule names none any more.
pub const NEVER: i64 = i64::MAX;

/// A job: a rule, an action, and how far both came.
#[derive(Debug)]
pub struct Job {
    /// Unique in the partition for all times; the lower half is the slot.
    pub id: u64,
    pub name: Box<str>,
    pub definition: Arc<Definition>,
    /// Of the definition, or made for this job where the rule depends on its name; none where runs of
    /// another job bring its runs about.
    pub times: Option<Arc<Occurrences>>,
    /// Body of the action.
    pub payload: Option<Arc<[u8]>>,
    pub revision: u32,
    pub pause: Pause,
    /// A run is not over although it should be.
    pub overdue: bool,
    /// Runs that failed since one succeeded.
    pub failures: u32,
    /// Which timer of the job is the valid one.
    pub timer: u32,
    /// Generation of the object it was declared by; 0 for jobs of the API.
    pub generation: i64,
    /// Seconds after this one belong to this revision and pause.
    pub since: i64,
    /// Seconds up to here are decided.
    pub after: i64,
    /// The next second that the rule names; [`NEVER`] when there is none, or the job pauses.
    pub next: i64,
    /// When `next` is to be launched, in milliseconds; [`NEVER`] until it was planned.
    pub planned_ms: i64,
    /// Runs the rule brought about, for `limitRuns`.
    pub started: u64,
    /// Where its newest entry in the ledger is; 0 when it has none.
    pub chain: u64,
    pub last: Option<LastRun>,
}

/// The run of a job that began last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRun {
    pub nominal: i64,
    pub started_ms: i64,
    /// When and how it ended; none while it goes on.
    pub ended: Option<(i64, Ended)>,
}

impl Job {
    pub fn slot(&self) -> u32 {
        self.id as u32
    }

    /// Whether the rule counts now.
    pub fn fires(&self) -> bool {
        self.pause == Pause::None && !self.definition.policies.suspend
    }

    pub fn is_declared(&self) -> bool {
        self.generation > 0
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
