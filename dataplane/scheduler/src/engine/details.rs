//! What is said of a job.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::zones::RulesOver;
use super::{Engine, EngineError};
use crate::ledger::LedgerView;
use crate::machine::{Job, Pause, State};
use crate::run::RunId;

/// Times to come that are shown of a job.
pub const NEXT_TIMES: usize = 3;

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobDetails {
    pub name: String,
    /// As it was given, with defaults filled in.
    pub spec: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<String>,
    pub revision: u32,
    /// Declared by a Schedule: the API does not change it.
    pub declared: bool,
    /// Left out while it fires: Asked, Failure, Limit or Suspended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<&'static str>,
    /// The next times it fires, RFC 3339.
    pub next_times: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRunShown>,
    pub consecutive_failures: u32,
    pub overdue: bool,
    /// Keys of its runs that are not over.
    pub running: Vec<String>,
    /// Runs that wait for those.
    pub waiting: usize,
    /// Jobs that run after runs of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub followers: Vec<String>,
    /// Something that people should know of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The newest run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRunShown {
    pub nominal: String,
    pub started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Running, or how it ended.
    pub result: &'static str,
}

/// A second as RFC 3339.
pub fn shown(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

/// A millisecond as RFC 3339.
pub fn shown_ms(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |at| at.to_string())
}

impl Engine {
    /// Everything about a job.
    pub async fn job(&self, name: &str) -> Result<JobDetails, EngineError> {
        let (owned, partition) = (name.to_owned(), self.partition_of(name));
        let resolver = Arc::clone(&self.resolver);
        let key = move |number| resolver.key(RunId { partition, number });
        let found = self.handle(name).look(move |state, _| {
            let job = state.named(&owned)?;
            Some((details(state, job, &key), RulesOver::of(state, job)))
        });
        let found = found.await?.ok_or_else(|| EngineError::NoJob(name.to_owned()))?;
        let (mut found, rules) = found;
        if let Some(rules) = rules {
            let moved = tokio::task::spawn_blocking(move || rules.moved()).await?;
            found.note = moved.or(found.note);
        }
        let leader = found.spec.pointer("/when/after/schedule").and_then(Value::as_str);
        if let Some(leader) = leader.map(str::to_owned) {
            let missing = self.missing(std::iter::once(leader.clone()).collect()).await?;
            let note = || format!("there is no job {leader}: nothing brings its runs about");
            found.note = found.note.or_else(|| (!missing.is_empty()).then(note));
        }
        Ok(found)
    }

    /// Where the newest entry of a job is, and the ledger that has it.
    pub(super) async fn chain(&self, name: &str) -> Result<(u64, LedgerView), EngineError> {
        let owned = name.to_owned();
        let seen = self
            .handle(name)
            .look(move |state, ledger| state.named(&owned).map(|job| (job.chain, ledger.clone())));
        seen.await?.ok_or_else(|| EngineError::NoJob(name.to_owned()))
    }
}

pub(super) fn details(state: &State, job: &Job, key: &dyn Fn(u64) -> String) -> JobDetails {
    let declared = job.definition.declared();
    let (mut spec, exclusions) = match declared {
        Ok(declared) => {
            (serde_json::to_value(declared.spec).unwrap_or_default(), declared.exclusions)
        }
        Err(_) => (Value::Null, vec![]),
    };
    let path = if spec.pointer("/action/grpc").is_some() { "/action/grpc" } else { "/action/http" };
    if let (Some(payload), Some(action)) = (job.payload(), spec.pointer_mut(path)) {
        action["body"] = Value::String(String::from_utf8_lossy(payload).into_owned());
    }
    let activity = state.activity(job);
    let last_run = job.last().map(|last| LastRunShown {
        nominal: shown(last.nominal),
        started: shown_ms(last.started_ms),
        finished: last.ended().map(|(at_ms, _)| shown_ms(at_ms)),
        result: last.ended().map_or("Running", |(_, ended)| ended.as_str()),
    });
    JobDetails {
        name: job.name.to_string(),
        spec,
        exclusions,
        revision: job.revision,
        declared: job.is_declared(),
        paused: match job.pause {
            Pause::None if job.definition.policies.suspend => Some("Suspended"),
            Pause::None => None,
            pause => Some(pause.as_str()),
        },
        next_times: next_times(job).into_iter().map(shown).collect(),
        last_run,
        consecutive_failures: job.failures,
        overdue: job.overdue,
        running: activity
            .into_iter()
            .flat_map(|activity| activity.runs.iter().map(|number| key(*number)))
            .collect(),
        waiting: activity.map_or(0, |activity| activity.waiting.len()),
        followers: state.links().of(&job.name).iter().map(|one| one.name.to_string()).collect(),
        note: RulesOver::of(state, job).map(|rules| rules.note()),
    }
}

/// The next seconds of a job.
pub(super) fn next_times(job: &Job) -> Vec<i64> {
    let mut times = vec![];
    if job.next == crate::machine::job::NEVER {
        return times;
    }
    times.push(job.next);
    while times.len() < NEXT_TIMES {
        let last = times.last().copied().unwrap_or(job.next);
        match job.times().and_then(|rule| rule.next_after(last)) {
            Some(next) => times.push(next),
            None => break,
        }
    }
    times
}
