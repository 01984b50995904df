//! The status of a `Schedule`, and the parts of it that an engine reports.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::{CommonStatus, Time};

/// Times to come that a status shows.
pub const NEXT_TIMES_MAX: usize = 3;

/// What is true of a Schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleStatus {
    /// Fields every status has.
    #[serde(flatten)]
    pub common: CommonStatus,
    /// Name of the Scheduler that carries it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub bound_to: Option<String>,
    /// When it fires, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub when: Option<String>,
    /// Zone the rule is read in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub zone: Option<String>,
    /// The next times it fires.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "next_times")]
    pub next_times: Vec<Time>,
    /// The newest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// Runs that failed for good since the last one that succeeded.
    #[schemars(range(min = 0))]
    pub consecutive_failures: i32,
    /// Jobs that its rows make, where it has a template. Then the times are the next of all of them, the
    /// last run is the newest, and the failures are those of the worst.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub jobs: Option<i32>,
    /// New rules of its time zone that moved its runs. Left out: none did since its last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_change: Option<ZoneChange>,
}

/// New rules of a time zone that moved runs of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneChange {
    /// Runs after this second are by the new rules.
    pub since: Time,
    /// The runs that come in and those that go out.
    #[schemars(length(max = 1024))]
    pub message: String,
}

fn next_times(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": NEXT_TIMES_MAX,
        "items": {
            "type": "string",
            "description": "One time.",
            "format": "date-time",
            "maxLength": 64,
        },
    })
}

/// One run of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// The time the rule named.
    pub nominal: Time,
    /// When its first attempt was sent. Left out: it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it was over. Left out: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// Running, Succeeded, Failed, Refused, TimedOut, Cancelled, Expired or Skipped.
    pub result: RunResult,
}

/// How a run is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RunResult {
    /// It is not over.
    Running,
    /// The target said that it is done.
    Succeeded,
    /// All attempts failed.
    Failed,
    /// The target said no in a way that another attempt would not change.
    Refused,
    /// The target did not answer in time: it may or may not have run.
    TimedOut,
    /// It was cancelled before it was over.
    Cancelled,
    /// It could not start within its starting deadline.
    Expired,
    /// It was left out, because of the run before or of a catch-up.
    Skipped,
}

impl RunResult {
    /// The word as it stands in a status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Refused => "Refused",
            Self::TimedOut => "TimedOut",
            Self::Cancelled => "Cancelled",
            Self::Expired => "Expired",
            Self::Skipped => "Skipped",
        }
    }
}
