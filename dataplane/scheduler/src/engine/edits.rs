//! Changes of jobs by the API: each is durable when it is answered.

use super::check::{Prepared, Refusal, RefusalReason};
use super::{Engine, EngineError};
use crate::machine::{Cause, Edited, Pause};
use crate::partition::Handle;
use crate::run::{Outcome, RunId};

/// Jobs of one request.
pub const JOBS_PER_REQUEST_MAX: usize = 10_000;
/// Runs that one backfill may bring about.
const BACKFILL_MAX: u64 = 1000;

/// A job as the API takes it: a spec under a name.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JobSpec {
    pub name: String,
    pub spec: orrery_api::scheduler::ScheduleSpec,
    /// Texts with days on which it does not fire.
    #[serde(default)]
    pub exclusions: Vec<String>,
}

impl Engine {
    /// Makes or changes jobs. Gives for each, in the order given, what became of it; all that were
    /// taken are durable.
    pub async fn put(
        &self,
        jobs: Vec<JobSpec>,
        now: i64,
    ) -> Result<Vec<Result<Edited, EngineError>>, EngineError> {
        if jobs.len() > JOBS_PER_REQUEST_MAX {
            let message = format!("at most {JOBS_PER_REQUEST_MAX} jobs in one request");
            return Err(EngineError::Invalid(message));
        }
        let mut checker = self.checker(now);
        let prepared = jobs.into_iter().map(|job| checker.check(job)).collect();
        self.put_prepared(prepared).await
    }

    /// As [`Self::put`], of what was checked; what was refused is passed through.
    pub(crate) async fn put_prepared(
        &self,
        mut prepared: Vec<Result<Prepared, Refusal>>,
    ) -> Result<Vec<Result<Edited, EngineError>>, EngineError> {
        self.check_leaders(&mut prepared).await?;
        self.within_quota(&mut prepared).await?;
        let mut results: Vec<Option<Result<Edited, EngineError>>> = vec![];
        let mut by_partition: Vec<Vec<(usize, Prepared)>> = vec![];
        by_partition.resize_with(self.handles().len(), Vec::new);
        for (index, job) in prepared.into_iter().enumerate() {
            match job {
                Ok(job) => {
                    results.push(None);
                    by_partition[usize::from(self.partition_of(&job.name))].push((index, job));
                }
                Err(refusal) => results.push(Some(Err(EngineError::Refused(refusal)))),
            }
        }
        let asked =
            by_partition.into_iter().zip(self.handles()).filter(|(jobs, _)| !jobs.is_empty());
        let asked = asked.map(|(jobs, handle)| {
            handle.act(move |turn| {
                let mut done = Vec::with_capacity(jobs.len());
                for (index, job) in jobs {
                    let known = turn.state().named(&job.name);
                    if let Some(other) =
                        known.filter(|known| known.is_declared() != (job.generation > 0))
                    {
                        done.push((index, Err(conflict(&other.name, other.is_declared()))));
                        continue;
                    }
                    let zone = turn.zone(&job.zone)?;
                    done.push((index, Ok(turn.put(&job.edit(), zone)?)));
                }
                Ok(done)
            })
        });
        for answer in futures::future::join_all(asked).await {
            for (index, result) in answer? {
                results[index] = Some(result);
            }
        }
        let lost = || Err(EngineError::Unavailable(crate::partition::Unavailable::Ended));
        Ok(results.into_iter().map(|result| result.unwrap_or_else(lost)).collect())
    }

