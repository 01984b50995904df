//! Jobs by name, and by when they run next. Names are gathered first, so that only the jobs that are
//! shown cost anything.

use std::sync::Arc;

use futures::future::try_join_all;
use serde::Serialize;

use super::details::{details, shown_ms};
use super::{Engine, EngineError, JobDetails};
use crate::machine::job::NEVER;
use crate::machine::{Job, Pause, State};
use crate::run::RunId;

/// Jobs that one answer holds.
const JOBS_MAX: usize = 10_000;

/// Jobs that a partition shows at once.
const PORTION: usize = 100;

/// Which jobs.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Names that begin so.
    pub prefix: String,
    /// Names that have this in them.
    pub search: String,
    /// Behind this name.
    pub after: String,
    /// At most so many.
    pub limit: usize,
    /// Of this tenant alone.
    pub tenant: Option<String>,
    /// Of which this is true.
    pub filter: Option<JobFilter>,
}

/// What may be true of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JobFilter {
    /// The newest run that is over failed.
    Failing,
    /// A run is not over although it should be.
    Overdue,
    /// It does not fire, for whatever reason.
    Paused,
    /// A run is not over.
    Running,
}

/// Jobs by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobsPage {
    pub jobs: Vec<JobDetails>,
    /// Ask on behind this name; left out where nothing is behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// How many jobs fit behind `after`, those on this page included.
    pub total: u64,
}

/// A run to come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upcoming {
    #[serde(skip)]
    at_ms: i64,
    pub at: String,
    pub job: String,
    pub target: String,
}

impl ListQuery {
    fn fits(&self, state: &State, job: &Job) -> bool {
        let tenant = &job.definition.policies.tenant;
        job.name.starts_with(&self.prefix)
            && *job.name > *self.after
            && (self.search.is_empty() || job.name.contains(&self.search))
            && self.tenant.as_ref().is_none_or(|asked| **asked == **tenant)
            && self.filter.is_none_or(|filter| filter.fits(state, job))
    }
}

impl JobFilter {
    fn fits(self, state: &State, job: &Job) -> bool {
        match self {
            Self::Failing => job.failures > 0,
            Self::Overdue => job.overdue,
            Self::Paused => job.pause != Pause::None || job.definition.policies.suspend,
            Self::Running => state.activity(job).is_some(),
        }
    }
}

impl Engine {
    /// Jobs by name.
    pub async fn jobs(&self, query: &ListQuery) -> Result<JobsPage, EngineError> {
        let limit = query.limit.clamp(1, JOBS_MAX);
        let found = self.handles().iter().map(|handle| {
            let query = query.clone();
            handle.look(move |state, _| {
                let mut jobs: Vec<&Job> =
                    state.jobs().filter(|job| query.fits(state, job)).collect();
                let total = jobs.len() as u64;
                if jobs.len() > limit + 1 {
                    jobs.select_nth_unstable_by(limit, |a, b| a.name.cmp(&b.name));
                    jobs.truncate(limit + 1);
                }
                let names: Vec<String> = jobs.iter().map(|job| job.name.to_string()).collect();
                (names, total)
            })
        });
        let found = try_join_all(found).await?;
        let total = found.iter().map(|(_, total)| total).sum();
        let mut names: Vec<String> = found.into_iter().flat_map(|(names, _)| names).collect();
        names.sort_unstable();
        let is_more = names.len() > limit;
        names.truncate(limit);
        let next = names.last().filter(|_| is_more).cloned();
        Ok(JobsPage { jobs: self.named(names).await?, next, total })
    }

    /// Jobs with these names, by name; those that are gone meanwhile are left out.
    async fn named(&self, names: Vec<String>) -> Result<Vec<JobDetails>, EngineError> {
        let mut by_partition: Vec<Vec<String>> = vec![vec![]; self.handles().len()];
        for name in names {
            by_partition[usize::from(self.partition_of(&name))].push(name);
        }
        // In small portions, so that no partition is held up for long.
        let asked = self.handles().iter().zip(&by_partition).flat_map(|(handle, names)| {
            names.chunks(PORTION).map(move |names| (handle, names.to_vec()))
        });
        let asked = asked.map(|(handle, names)| {
            let (resolver, partition) = (Arc::clone(&self.resolver), handle.partition);
            handle.look(move |state, _| {
                let key = |number| resolver.key(RunId { partition, number });
                let jobs = names.iter().filter_map(|name| state.named(name));
                jobs.map(|job| details(state, job, &key)).collect::<Vec<_>>()
            })
        });
        let mut all: Vec<JobDetails> = try_join_all(asked).await?.into_iter().flatten().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The runs that come next, of all jobs, each job once.
    pub async fn upcoming(&self, limit: usize) -> Result<Vec<Upcoming>, EngineError> {
        let limit = limit.clamp(1, JOBS_MAX);
        let found = self.handles().iter().map(|handle| {
            handle.look(move |state, _| {
                let mut jobs: Vec<(i64, &Job)> = state
                    .jobs()
                    .filter(|job| job.next != NEVER && job.fires())
                    .map(|job| (planned_ms(job), job))
                    .collect();
                if jobs.len() > limit {
                    jobs.select_nth_unstable_by_key(limit, |(at_ms, _)| *at_ms);
                    jobs.truncate(limit);
                }
                let runs = jobs.into_iter().map(|(at_ms, job)| Upcoming {
                    at_ms,
                    at: shown_ms(at_ms),
                    job: job.name.to_string(),
                    target: job.definition.policies.target.to_string(),
                });
                runs.collect::<Vec<_>>()
            })
        });
        let mut all: Vec<Upcoming> = try_join_all(found).await?.into_iter().flatten().collect();
        all.sort_unstable();
        all.truncate(limit);
        Ok(all)
    }
}

fn planned_ms(job: &Job) -> i64 {
    job.planned_ms().unwrap_or_else(|| job.next.saturating_mul(1000))
}
