//! Jobs that are declared by objects: the operator gives all of them at once.

use foldhash::{HashMap, HashMapExt as _, HashSet};
use orrery_api::Time;
use orrery_api::scheduler::{DeclaredSchedule, LastRun, RunResult, ScheduleState};
use orrery_operand::v1::{DeclaredObject, ObjectResult, SyncRequest, SyncResponse};

use super::check::{Prepared, Refusal};
use super::details::{NEXT_TIMES, next_times};
use super::leaders::leader_of;
use super::rows::{Expansion, is_of_row, object_of, refusal_of};
use super::{Engine, EngineError, RefusalReason};
use crate::machine::{Ended, Job, Pause};

/// What was declared last.
#[derive(Debug, Default)]
pub(super) struct Held {
    set_hash: String,
    /// What was refused of it, by name: reason and sentence.
    refused: HashMap<String, (String, String)>,
    /// Those whose files have no rows, and make no jobs.
    empty: HashSet<String>,
    /// What the newest change of each brought, by name: generation and words.
    changes: HashMap<String, (i64, String)>,
    /// What new rules of time zones moved.
    moved: super::zones::Moved,
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
            let declared = self.declare(&request.objects, now).await?;
            (held.refused, held.empty) = (declared.refused, declared.empty);
            held.remember(&request.objects, said);
            held.set_hash.clone_from(&request.set_hash);
        }
        let mut states = self.states().await?;
        let none = || ScheduleState { jobs: Some(0), ..ScheduleState::default() };
        states.extend(held.empty.iter().map(|name| (name.clone(), none())));
        for (name, (_, words)) in &held.changes {
            if let Some(state) = states.get_mut(name) {
                state.note = Some(words.clone());
            }
        }
        // The newest speaks for all rows of an object; of the same second, the first by its name.
        let mut moved = self.zone_changes(&mut held.moved).await?;
        moved.sort_by(|(a, at), (b, other)| at.since.cmp(&other.since).then_with(|| b.cmp(a)));
        for (name, change) in moved {
            if let Some(state) = states.get_mut(object_of(&name)) {
                state.zone_change = Some(change);
            }
        }
        let results = request.objects.iter().map(|object| {
            let refused = held.refused.get(&object.name);
            let (reason, message) = refused.cloned().unwrap_or_default();
            let state = states.get(&object.name).filter(|_| refused.is_none());
            ObjectResult {
                namespace: object.namespace.clone(),
                name: object.name.clone(),
                generation: if object.spec.is_empty() { 0 } else { object.generation },
                accepted: refused.is_none(),
                reason,
                message,
                state: state.and_then(|s| serde_json::to_vec(s).ok()).unwrap_or_default(),
                ..ObjectResult::default()
            }
        });
        Ok(SyncResponse { results: results.collect(), set_hash: request.set_hash })
    }

    async fn declare(&self, objects: &[DeclaredObject], now: i64) -> Result<Declared, EngineError> {
        let mut refused = HashMap::new();
        let mut empty = HashSet::default();
        let mut prepared = vec![];
        // A refused object keeps what it was before its change, as one does of which nothing is said.
        let said = |object: &&DeclaredObject| !object.spec.is_empty();
        let unsaid = objects.iter().filter(|object| !said(object));
        let mut kept: HashSet<String> = unsaid.map(|object| object.name.clone()).collect();
        for object in objects.iter().filter(said) {
            match self.prepare(object, now) {
                Ok(jobs) if jobs.is_empty() => _ = empty.insert(object.name.clone()),
                Ok(jobs) => prepared.extend(jobs),
                Err(refusal) => {
                    refused.insert(object.name.clone(), in_words(refusal));
                }
            }
        }
        // One that is gone goes.
        let names: HashSet<String> = prepared.iter().map(|job| job.name.clone()).collect();
        kept.extend(refused.keys().cloned());
        self.remove_others(names, kept).await?;
        let names: Vec<String> = prepared.iter().map(|job| job.name.clone()).collect();
        let results = self.put_prepared(prepared.into_iter().map(Ok).collect()).await?;
        for (name, result) in names.into_iter().zip(results) {
            match result {
                Ok(_) => {}
                Err(EngineError::Refused(refusal)) => {
                    let object = object_of(&name).to_owned();
                    refused.entry(object).or_insert_with(|| in_words(refusal_of(&name, refusal)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Declared { refused, empty })
    }

    /// The jobs of an object: all of them, or why it has none.
    fn prepare(&self, object: &DeclaredObject, now: i64) -> Result<Vec<Prepared>, Refusal> {
        let declared: DeclaredSchedule = serde_json::from_slice(&object.spec)
            .map_err(|error| Refusal::new(RefusalReason::InvalidSpec, error.to_string()))?;
        // Generations begin with 1; local files have none.
        let generation = object.generation.max(1);
        let Some(expansion) = Expansion::of(&object.name, &declared)? else {
            return Ok(vec![self.check(&object.name, declared, generation, now)?]);
        };
        let mut checker = self.checker(now);
        let jobs = expansion.jobs().map(|job| {
            let (name, declared) = job?;
            let checked = checker.check_as(name.clone(), declared, generation);
            checked.map_err(|refusal| refusal_of(&name, refusal))
        });
        jobs.collect()
    }

    /// Removes declared jobs that are neither among `names` nor of an object of `kept`.
    async fn remove_others(
        &self,
        names: HashSet<String>,
        kept: HashSet<String>,
    ) -> Result<(), EngineError> {
        let stay = std::sync::Arc::new((names, kept));
        for handle in self.handles() {
            let stay = std::sync::Arc::clone(&stay);
            let removed = handle.act(move |turn| {
                let (names, kept) = &*stay;
                let stays =
                    |job: &Job| names.contains(&*job.name) || kept.contains(object_of(&job.name));
                let jobs = turn.state().jobs();
                let gone = jobs.filter(|job| job.is_declared() && !stays(job));
                let gone: Vec<u64> = gone.map(|job| job.id).collect();
                gone.into_iter().try_for_each(|id| turn.remove(id))
            });
            removed.await?;
        }
        Ok(())
    }

    /// How the jobs of all objects are, by the name of the object.
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
                let object = object_of(&name).to_owned();
                followed.extend(leader.map(|leader| (object.clone(), leader)));
                if is_of_row(&name) {
                    add(all.entry(object).or_default(), state);
                } else {
                    all.insert(object, state);
                }
            }
        }
        let leaders = followed.iter().map(|(_, leader)| leader.clone()).collect();
        let missing = self.missing(leaders).await?;
        for (object, leader) in followed {
            if let Some(state) = all.get_mut(&object) {
                state.leader_missing |= missing.contains(&leader);
            }
        }
        Ok(all)
    }
}

/// What became of a set of objects.
struct Declared {
    refused: HashMap<String, (String, String)>,
    empty: HashSet<String>,
}

fn in_words(refusal: Refusal) -> (String, String) {
    (refusal.reason.as_str().to_owned(), refusal.message)
}

/// Adds how the job of one row is to how those of all rows are.
fn add(all: &mut ScheduleState, one: ScheduleState) {
    all.jobs = Some(all.jobs.unwrap_or(0).saturating_add(1));
    all.next_times.extend(one.next_times);
    all.next_times.sort_unstable();
    all.next_times.dedup();
    all.next_times.truncate(NEXT_TIMES);
    let started = |run: &Option<LastRun>| run.as_ref().map(|run| run.started);
    if started(&all.last_run) < started(&one.last_run) {
        all.last_run = one.last_run;
    }
    all.consecutive_failures = all.consecutive_failures.max(one.consecutive_failures);
    all.suspended_by_failure |= one.suspended_by_failure;
    all.overdue |= one.overdue;
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
        jobs: None,
        note: None,
        zone_change: None,
    }
}
