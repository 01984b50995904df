//! One turn of a partition: what is due is decided, and what follows from it is handed out.
//!
//! Must not: read a clock, send anything, or wait. Everything decided is an effect, applied at once
//! and encoded into the record of the turn; calls may go out only when that record is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::HashMap;
use orrery_api::scheduler::Concurrency;

use super::definition::CatchUp;
use super::effect::{Cause, Effect, Ended, Pause, SkipReason};
use super::follow::Following;
use super::job::{NEVER, Run, Waiting};
use super::notice;
use super::smooth::Ring;
use super::state::{State, StateError};
use super::timer::Timer;
use crate::run::Outcome;

/// A second that is decided later than this after its planned moment was missed: what becomes of it is
/// the job's catch-up. As in Quartz (`misfireThreshold`).
pub const MISSED_AFTER_SECONDS: i64 = 60;
/// Runs of one job that may wait for the one before; as many as a careful reader would still want.
pub const WAITING_MAX: usize = 100;
/// Seconds of one job that one turn decides one by one; the rest follow in the next.
const SECONDS_PER_TURN: usize = 64;
/// Longest note that is kept of an outcome, in bytes.
const NOTE_BYTES_MAX: usize = 256;

/// What the engine says where jobs do not.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub catch_up: CatchUp,
    /// Runs in flight of all jobs together.
    pub running_max: usize,
    /// Runs in flight of one target: a target that hangs must not take all of them.
    pub of_target_max: usize,
    /// Overdue runs that somebody is yet to be told of; 0: nobody is told.
    pub notices_max: usize,
}

/// What follows from a turn.
#[derive(Debug, Default)]
pub struct Output {
    /// The effects, for the journal; empty when nothing happened.
    pub record: Vec<u8>,
    /// What the ledger is to say; begins at the ledger's end before the turn.
    pub ledger: Vec<u8>,
    /// Runs to be handed over once the record is durable.
    pub calls: Vec<u64>,
    /// Runs that are to be cancelled where they are, at once.
    pub cancels: Vec<u64>,
    /// Timers, by their moment in milliseconds.
    pub timers: Vec<(i64, Timer)>,
    /// Runs that are overdue since this turn.
    pub overdue: Vec<u64>,
    /// Overdue runs that nobody is told of, because too many wait or nobody took it for too long.
    pub untold: Vec<u64>,
    /// How late launches are behind their planned moment, in milliseconds.
    pub lateness_ms: Vec<i64>,
    /// Runs that ended in this turn, with the job and the second they were of.
    pub ended: Vec<(u64, i64, Ended)>,
    /// Something changed that statuses of objects show.
    pub is_shown: bool,
    /// Sequences in the outbox that are to be sent once the record is durable.
    pub triggers: Vec<u64>,
    /// Jobs that follow others since this turn, or no longer: to be sent to the leaders' partitions once
    /// the record is durable.
    pub followings: Vec<Following>,
}

/// What a partition knows beside its state and makes again after a restart.
#[derive(Debug, Default)]
pub struct Plans {
    ring: Ring,
    /// Runs in flight by target.
    of_target: HashMap<Arc<str>, usize>,
    /// Jobs that are due and whose target has no room, by target, in order.
    parked: HashMap<Arc<str>, VecDeque<Timer>>,
    /// How often it was tried to tell of an overdue run, of those that were not told.
    tried: HashMap<u64, u32>,
}

impl Plans {
    /// What is in flight according to a state that was recovered.
    pub fn of(state: &State) -> Self {
        let mut plans = Self::default();
        for (_, run) in state.runs() {
            *plans.of_target.entry(Arc::clone(&run.target)).or_default() += 1;
        }
        plans
    }

    /// Jobs that are due and wait for room at their target.
    pub fn parked(&self) -> usize {
        self.parked.values().map(VecDeque::len).sum()
    }

    /// How often it was tried since the start to tell of an overdue run.
    pub fn tries(&self, run: u64) -> u32 {
        self.tried.get(&run).copied().unwrap_or(0)
    }

    /// Forgets what was planned for seconds that are over.
    pub fn forget_before(&mut self, second: i64) {
        self.ring.forget_before(second);
    }
}

/// A turn at one moment.
#[derive(Debug)]
pub struct Turn<'a> {
    state: &'a mut State,
    plans: &'a mut Plans,
    bounds: Bounds,
    now_ms: i64,
    pub output: Output,
}

impl<'a> Turn<'a> {
    pub fn new(state: &'a mut State, plans: &'a mut Plans, bounds: Bounds, now_ms: i64) -> Self {
        Self { state, plans, bounds, now_ms, output: Output::default() }
    }

