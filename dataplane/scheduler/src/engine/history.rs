//! The history of a job: its runs, put together from the ledger.
//!
//! The ledger keeps every run for `keepSeconds`, because it proves that none was missed. How many of
//! them a history shows is for people, and bounded by `keepRuns`.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};
use serde::Serialize;

use super::details::{shown, shown_ms};
use super::{Engine, EngineError};
use crate::ledger::{Fact, LedgerView};
use crate::machine::Ended;
use crate::machine::definition::Policies;
use crate::run::RunId;

/// Runs that one answer holds.
const RUNS_MAX: usize = 1000;

/// One run, put together from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    pub key: String,
    pub job: String,
    pub nominal: String,
    /// When it was launched.
    pub started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    pub cause: &'static str,
    pub attempts: u32,
    /// Running, Succeeded, Failed, Refused, TimedOut, Cancelled or Expired.
    pub result: &'static str,
    pub note: String,
    /// How late it was launched, behind its planned moment, in milliseconds.
    pub late_ms: i64,
}

/// How many runs the history of a job shows, beside those that are not over.
#[derive(Debug, Clone, Copy)]
struct Kept {
    runs: usize,
    /// Failed runs are counted by themselves; none: as the others.
    failed: Option<usize>,
}

impl Kept {
    fn of(policies: &Policies, keep_runs: i32) -> Self {
        let of_engine = usize::try_from(keep_runs).unwrap_or(0);
        Self { runs: policies.keep_runs.unwrap_or(of_engine), failed: policies.keep_failed_runs }
    }

    /// Whether one more run that ended so is shown.
    fn takes(&mut self, ended: Ended) -> bool {
        let left = match &mut self.failed {
            Some(failed) if ended.is_failure() => failed,
            _ => &mut self.runs,
        };
        let is_taken = *left > 0;
        *left = left.saturating_sub(1);
        is_taken
    }

    fn is_full(&self) -> bool {
        self.runs == 0 && self.failed.unwrap_or(0) == 0
    }
}

impl Engine {
    /// Runs of a job, the newest first: at most `limit`, and no more than its history keeps.
    pub async fn runs(&self, name: &str, limit: usize) -> Result<Vec<RunRecord>, EngineError> {
        let (owned, keep_runs) = (name.to_owned(), self.config.history.keep_runs);
        let seen = self.handle(name).look(move |state, ledger| {
            let job = state.named(&owned)?;
            let running = state.activity(job).map_or(0, |activity| activity.runs.len());
            let kept = Kept::of(&job.definition.policies, keep_runs);
            Some((job.chain, ledger.clone(), kept, running))
        });
        let seen = seen.await?.ok_or_else(|| EngineError::NoJob(name.to_owned()))?;
        let (chain, ledger, kept, running) = seen;
        let (resolver, job, partition) =
            (Arc::clone(&self.resolver), name.to_owned(), self.partition_of(name));
        let limit = limit.clamp(1, RUNS_MAX);
        let read = tokio::task::spawn_blocking(move || {
            let key = |number| resolver.key(RunId { partition, number });
            History { kept, running, limit, key: &key, job: &job }.read(&ledger, chain)
        });
        read.await?
    }
}

/// How a run ended, or how far it is.
struct Ending {
    at_ms: i64,
    attempts: u32,
    /// None while it goes on.
    ended: Option<Ended>,
    note: String,
}

/// What is to be read.
struct History<'a> {
    kept: Kept,
    /// Runs that are not over.
    running: usize,
    limit: usize,
    key: &'a dyn Fn(u64) -> String,
    job: &'a str,
}

impl History<'_> {
    fn read(mut self, ledger: &LedgerView, chain: u64) -> Result<Vec<RunRecord>, EngineError> {
        let mut done = vec![];
        // Ends are met before the beginnings they belong to.
        let mut endings: HashMap<u64, Ending> = HashMap::new();
        ledger.follow(chain, |_, entry| {
            match entry.fact {
                Fact::Ended { run, attempt, ended, note, .. } => {
                    let (at_ms, note) = (entry.at_ms, note.to_owned());
                    let ending = Ending { at_ms, attempts: attempt, ended: Some(ended), note };
                    endings.insert(run, ending);
                }
                Fact::AttemptFailed { run, attempt, note, .. } => {
                    endings.entry(run).or_insert_with(|| Ending::none(attempt, note));
                }
                Fact::Retried { run, attempt } => {
                    endings.entry(run).or_insert_with(|| Ending::none(attempt, ""));
                }
                Fact::Launched { run, nominal, planned_ms, cause, .. } => {
                    let ending = endings.remove(&run).unwrap_or_else(|| Ending::none(1, ""));
                    let Ending { at_ms, attempts, ended, note } = ending;
                    let is_shown = if let Some(ended) = ended {
                        self.kept.takes(ended)
                    } else {
                        self.running = self.running.saturating_sub(1);
                        true
                    };
                    if is_shown {
                        done.push(RunRecord {
                            key: (self.key)(run),
                            job: self.job.to_owned(),
                            nominal: shown(nominal),
                            started: shown_ms(entry.at_ms),
                            finished: ended.map(|_| shown_ms(at_ms)),
                            cause: cause.as_str(),
                            attempts,
                            result: ended.map_or("Running", Ended::as_str),
                            note,
                            late_ms: entry.at_ms - planned_ms,
                        });
                    }
                }
                _ => {}
            }
            done.len() < self.limit && !(self.kept.is_full() && self.running == 0)
        })?;
        Ok(done)
    }
}

impl Ending {
    fn none(attempts: u32, note: &str) -> Self {
        Self { at_ms: 0, attempts, ended: None, note: note.to_owned() }
    }
}
