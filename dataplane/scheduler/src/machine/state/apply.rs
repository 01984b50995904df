//! How effects change a state, and what the ledger is to say of them.

use std::sync::Arc;

use orrery_recurrence::Zone;

use super::{State, StateError};
use crate::ledger::entry::{Entry, Fact};
use crate::machine::effect::{Cause, Effect, Ended, Pause, Put, SkipReason};
use crate::machine::job::{Job, LastRun, Own, Run, Waiting};
use crate::machine::zones::Rules;

impl State {
    /// Applies one effect that happened at `at_ms`, and appends what the ledger is to say of it.
    pub fn apply(
        &mut self,
        at_ms: i64,
        effect: &Effect<'_>,
        ledger: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        match effect {
            Effect::Zone { name, tzif } => {
                let zone = Zone::from_tzif(name, tzif).map_err(|error| StateError::Zone {
                    name: (*name).to_owned(),
                    message: error.to_string(),
                })?;
                self.zones.push(zone);
            }
            Effect::Put(put) => self.put(at_ms, put, ledger)?,
            Effect::Remove { id, after } => self.remove(at_ms, *id, *after, ledger)?,
            Effect::Paused { id, pause, after } => {
                self.close_period(at_ms, *id, *after, ledger)?;
                let job = self.must(*id)?;
                job.pause = *pause;
                if *pause == Pause::None {
                    (job.failures, job.started) = (0, 0);
                }
                job.reset(*after);
            }
            Effect::Launch { id, run, nominal, planned_ms, cause } => {
                let job = self.must(*id)?;
                let revision = job.revision;
                let target = Arc::clone(&job.definition.policies.target);
                if cause.is_scheduled() {
                    job.decided(*nominal);
                }
                job.started = job.started.saturating_add(u32::from(cause.is_of_job()));
                job.set_last(Some(LastRun::new(*nominal, at_ms, None)));
                let begun = Run {
                    job: *id,
                    revision,
                    cause: *cause,
                    nominal: *nominal,
                    planned_ms: *planned_ms,
                    launched_ms: at_ms,
                    attempt: 1,
                    target,
                    retry_at_ms: None,
                    overdue: false,
                    started: false,
                };
                self.next_run = self.next_run.max(run + 1);
                let activity = self.active.entry(*id as u32).or_default();
                let waits =
                    |waiting: &Waiting| waiting.nominal == *nominal && waiting.cause == *cause;
                // What waited begins when nothing else goes on.
                if activity.runs.is_empty() && activity.waiting.front().is_some_and(waits) {
                    activity.waiting.pop_front();
                }
                activity.runs.push(*run);
                self.runs.insert(*run, begun);
                let (run, nominal, planned_ms, cause) = (*run, *nominal, *planned_ms, *cause);
                let fact = Fact::Launched { run, revision, nominal, planned_ms, cause };
                self.note(at_ms, *id, fact, ledger);
            }
            Effect::Retry { run } => {
                let number = *run;
                let run = self.runs.get_mut(&number).ok_or(StateError::NoRun { run: number })?;
                run.attempt += 1;
                run.retry_at_ms = None;
                run.started = false;
                let (job, attempt) = (run.job, run.attempt);
                self.note(at_ms, job, Fact::Retried { run: number, attempt }, ledger);
            }
            Effect::AttemptFailed { run, ended, retry_at_ms, note } => {
                let number = *run;
                let run = self.runs.get_mut(&number).ok_or(StateError::NoRun { run: number })?;
                run.retry_at_ms = Some(*retry_at_ms);
                let (job, attempt) = (run.job, run.attempt);
                let fact = Fact::AttemptFailed { run: number, attempt, ended: *ended, note };
                self.note(at_ms, job, fact, ledger);
            }
            Effect::End { run, ended, note } => self.end(at_ms, *run, *ended, note, ledger)?,
            Effect::Skip { id, nominal, reason } => {
                let job = self.must(*id)?;
                job.decided(*nominal);
                let cause = Cause::Schedule;
                let fact = Fact::Skipped { nominal: *nominal, cause, reason: *reason };
                self.note(at_ms, *id, fact, ledger);
            }
            Effect::SkipRange { id, after, until, count, reason } => {
                self.must(*id)?.decided(*until);
                let (after, until, count, reason) = (*after, *until, *count, *reason);
                self.note(at_ms, *id, Fact::SkippedRange { after, until, count, reason }, ledger);
            }
            Effect::Wait { id, nominal, cause } => {
                let job = self.must(*id)?;
                if cause.is_scheduled() {
                    job.decided(*nominal);
                }
                let waiting = Waiting { nominal: *nominal, cause: *cause };
                self.active.entry(*id as u32).or_default().waiting.push_back(waiting);
            }
            Effect::GiveUp { id, nominal, cause, reason } => {
                self.give_up(
                    at_ms,
                    *id,
                    Waiting { nominal: *nominal, cause: *cause },
                    *reason,
                    ledger,
                );
            }
            Effect::Started { run } => {
                let number = *run;
                let run = self.runs.get_mut(&number).ok_or(StateError::NoRun { run: number })?;
                run.started = true;
            }
            Effect::Overdue { run } => {
                let number = *run;
                let run = self.runs.get_mut(&number).ok_or(StateError::NoRun { run: number })?;
                run.overdue = true;
                let (id, nominal) = (run.job, run.nominal);
                if let Some(job) = self.job_mut(id) {
                    job.overdue = true;
                }
                self.note(at_ms, id, Fact::Overdue { run: number, nominal }, ledger);
            }
            Effect::Notice { run } => self.add_notice(at_ms, *run)?,
            Effect::NoticeOver { run } => _ = self.notices.remove(run),
            Effect::Decline { id, nominal, cause, reason } => {
                let (nominal, cause, reason) = (*nominal, *cause, *reason);
                self.note(at_ms, *id, Fact::Skipped { nominal, cause, reason }, ledger);
            }
            Effect::Follow { leader, follower, result } => {
                self.follow(at_ms, leader, follower, *result, ledger);
            }
            Effect::Trigger { id, run, sequence, follower, nominal } => {
                self.trigger(at_ms, *id, (*run, *sequence, *nominal), follower, ledger)?;
            }
            Effect::Take { source, sequence, id, run, nominal } => {
                self.take(at_ms, *source, *sequence, (*id, *run, *nominal), ledger);
            }
            Effect::Delivered { sequence } => self.delivered(*sequence),
            Effect::UsedUp { sequence } => self.used_up(*sequence),
            Effect::Again { id, run, sequence, follower, nominal, ended_ms } => {
                self.again(*id, (*run, *sequence, *nominal), follower, *ended_ms)?;
            }
            Effect::Rules { from, to, after } => {
                let (from, to, after) = (*from, *to, *after);
                self.change_rules(at_ms, Rules { from, to, after }, ledger)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, at_ms: i64, put: &Put<'_>, ledger: &mut Vec<u8>) -> Result<(), StateError> {
        let zone = self.zones.get(put.zone as usize);
        let zone = Arc::clone(zone.ok_or(StateError::NoZone { zone: put.zone })?);
        let unreadable = |source| StateError::Definition { name: put.name.to_owned(), source };
        let definition =
            self.definitions.get(put.definition, put.zone, &zone).map_err(unreadable)?;
        let times = definition.own_times(put.name, &zone).map_err(unreadable)?;
        let is_new = self.job(put.id).is_none();
        if !is_new {
            self.close_period(at_ms, put.id, put.after, ledger)?;
        }
        let own = Own { times, payload: put.payload.map(Box::from), generation: put.generation };
        let mut old = None;
        if let Some(job) = self.job_mut(put.id) {
            let was_declared = job.is_declared();
            // A change of the spec ends a pause that the engine began, and keeps one that was asked for.
            if job.pause != Pause::Asked {
                job.pause = Pause::None;
            }
            (job.failures, job.started, job.overdue) = (0, 0, false);
            old = Some(std::mem::replace(&mut job.definition, definition));
            job.set_own(own);
            job.revision = put.revision;
            job.reset(put.after);
            self.declared -= usize::from(was_declared);
        } else {
            let mut job = Job::new(put.id, put.name, definition, own);
            job.revision = put.revision;
            (job.since, job.after) = (put.after, put.after);
            self.insert(job);
        }
        if let Some(old) = old {
            self.definitions.release(old);
        }
        self.declared += usize::from(put.generation > 0);
        if let Some(job) = self.job_mut(put.id) {
            job.follow();
            // The definition may plan the same second otherwise.
            job.plan(None);
        }
        Ok(())
    }

    fn remove(
        &mut self,
        at_ms: i64,
        id: u64,
        after: i64,
        ledger: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        self.close_period(at_ms, id, after, ledger)?;
        let slot = id as u32;
        let waiting: Vec<Waiting> =
            self.active.get(&slot).into_iter().flat_map(|active| active.waiting.clone()).collect();
        for waits in waiting {
            self.give_up(at_ms, id, waits, SkipReason::Superseded, ledger);
        }
        // Runs go on without their job.
        self.active.remove(&slot);
        let Some(job) = self.slots.take(slot) else { return Ok(()) };
        let hash = self.hash(&job.name);
        if let Ok(found) = self.by_name.find_entry(hash, |known| *known == slot) {
            found.remove();
        }
        self.free.push(slot);
        self.declared -= usize::from(job.is_declared());
        let Job { definition, .. } = job;
        self.definitions.release(definition);
        Ok(())
    }

    fn end(
        &mut self,
        at_ms: i64,
        number: u64,
        ended: Ended,
        note: &str,
        ledger: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        let run = self.runs.remove(&number).ok_or(StateError::NoRun { run: number })?;
        if let Some(job) = self.job_mut(run.job) {
            match ended {
                Ended::Succeeded => (job.failures, job.overdue) = (0, false),
                Ended::Cancelled => {}
                _ => job.failures = job.failures.saturating_add(1),
            }
            if let Some(last) = job.last().filter(|last| last.nominal == run.nominal) {
                let ended = Some((at_ms, ended));
                job.set_last(Some(LastRun::new(last.nominal, last.started_ms, ended)));
            }
            let slot = run.job as u32;
            if let Some(activity) = self.active.get_mut(&slot) {
                activity.runs.retain(|other| *other != number);
                if activity.runs.is_empty() && activity.waiting.is_empty() {
                    self.active.remove(&slot);
                }
            }
        }
        let (attempt, nominal) = (run.attempt, run.nominal);
        let fact = Fact::Ended { run: number, attempt, nominal, ended, note };
        self.note(at_ms, run.job, fact, ledger);
        Ok(())
    }

    fn give_up(
        &mut self,
        at_ms: i64,
        id: u64,
        waits: Waiting,
        reason: SkipReason,
        ledger: &mut Vec<u8>,
    ) {
        if let Some(activity) = self.active.get_mut(&(id as u32)) {
            let at = activity.waiting.iter().position(|other| *other == waits);
            at.map(|at| activity.waiting.remove(at));
            if activity.runs.is_empty() && activity.waiting.is_empty() {
                self.active.remove(&(id as u32));
            }
        }
        let fact = Fact::Skipped { nominal: waits.nominal, cause: waits.cause, reason };
        self.note(at_ms, id, fact, ledger);
    }

    /// Writes down what a job was, before it is something else behind `until`.
    fn close_period(
        &mut self,
        at_ms: i64,
        id: u64,
        until: i64,
        ledger: &mut Vec<u8>,
    ) -> Result<(), StateError> {
        let job = self.job(id).ok_or(StateError::NoJob { id })?;
        // A paused job has nothing that was to happen, and what never was needs no entry.
        let (definition, pause) = (Arc::clone(&job.definition), job.pause);
        let (name, payload) = (job.name.clone(), job.payload().map(Vec::from));
        let put = Put {
            id,
            name: &name,
            revision: job.revision,
            after: job.since,
            generation: job.generation(),
            definition: &definition.text,
            payload: payload.as_deref(),
            zone: definition.zone,
        };
        self.note(at_ms, id, Fact::Period { put, until, pause }, ledger);
        Ok(())
    }

    pub(in crate::machine) fn note(
        &mut self,
        at_ms: i64,
        id: u64,
        fact: Fact<'_>,
        ledger: &mut Vec<u8>,
    ) {
        let offset = self.ledger_end;
        let before = self.job(id).map(|job| job.chain).filter(|chain| *chain > 0);
        let length = ledger.len();
        Entry { at_ms, job: id, before, fact }.encode(offset, ledger);
        self.ledger_end += (ledger.len() - length) as u64;
        if let Some(job) = self.job_mut(id) {
            job.chain = offset;
        }
    }
}
