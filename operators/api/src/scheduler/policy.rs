//! What happens around a run: clocks that change, runs that overlap, runs that were missed, attempts
//! that failed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounds;

/// What becomes of times that a change of the clocks skips or repeats. Rules for every minute or every
/// hour are not touched by it: they go by the time that passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Dst {
    /// A time that does not exist is skipped; one that comes twice runs the first time.
    #[default]
    SkipMissingRunRepeatedOnce,
    /// A time that does not exist is skipped; one that comes twice runs both times.
    SkipMissingRunRepeatedTwice,
    /// A time that does not exist runs right after the gap; one that comes twice runs the first time.
    RunMissingAfterGapRunRepeatedOnce,
    /// A time that does not exist runs right after the gap; one that comes twice runs both times.
    RunMissingAfterGapRunRepeatedTwice,
}

/// What happens when a run is due and the one before is not over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Concurrency {
    /// Both run.
    #[default]
    Allow,
    /// The new one is skipped.
    Forbid,
    /// The old one is cancelled, then the new one runs.
    Replace,
    /// One waits until the old one is over, further ones are skipped.
    BufferOne,
    /// All wait, one after the other; a bounded number of them.
    BufferAll,
    /// The old one is asked to stop, and the new one runs once it has.
    CancelOther,
    /// The old one is ended at once, and the new one runs.
    TerminateOther,
}

/// What happens to runs that were due while the engine was away, or late by more than a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatchUp {
    /// Skip, FireOnce (the newest alone) or FireAll.
    pub policy: CatchUpPolicy,
    /// The most runs that are made up for, for FireAll; the newest ones. Left out: as the Scheduler
    /// says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::CATCH_UP_RUNS_MAX))]
    pub max_runs: Option<i32>,
    /// Runs older than this are not made up for, in seconds. Left out: as the Scheduler says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = bounds::LATE_SECONDS_MAX))]
    pub max_seconds: Option<i64>,
}

/// Which missed runs are made up for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum CatchUpPolicy {
    /// None.
    Skip,
    /// The newest.
    #[default]
    FireOnce,
    /// All of them, within bounds.
    FireAll,
}

/// How often a run is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retry {
    /// Attempts of a run, the first included.
    #[schemars(range(min = 1, max = bounds::ATTEMPTS_MAX))]
    pub max_attempts: i32,
    /// Wait before the second attempt, in seconds; it doubles with each further one.
    #[schemars(range(min = 0, max = bounds::BACKOFF_SECONDS_MAX))]
    pub backoff_seconds: i64,
    /// The longest wait between two attempts, in seconds.
    #[schemars(range(min = 0, max = bounds::LONGEST_BACKOFF_SECONDS_MAX))]
    pub max_backoff_seconds: i64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 1, backoff_seconds: 10, max_backoff_seconds: 3600 }
    }
}

/// How many runs of one schedule its history shows, of those that the ledger keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeepRuns {
    /// Runs that are shown, the newest ones. Left out: as the Scheduler says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = bounds::KEEP_RUNS_MAX))]
    pub keep_runs: Option<i32>,
    /// Failed runs that are shown beside them, the newest ones. Left out: they count as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = bounds::KEEP_RUNS_MAX))]
    pub keep_failed_runs: Option<i32>,
}