    /// Removes a job of the API.
    #[expect(
        clippy::redundant_closure_for_method_calls,
        reason = "the method alone is not general"
    )]
    pub async fn remove(&self, name: &str) -> Result<(), EngineError> {
        self.with_job(name, true, |turn, id| turn.remove(id)).await
    }

    /// Pauses a job, or lets it go on.
    pub async fn pause(&self, name: &str, paused: bool) -> Result<(), EngineError> {
        let pause = if paused { Pause::Asked } else { Pause::None };
        self.with_job(name, false, move |turn, id| turn.pause(id, pause)).await
    }

    /// Runs a job now. Gives the key of the run; none when it waits for another one, or the job's
    /// policy leaves it out.
    pub async fn trigger(&self, name: &str, now: i64) -> Result<Option<String>, EngineError> {
        let run = self
            .with_job(name, false, move |turn, id| turn.trigger(id, Cause::Manual, now))
            .await?;
        let partition = self.partition_of(name);
        Ok(run.map(|number| self.resolver.key(crate::run::RunId { partition, number })))
    }

    /// Runs a job for every second of its rule from `from` to `to`, both included. Gives how many
    /// runs begin or wait.
    pub async fn backfill(&self, name: &str, from: i64, to: i64) -> Result<u64, EngineError> {
        if from > to {
            return Err(EngineError::Invalid(format!("from {from} is behind to {to}")));
        }
        let owned = name.to_owned();
        let looked = self.handle(name).look(move |state, _| {
            let job = state.named(&owned)?;
            Some((job.id, job.times().cloned()))
        });
        let (id, times) = looked.await?.ok_or_else(|| EngineError::NoJob(name.to_owned()))?;
        let Some(times) = times else {
            return Err(EngineError::Invalid(format!("job {name} has no rule")));
        };
        let count = times.count_between(from - 1, to);
        if count > BACKFILL_MAX {
            return Err(EngineError::Invalid(format!(
                "{count} runs lie between {from} and {to}: at most {BACKFILL_MAX} in one request"
            )));
        }
        let done = self.handle(name).act(move |turn| {
            let mut at = from - 1;
            let mut begun = 0;
            while let Some(nominal) = times.next_after(at).filter(|nominal| *nominal <= to) {
                if turn.state().job(id).is_none() {
                    break;
                }
                turn.trigger(id, Cause::Backfill, nominal)?;
                begun += 1;
                at = nominal;
            }
            Ok(begun)
        });
        Ok(done.await?)
    }

    /// Cancels a run.
    pub async fn cancel(&self, key: &str) -> Result<(), EngineError> {
        let none = || EngineError::NoRun(key.to_owned());
        let run = crate::run::RunId::of_key(key).ok_or_else(none)?;
        let handle = self.handles().get(usize::from(run.partition)).ok_or_else(none)?;
        let found = handle.act(move |turn| {
            let found = turn.state().run(run.number).is_some();
            turn.cancel(run.number).map(|()| found)
        });
        if found.await? { Ok(()) } else { Err(none()) }
    }

    /// An attempt of a run was begun outside.
    pub async fn errand_started(&self, key: &str, attempt: u32) -> Result<(), EngineError> {
        let Some((run, handle)) = self.run_of(key) else { return Ok(()) };
        Ok(handle.act(move |turn| turn.started(run.number, attempt)).await?)
    }

    /// How an attempt ended that was carried out outside. Gives its run, once that is durable; none where
    /// the key is of another engine.
    pub async fn errand_ended(
        &self,
        key: &str,
        attempt: u32,
        outcome: Outcome,
    ) -> Result<Option<RunId>, EngineError> {
        let Some((run, handle)) = self.run_of(key) else { return Ok(None) };
        handle.act(move |turn| turn.outcome(run.number, attempt, &outcome)).await?;
        Ok(Some(run))
    }

    fn run_of(&self, key: &str) -> Option<(RunId, &Handle)> {
        let run = RunId::of_key(key).filter(|run| self.resolver.key(*run) == key)?;
        Some((run, self.handles().get(usize::from(run.partition))?))
    }

    /// Does something with a job. Where `owns` is set, it must not be declared by an object.
    async fn with_job<T: Send + 'static>(
        &self,
        name: &str,
        owns: bool,
        act: impl FnOnce(
            &mut crate::machine::Turn<'_>,
            u64,
        ) -> Result<T, crate::machine::state::StateError>
        + Send
        + 'static,
    ) -> Result<T, EngineError> {
        let owned = name.to_owned();
        let done = self.handle(name).act(move |turn| {
            let Some(job) = turn.state().named(&owned) else {
                return Ok(Err(EngineError::NoJob(owned)));
            };
            if owns && job.is_declared() {
                return Ok(Err(EngineError::Declared(owned)));
            }
            let id = job.id;
            act(turn, id).map(Ok)
        });
        done.await?
    }
}

fn conflict(name: &str, is_declared: bool) -> EngineError {
    if is_declared {
        return EngineError::Declared(name.to_owned());
    }
    let message =
        format!("the API made a job {name} before: delete it, or name the object otherwise");
    EngineError::Refused(Refusal::new(RefusalReason::Conflict, message))
}
