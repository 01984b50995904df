//! The newest runs that failed or were late, of all jobs.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;
use serde::Serialize;

use super::details::{shown, shown_ms};
use super::{Engine, EngineError};
use crate::ledger::Fact;
use crate::machine::Ended;
use crate::run::RunId;

/// Runs that one answer holds.
const RUNS_MAX: usize = 1000;

/// Files of each ledger that are looked through, the newest ones.
const FILES_MAX: usize = 1;

/// The runs, and since when there are no others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recent {
    /// What was asked for, or later where there was more than is looked through.
    pub since: String,
    pub runs: Vec<RecentRun>,
}

/// Which runs.
#[derive(Debug, Clone, Copy)]
pub struct RecentQuery {
    pub filter: RunFilter,
    /// Ended, or launched, since then.
    pub since_ms: i64,
    /// Late is what is launched more than this behind its planned moment.
    pub late_ms: i64,
    pub limit: usize,
}

/// What is true of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RunFilter {
    /// It ended, and not well.
    Failed,
    /// It was launched late.
    Late,
}

/// A run that somebody should know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentRun {
    #[serde(skip)]
    at_ms: i64,
    pub at: String,
    pub key: String,
    /// Left out when the job is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    pub nominal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<&'static str>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A run as it is met in a ledger.
struct Met {
    at_ms: i64,
    job: u64,
    run: u64,
    nominal: i64,
    late_ms: Option<i64>,
    ended: Option<(Ended, String)>,
}

impl Engine {
    /// The newest runs of which something is true, the newest first.
    pub async fn recent(&self, query: RecentQuery) -> Result<Recent, EngineError> {
        let limit = query.limit.clamp(1, RUNS_MAX);
        let mut since_ms = query.since_ms;
        let mut all: Vec<RecentRun> = vec![];
        for handle in self.handles() {
            let whole = handle.look(|_, ledger| ledger.clone()).await?;
            let met = tokio::task::spawn_blocking(move || {
                let ledger = whole.clone().newest(FILES_MAX);
                let is_whole = ledger.oldest() == whole.oldest();
                let known_ms = ledger.oldest_ms()?.filter(|_| !is_whole);
                let mut newest: VecDeque<Met> = VecDeque::new();
                ledger.scan(query.since_ms, |_, entry| {
                    if entry.at_ms >= query.since_ms
                        && let Some(met) = met(&query, entry.at_ms, entry.job, &entry.fact)
                    {
                        // One more than is shown tells that there are more.
                        if newest.len() > limit {
                            newest.pop_front();
                        }
                        newest.push_back(met);
                    }
                    true
                })?;
                Ok::<_, EngineError>((newest, known_ms))
            });
            let (met, known_ms) = met.await??;
            since_ms = since_ms.max(known_ms.unwrap_or(since_ms));
            let (resolver, partition) = (Arc::clone(&self.resolver), handle.partition);
            let ids: Vec<u64> = met.iter().map(|met| met.job).collect();
            let names = handle.look(move |state, _| {
                let named = ids.iter().filter_map(|id| state.job(*id));
                named.map(|job| (job.id, job.name.to_string())).collect::<HashMap<_, _>>()
            });
            let names = names.await?;
            all.extend(met.into_iter().map(|met| {
                let (result, note) = match met.ended {
                    Some((ended, note)) => (Some(ended.as_str()), note),
                    None => (None, String::new()),
                };
                RecentRun {
                    at_ms: met.at_ms,
                    at: shown_ms(met.at_ms),
                    key: resolver.key(RunId { partition, number: met.run }),
                    job: names.get(&met.job).cloned(),
                    nominal: shown(met.nominal),
                    late_ms: met.late_ms,
                    result,
                    note,
                }
            }));
        }
        all.sort_by_key(|run| std::cmp::Reverse(run.at_ms));
        // Of one ledger there may be more than of another.
        all.retain(|run| run.at_ms >= since_ms);
        if let Some(last) = all.get(limit) {
            since_ms = since_ms.max(last.at_ms + 1);
            all.truncate(limit);
        }
        Ok(Recent { since: shown_ms(since_ms), runs: all })
    }
}

fn met(query: &RecentQuery, at_ms: i64, job: u64, fact: &Fact<'_>) -> Option<Met> {
    match (query.filter, fact) {
        (RunFilter::Failed, Fact::Ended { run, nominal, ended, note, .. })
            if *ended != Ended::Succeeded =>
        {
            let ended = Some((*ended, (*note).to_owned()));
            Some(Met { at_ms, job, run: *run, nominal: *nominal, late_ms: None, ended })
        }
        (RunFilter::Late, Fact::Launched { run, nominal, planned_ms, .. })
            if at_ms - planned_ms > query.late_ms =>
        {
            let late_ms = Some(at_ms - planned_ms);
            Some(Met { at_ms, job, run: *run, nominal: *nominal, late_ms, ended: None })
        }
        _ => None,
    }
}