    pub fn state(&self) -> &State {
        self.state
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Remembers how often it was tried to tell of a run; none: it is over.
    pub(super) fn tried(&mut self, run: u64, attempt: Option<u32>) {
        match attempt {
            Some(attempt) => _ = self.plans.tried.insert(run, attempt),
            None => _ = self.plans.tried.remove(&run),
        }
    }

    pub fn now_s(&self) -> i64 {
        self.now_ms.div_euclid(1000)
    }

    /// Applies an effect and writes it down.
    pub fn effect(&mut self, effect: &Effect<'_>) -> Result<(), StateError> {
        self.output.is_shown |= self.state.is_shown(effect);
        // Applied first: what cannot be applied must not be written.
        self.state.apply(self.now_ms, effect, &mut self.output.ledger)?;
        effect.encode(&mut self.output.record);
        Ok(())
    }

    /// A timer has come.
    pub fn timer(&mut self, timer: Timer) -> Result<(), StateError> {
        match timer {
            Timer::Job { slot, timer } => {
                let job = self.state.at(slot).filter(|job| job.timer == timer);
                let Some(id) = job.map(|job| job.id) else { return Ok(()) };
                self.due(id)
            }
            Timer::Retry { run } => {
                if let Some(run) = notice::run_of(run) {
                    self.tell_again(run);
                    return Ok(());
                }
                let waits = self.state.run(run).and_then(|run| run.retry_at_ms);
                if waits.is_some_and(|at| at <= self.now_ms) {
                    self.effect(&Effect::Retry { run })?;
                    self.output.calls.push(run);
                }
                Ok(())
            }
            Timer::Finish { run } => {
                if self.state.run(run).is_some_and(|run| !run.overdue) {
                    self.effect(&Effect::Overdue { run })?;
                    self.output.overdue.push(run);
                    self.tell_overdue(run)?;
                }
                Ok(())
            }
        }
    }

    /// Decides what is due of a job, and when to look at it again.
    pub fn due(&mut self, id: u64) -> Result<(), StateError> {
        self.pass_missed(id)?;
        for _ in 0..SECONDS_PER_TURN {
            let Some(planned_ms) = self.plan(id) else { return Ok(()) };
            if planned_ms > self.now_ms {
                self.look_again(id, planned_ms);
                return Ok(());
            }
            if !self.has_room(id) {
                self.park(id);
                return Ok(());
            }
            let Some(job) = self.state.job(id) else { return Ok(()) };
            self.plans.ring.done(job, planned_ms);
            let (nominal, late_ms) = (job.next, self.now_ms - planned_ms);
            let deadline = job.definition.policies.deadline_seconds;
            if deadline.is_some_and(|most| late_ms > most.saturating_mul(1000)) {
                self.effect(&Effect::Skip { id, nominal, reason: SkipReason::Deadline })?;
                continue;
            }
            let is_missed = late_ms > MISSED_AFTER_SECONDS * 1000;
            let cause = if is_missed { Cause::CatchUp } else { Cause::Schedule };
            self.admit(id, nominal, planned_ms, cause)?;
        }
        self.look_again(id, self.now_ms);
        Ok(())
    }

    /// When the next second of the job is to be launched; none when there is none.
    fn plan(&mut self, id: u64) -> Option<i64> {
        let job = self.state.job(id).filter(|job| job.next != NEVER)?;
        if let Some(planned_ms) = job.planned_ms() {
            return Some(planned_ms);
        }
        let planned_ms = self.plans.ring.plan(job, job.next);
        self.state.job_mut(id)?.plan(Some(planned_ms));
        Some(planned_ms)
    }

    /// Makes a new timer for the job, and the older ones void.
    fn look_again(&mut self, id: u64, at_ms: i64) {
        if let Some(job) = self.state.job_mut(id) {
            let timer = Timer::of(job);
            self.output.timers.push((at_ms, timer));
        }
    }

    /// Launches, skips, or lets wait, as the job says of runs that overlap.
    pub(super) fn admit(
        &mut self,
        id: u64,
        nominal: i64,
        planned_ms: i64,
        cause: Cause,
    ) -> Result<(), StateError> {
        let Some(job) = self.state.job(id) else { return Ok(()) };
        let activity = self.state.activity(job);
        let running = activity.map(|activity| activity.runs.to_vec()).unwrap_or_default();
        if running.is_empty() {
            return self.launch(id, nominal, planned_ms, cause);
        }
        let waiting = activity.map_or(0, |activity| activity.waiting.len());
        let skip = |reason| {
            if cause.is_scheduled() {
                Effect::Skip { id, nominal, reason }
            } else {
                Effect::Decline { id, nominal, cause, reason }
            }
        };
        match job.definition.policies.concurrency {
            Concurrency::Allow => self.launch(id, nominal, planned_ms, cause),
            Concurrency::Forbid => self.effect(&skip(SkipReason::Overlap)),
            Concurrency::Replace | Concurrency::TerminateOther => {
                for run in running {
                    self.end(run, Ended::Cancelled, "another run took its place")?;
                    self.output.cancels.push(run);
                }
                self.launch(id, nominal, planned_ms, cause)
            }
            Concurrency::CancelOther if waiting == 0 => {
                self.ask_to_stop(&running)?;
                if self.state.job(id).and_then(|job| self.state.activity(job)).is_none() {
                    return self.launch(id, nominal, planned_ms, cause);
                }
                self.effect(&Effect::Wait { id, nominal, cause })
            }
            Concurrency::BufferOne if waiting == 0 => {
                self.effect(&Effect::Wait { id, nominal, cause })
            }
            Concurrency::BufferAll if waiting < WAITING_MAX => {
                self.effect(&Effect::Wait { id, nominal, cause })
            }
            Concurrency::CancelOther | Concurrency::BufferOne | Concurrency::BufferAll => {
                self.effect(&skip(SkipReason::BufferFull))
            }
        }
    }

    /// Cancels runs, which are over when their targets were told. What is between two attempts is over
    /// at once: nobody would tell.
    fn ask_to_stop(&mut self, runs: &[u64]) -> Result<(), StateError> {
        for run in runs {
            if self.state.run(*run).is_some_and(|run| run.retry_at_ms.is_some()) {
                self.end(*run, Ended::Cancelled, "another run takes its place")?;
            } else {
                self.output.cancels.push(*run);
            }
        }
        Ok(())
    }

    fn launch(
        &mut self,
        id: u64,
        nominal: i64,
        planned_ms: i64,
        cause: Cause,
    ) -> Result<(), StateError> {
        let run = self.state.next_run;
        self.effect(&Effect::Launch { id, run, nominal, planned_ms, cause })?;
        if cause == Cause::Schedule {
            self.output.lateness_ms.push(self.now_ms - planned_ms);
        }
        let Some(job) = self.state.job(id) else { return Ok(()) };
        let policies = &job.definition.policies;
        if let Some(within) = policies.finish_within_seconds {
            let begun = self.state.run(run).map_or(planned_ms, Run::due_ms);
            let at_ms = begun.saturating_add(within.saturating_mul(1000));
            self.output.timers.push((at_ms, Timer::Finish { run }));
        }
        let limit = policies.limit_runs;
        *self.plans.of_target.entry(Arc::clone(&policies.target)).or_default() += 1;
        self.output.calls.push(run);
        if limit.is_some_and(|limit| u64::from(job.started) >= limit) && job.pause == Pause::None {
            // What is behind the last run that it may have was never to happen.
            let after = job.after;
            self.effect(&Effect::Paused { id, pause: Pause::Limit, after })?;
        }
        Ok(())
    }

    /// A run that somebody asked for now. Gives its number, or none when it waits or is left out.
    pub fn trigger(
        &mut self,
        id: u64,
        cause: Cause,
        nominal: i64,
    ) -> Result<Option<u64>, StateError> {
        let next = self.state.next_run;
        self.admit(id, nominal, self.now_ms, cause)?;
        Ok((self.state.next_run > next).then_some(next))
    }

    /// What became of an attempt. Outcomes of runs or attempts that are over are passed by.
    pub fn outcome(&mut self, run: u64, attempt: u32, outcome: &Outcome) -> Result<(), StateError> {
        if let Some(run) = notice::run_of(run) {
            return self.told(run, attempt, outcome);
        }
        let known = self.state.run(run);
        let Some(known) = known.filter(|run| run.attempt == attempt && run.retry_at_ms.is_none())
        else {
            return Ok(());
        };
        let (ended, note) = match outcome {
            Outcome::Succeeded { note } => (Ended::Succeeded, note.as_str()),
            Outcome::Failed { note } => (Ended::Failed, note.as_str()),
            Outcome::Refused { note } => (Ended::Refused, note.as_str()),
            Outcome::TimedOut { note } => (Ended::TimedOut, note.as_str()),
            Outcome::Cancelled => (Ended::Cancelled, ""),
            Outcome::Expired => (Ended::Expired, ""),
        };
        let note = &note[..note.floor_char_boundary(NOTE_BYTES_MAX)];
        let policies = self.state.job(known.job).map(|job| &job.definition.policies);
        let again = policies.filter(|policies| {
            attempt < policies.attempts_max && matches!(ended, Ended::Failed | Ended::TimedOut)
        });
        if let Some(policies) = again {
            let doubled = 1_i64.checked_shl(attempt - 1).unwrap_or(i64::MAX);
            let pause = policies.backoff_seconds.saturating_mul(doubled);
            let pause_ms = pause.min(policies.backoff_seconds_max).saturating_mul(1000);
            let retry_at_ms = self.now_ms.saturating_add(pause_ms);
            self.effect(&Effect::AttemptFailed { run, ended, retry_at_ms, note })?;
            self.output.timers.push((retry_at_ms, Timer::Retry { run }));
            return Ok(());
        }
        self.finish(run, ended, note)
    }

    /// An attempt was begun outside of this process.
    pub fn started(&mut self, run: u64, attempt: u32) -> Result<(), StateError> {
        let known = self.state.run(run).filter(|run| run.attempt == attempt && !run.started);
        if known.is_none_or(|run| run.retry_at_ms.is_some()) {
            return Ok(());
        }
        self.effect(&Effect::Started { run })
    }

    /// Cancels a run that somebody no longer wants.
    pub fn cancel(&mut self, run: u64) -> Result<(), StateError> {
        if self.state.run(run).is_none() {
            return Ok(());
        }
        self.output.cancels.push(run);
        self.finish(run, Ended::Cancelled, "somebody asked for it")
    }

    /// Ends a run, and lets the next one begin.
    fn finish(&mut self, run: u64, ended: Ended, note: &str) -> Result<(), StateError> {
        let Some(id) = self.state.run(run).map(|run| run.job) else { return Ok(()) };
        self.end(run, ended, note)?;
        let Some(job) = self.state.job(id) else { return Ok(()) };
        if ended.is_failure()
            && job.definition.policies.pause_on_failure
            && job.pause == Pause::None
        {
            let after = self.settle(id, super::edit::Settle::Skip)?;
            self.effect(&Effect::Paused { id, pause: Pause::Failure, after })?;
        }
        self.next_waiting(id)
    }

    fn next_waiting(&mut self, id: u64) -> Result<(), StateError> {
        let Some(job) = self.state.job(id) else { return Ok(()) };
        let Some(activity) = self.state.activity(job).filter(|a| a.runs.is_empty()) else {
            return Ok(());
        };
        let Some(Waiting { nominal, cause }) = activity.waiting.front().copied() else {
            return Ok(());
        };
        self.launch(id, nominal, nominal.saturating_mul(1000), cause)
    }

    fn end(&mut self, run: u64, ended: Ended, note: &str) -> Result<(), StateError> {
        let Some(known) = self.state.run(run) else { return Ok(()) };
        let (id, nominal, target) = (known.job, known.nominal, Arc::clone(&known.target));
        self.effect(&Effect::End { run, ended, note })?;
        self.output.ended.push((id, nominal, ended));
        self.tell_followers(id, run, nominal, ended)?;
        self.made_room(&target);
        Ok(())
    }

    /// As it was planned for now.
    pub(super) fn admit_now(
        &mut self,
        id: u64,
        nominal: i64,
        cause: Cause,
    ) -> Result<(), StateError> {
        self.admit(id, nominal, self.now_ms, cause)
    }

    pub(super) fn has_room(&self, id: u64) -> bool {
        let Some(job) = self.state.job(id) else { return true };
        let of_target = self.plans.of_target.get(&job.definition.policies.target);
        self.state.running() < self.bounds.running_max
            && of_target.copied().unwrap_or(0) < self.bounds.of_target_max
    }

    /// The job waits, undecided, until its target has room: how late it is then is counted then.
    fn park(&mut self, id: u64) {
        let Some(job) = self.state.job_mut(id) else { return };
        let timer = Timer::of(job);
        let target = job.definition.policies.target.clone();
        self.plans.parked.entry(target).or_default().push_back(timer);
    }

    fn made_room(&mut self, target: &Arc<str>) {
        if let Some(count) = self.plans.of_target.get_mut(target) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.plans.of_target.remove(target);
            }
        }
        // Its own jobs first; and if everything was full, those of any other.
        let key = if self.plans.parked.contains_key(target) {
            Some(Arc::clone(target))
        } else {
            self.plans.parked.keys().next().cloned()
        };
        let Some(key) = key else { return };
        let Some(queue) = self.plans.parked.get_mut(&key) else { return };
        let next = queue.pop_front();
        if queue.is_empty() {
            self.plans.parked.remove(&key);
        }
        if let Some(timer) = next {
            self.output.timers.push((self.now_ms, timer));
        }
    }
}
