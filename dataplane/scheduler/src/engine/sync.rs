//! Jobs that are declared by objects: the operator gives all of them at once.

use foldhash::{HashMap, HashMapExt as _, HashSet};
use orrery_api::Time;
use orrery_api::scheduler::{DeclaredSchedule, LastRun, RunResult, ScheduleState};
use orrery_operand::v1::{DeclaredObject, ObjectResult, SyncRequest, SyncResponse};

use super::details::next_times;
use super::leaders::leader_of;
use super::{Engine, EngineError};
use crate::machine::{Ended, Job, Pause};

/// What was declared last.
#[derive(Debug, Default)]
pub(super) struct Held {
    set_hash: String,
    /// What was refused of it, by name: reason and sentence.
    refused: HashMap<String, (String, String)>,
    /// What the newest change of each brought, by name: generation and words.
    changes: HashMap<String, (i64, String)>,
}

impl Held {
    /// Keeps the words for objects that are still of that generation.
    fn remember(&mut self, objects: &[DeclaredObject], mut said: HashMap<String, String>) {
        let mut known = std::mem::take(&mut self.changes);
        let kept = objects.iter().filter_map(|object| {
            let generation = object.generation;
            let new = said.remove(&object.name).map(|words| (generation, words));
            let old = || known.remove(&object.name).filter(|(of, _)| *of == generation);
            Some((object.name.clone(), new.or_else(old)?))
        });
        self.changes = kept.collect();
    }
}

impl Engine {
    /// Hash of the set that is carried out; none before the first, and while one is under way.
    pub fn declared_hash_now(&self) -> Option<String> {
        let held = self.declared.try_lock().ok()?;
        Some(held.set_hash.clone()).filter(|hash| !hash.is_empty())
    }

    /// Carries the full set out. A set that is carried out already is answered with how its jobs are.
    pub async fn sync(&self, request: SyncRequest, now: i64) -> Result<SyncResponse, EngineError> {
        let mut held = self.declared.lock().await;
        if held.set_hash.is_empty() || held.set_hash != request.set_hash {
            held.set_hash.clear();
            let said = self.changes_in_words(&request.objects, now).await?;
            held.refused = self.declare(&request.objects, now).await?;
            held.remember(&request.objects, said);
            held.set_hash.clone_from(&request.set_hash);
        }
        let mut states = self.states().await?;
        for (name, (_, words)) in &held.changes {
            if let Some(state) = states.get_mut(name) {
                state.note = Some(words.clone());
            }
        }
        let results = request.objects.iter().map(|object| {
            let refused = held.refused.get(&object.name);
            let (reason, message) = refused.cloned().unwrap_or_default();
            let state = states.get(&object.name).filter(|_| refused.is_none());
            ObjectResult {
                namespace: object.namespace.clone(),
                name: object.name.clone(),
                generation: object.generation,
                accepted: refused.is_none(),
                reason,
                message,
                state: state.and_then(|s| serde_json::to_vec(s).ok()).unwrap_or_default(),
                ..ObjectResult::default()
            }
        });
        Ok(SyncResponse { results: results.collect(), set_hash: request.set_hash })
    }

    async fn declare(
        &self,
        objects: &[DeclaredObject],
        now: i64,
    ) -> Result<HashMap<String, (String, String)>, EngineError> {
        let mut refused = HashMap::new();
        let mut prepared = vec![];
        for object in objects {
            let read = serde_json::from_slice::<DeclaredSchedule>(&object.spec);
            let checked =
                read.map_err(|error| ("InvalidSpec", error.to_string())).and_then(|declared| {
                    // Generations begin with 1; local files have none.
                    self.check(&object.name, declared, object.generation.max(1), now)
                        .map_err(|refusal| (refusal.reason.as_str(), refusal.message))
                });
            match checked {
                Ok(job) => prepared.push(job),
                Err((reason, message)) => {
                    refused.insert(object.name.clone(), (reason.to_owned(), message));
                }
            }
        }
        // A refused object keeps what it was before its change; one that is gone goes.
        let names: HashSet<String> = objects.iter().map(|object| object.name.clone()).collect();
        self.remove_others(names).await?;
        let names: Vec<String> = prepared.iter().map(|job| job.name.clone()).collect();
        let results = self.put_prepared(prepared.into_iter().map(Ok).collect()).await?;
        for (name, result) in names.into_iter().zip(results) {
            match result {
                Ok(_) => {}
                Err(EngineError::Refused(refusal)) => {
                    let reason = refusal.reason.as_str().to_owned();
                    refused.insert(name, (reason, refusal.message));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(refused)
    }

    /// Removes declared jobs that are not among `names`.
    async fn remove_others(&self, names: HashSet<String>) -> Result<(), EngineError> {
        let names = std::sync::Arc::new(names);
        for handle in self.handles() {
            let names = std::sync::Arc::clone(&names);
            let removed = handle.act(move |turn| {
                let jobs = turn.state().jobs();
                let gone = jobs.filter(|job| job.is_declared() && !names.contains(&*job.name));
                let gone: Vec<u64> = gone.map(|job| job.id).collect();
                gone.into_iter().try_for_each(|id| turn.remove(id))
            });
            removed.await?;
        }
        Ok(())
    }

    /// How all declared jobs are, by name.
    async fn states(&self) -> Result<HashMap<String, ScheduleState>, EngineError> {
        let (mut all, mut followed) = (HashMap::new(), vec![]);
        for handle in self.handles() {
            let states = handle.look(|state, _| {
                let jobs = state.jobs().filter(|job| job.is_declared());
                let state_of = |job: &Job| {
                    let leader = leader_of(job).map(str::to_owned);
                    (job.name.to_string(), state_of(job), leader)
                };
                jobs.map(state_of).collect::<Vec<_>>()
            });
            for (name, state, leader) in states.await? {
                followed.extend(leader.map(|leader| (name.clone(), leader)));
                all.insert(name, state);
            }
        }
        let leaders = followed.iter().map(|(_, leader)| leader.clone()).collect();
        let missing = self.missing(leaders).await?;
        for (name, leader) in followed {
            if let Some(state) = all.get_mut(&name) {
                state.leader_missing = missing.contains(&leader);
            }
        }
        Ok(all)
    }
}

fn state_of(job: &Job) -> ScheduleState {
    let second = |at: i64| Time::new(jiff::Timestamp::from_second(at).unwrap_or_default());
    let ms = |at: i64| second(at.div_euclid(1000));
    let last_run = job.last().map(|last| LastRun {
        nominal: second(last.nominal),
        started: Some(ms(last.started_ms)),
        finished: last.ended().map(|(at_ms, _)| ms(at_ms)),
        result: match last.ended() {
            None => RunResult::Running,
            Some((_, Ended::Succeeded)) => RunResult::Succeeded,
            Some((_, Ended::Failed)) => RunResult::Failed,
            Some((_, Ended::Refused)) => RunResult::Refused,
            Some((_, Ended::TimedOut)) => RunResult::TimedOut,
            Some((_, Ended::Cancelled)) => RunResult::Cancelled,
            Some((_, Ended::Expired)) => RunResult::Expired,
        },
    });
    ScheduleState {
        next_times: next_times(job).into_iter().map(second).collect(),
        last_run,
        consecutive_failures: i32::try_from(job.failures).unwrap_or(i32::MAX),
        suspended_by_failure: job.pause == Pause::Failure,
        overdue: job.overdue,
        leader_missing: false,
        note: None,
    }
}
