//! What a scheduler process and the runner in a pod of a pool tell each other, as JSON over HTTP/1.1.
//!
//! | request | answer |
//! |---|---|
//! | `POST /runs` with a [`RunRequest`] | 202 or 200 with a [`RunState`]; 429 while the pod has no room, 503 while it stops |
//! | `GET /runs/{key}?waitSeconds=20` | 200 with a [`RunState`], once the run is over or the time is; 404 for a run it does not know |
//! | `DELETE /runs/{key}` | 202, and the run is ended; 200 with its state where it is over |
//!
//! Each has the token of the pool as Bearer. Must not: carry anything of the process that asks but
//! what the command is to know.

use serde::{Deserialize, Serialize};

use super::action::EnvVar;

/// Port of a runner.
pub const RUNNER_PORT: u16 = 9410;
/// Key of the Secret of a pool, and name of the file, with what requests show.
pub const RUNNER_TOKEN_KEY: &str = "token";
/// Bytes of command, arguments and environment together: below what Linux lets a process begin with.
pub const COMMAND_BYTES_MAX: usize = 1 << 20;
/// Longest wait for the end of a run within one request.
pub const WAIT_SECONDS_MAX: u64 = 60;
/// How long a command that was asked to end may take before it is killed, in seconds.
pub const KILL_AFTER_SECONDS: u64 = 5;
/// Variable with the key of the run, the same for all its attempts.
pub const KEY_VARIABLE: &str = "ORRERY_RUN_KEY";
/// Variable with the number of the attempt, from 1.
pub const ATTEMPT_VARIABLE: &str = "ORRERY_RUN_ATTEMPT";
/// Variable with the name of the schedule.
pub const SCHEDULE_VARIABLE: &str = "ORRERY_SCHEDULE";
/// Variable with the second of the run, in RFC 3339.
pub const NOMINAL_VARIABLE: &str = "ORRERY_NOMINAL";

/// A command that is to be run once under this key, however often it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunRequest {
    /// Of an attempt of a run: 1 to 253 of letters, digits and `-_.`.
    pub key: String,
    /// The program and what it begins with.
    pub command: Vec<String>,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables beside those of the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// How long it may take, in milliseconds.
    pub timeout_milliseconds: u64,
}

/// How a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunState {
    /// In one word.
    pub state: RunWord,
    /// What the process ended with, if it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The end of what it wrote, or why there was no process.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl From<RunWord> for RunState {
    fn from(state: RunWord) -> Self {
        Self { state, exit_code: None, message: String::new() }
    }
}

/// How a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunWord {
    /// It goes on.
    Running,
    /// It ended with 0.
    Succeeded,
    /// It ended with another number, or by a signal.
    Failed,
    /// There is nothing in the pod that could be started.
    Refused,
    /// It was ended because its time was over.
    TimedOut,
    /// It was ended because that was asked for.
    Cancelled,
    /// It was ended because the pod stops.
    Stopped,
}

impl RunWord {
    /// Whether the run goes on.
    pub fn is_running(self) -> bool {
        self == Self::Running
    }
}

/// Whether a text can be the key of a run.
pub fn is_key(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=253).contains(&text.len()) && text.chars().all(allowed)
}
