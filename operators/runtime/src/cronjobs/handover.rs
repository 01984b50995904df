//! What is next about a CronJob whose runs leave no Job. Nothing tells doubles then, so both sides never
//! fire at the same time: one has stopped, and it is known what it decided, before the other begins.
//!
//! | on the way | who fires | what is known |
//! |---|---|---|
//! | its object is there, suspended | its controller | the engine takes what it says |
//! | the CronJob is suspended, and says since when | nobody | its controller has decided all up to then |
//! | the object fires, accepted before the next time | the engine | it decides from then on |
//! | the object has an end | nobody, once that is accepted | all up to the end is decided, and the last run |
//! | `lastScheduleTime` has that, the suspension goes | its controller | it goes on behind it |
//!
//! *In.* Its controller writes `lastScheduleTime` after it made the Job of a time. So when the newest time
//! is there, nothing is on its way; the suspension is written for just that version of the CronJob, and so
//! long before the next time that its controller has surely seen it. The engine is told at once. What was
//! accepted too late for the next time is ended again and given back, and its controller makes up for it.
//!
//! *Out.* The engine decides all that was due when it takes the end, and its answer has the newest run. So
//! everything up to the later of both is decided, and nothing behind it.
//!
//! Must not: look at a cluster or a clock; keep anything. Where a hand-over stands is in the annotations of
//! the CronJob and in the object.

use super::Ran;
use super::decide::{Beside, Stands, Step};
use super::kind::CronJobSeen;

/// So long before the next time its controller must have seen that it is to rest, and the engine begun,
/// in seconds.
const LEAD_SECONDS: i64 = 20;
/// So long before the next time an engine is not told any more to begin, in seconds.
const CUT_SECONDS: i64 = 5;
/// So long after a time nothing is handed over, in seconds.
const SETTLED_SECONDS: i64 = 3;
/// How often is looked for what no change tells, in seconds.
pub(super) const LOOK_SECONDS: i64 = 2;
/// How long a run may go on before it is written into the status that it began, in seconds: most are over
/// by then, and one write says both.
const BEGUN_SECONDS: i64 = 2;

/// A moment, and the times of the rule around it. All in seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub now: i64,
    /// The newest time up to now.
    pub newest: Option<i64>,
    /// The first time after now.
    pub next: Option<i64>,
    /// The first time after the CronJob was stopped.
    pub due: Option<i64>,
}

impl At {
    /// The newest time, unless the controller of the CronJob is done with it.
    pub(super) fn owed(&self, cron_job: &CronJobSeen) -> Option<i64> {
        let settled = cron_job.settled();
        self.newest.filter(|newest| settled.is_none_or(|settled| settled < *newest))
    }
}

/// The object beside a CronJob, where its runs leave no Jobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Jobless {
    pub is_suspended: bool,
    /// It fires up to here and no further: it is on its way out.
    pub until: Option<i64>,
    /// Everything before is decided.
    pub next: Option<i64>,
    pub ran: Option<Ran>,
    /// There is no engine any more that could run it.
    pub is_orphan: bool,
}

impl Jobless {
    fn is_running(&self) -> bool {
        self.ran.as_ref().is_some_and(|ran| !ran.is_over) && !self.is_orphan
    }

    /// The last second that is decided for certain.
    fn decided(&self, until: i64) -> i64 {
        self.ran.as_ref().map_or(until, |ran| ran.nominal.max(until))
    }
}

/// See the module. `is_wanted`: an engine is to run it, and its runs then leave no Jobs.
pub(super) fn decide(
    cron_job: &CronJobSeen,
    is_wanted: bool,
    beside: Option<(&Beside, &Jobless)>,
    at: &At,
) -> Step {
    let is_held = cron_job.adopted_by().is_some();
    let Some((beside, object)) = beside else {
        if is_held {
            // Somebody removed it. What it ran last is not known, but that it runs nothing now.
            return Step::GiveBackBehind(cron_job.stopped_at().unwrap_or(at.now));
        }
        return if is_wanted { Step::Apply } else { Step::Rest };
    };
    if is_held {
        held(cron_job, is_wanted, beside, object, at)
    } else {
        free(cron_job, is_wanted, beside, object, at)
    }
}

/// Its own controller has it.
fn free(
    cron_job: &CronJobSeen,
    is_wanted: bool,
    beside: &Beside,
    object: &Jobless,
    at: &At,
) -> Step {
    if object.until.is_some() || !is_wanted {
        // What waits for its pod would be cancelled with the object.
        return if object.is_running() { Step::Later(LOOK_SECONDS) } else { Step::Remove };
    }
    if !object.is_suspended && beside.stands == Stands::Accepted {
        // It is ours, and somebody wrote over it.
        return Step::Suspend;
    }
    if !beside.is_same {
        return Step::Apply;
    }
    match &beside.stands {
        Stands::Waits => Step::Rest,
        Stands::Refused(why) => Step::Tell(why.clone()),
        Stands::Accepted => take(cron_job, at),
    }
}

/// The engine would take it: its controller is stopped at a moment at which it has decided everything and
/// has nothing to do for a while.
fn take(cron_job: &CronJobSeen, at: &At) -> Step {
    if let Some(why) = cron_job.is_busy() {
        return Step::Tell(why.to_owned());
    }
    if cron_job.is_suspended() {
        return Step::Stop;
    }
    if let Some(newest) = at.owed(cron_job) {
        let deadline = cron_job.spec.starting_deadline_seconds;
        let is_too_late = deadline.is_some_and(|most| newest + most + SETTLED_SECONDS < at.now);
        if !is_too_late {
            return Step::Later(LOOK_SECONDS);
        }
    }
    match at.next {
        Some(next) if next - at.now < LEAD_SECONDS => Step::Later(next - at.now + SETTLED_SECONDS),
        _ if at.newest.is_some_and(|newest| at.now - newest < SETTLED_SECONDS) => {
            Step::Later(SETTLED_SECONDS)
        }
        _ => Step::Stop,
    }
}

/// Its own controller rests.
fn held(
    cron_job: &CronJobSeen,
    is_wanted: bool,
    beside: &Beside,
    object: &Jobless,
    at: &At,
) -> Step {
    if let Some(until) = object.until {
        return match &beside.stands {
            _ if object.is_orphan => Step::GiveBackBehind(object.decided(until)),
            Stands::Waits => Step::Rest,
            // With what it says the engine cannot even be told to end it.
            Stands::Refused(_) => Step::End(until),
            // Beside a run of ours none may begin.
            Stands::Accepted if object.is_running() && !cron_job.may_overlap() => {
                Step::Later(LOOK_SECONDS)
            }
            Stands::Accepted => Step::GiveBackBehind(object.decided(until)),
        };
    }
    if object.is_orphan {
        let until = object.next.map_or(at.now, |next| (next - 1).min(at.now));
        return Step::GiveBackBehind(object.decided(until));
    }
    if let Some(stopped) = cron_job.stopped_at() {
        return begin(cron_job, is_wanted, beside, object, at, stopped);
    }
    if !is_wanted {
        return end(object, at);
    }
    if cron_job.spec.suspend != Some(true) {
        return Step::Suspend;
    }
    if !beside.is_same {
        return Step::Apply;
    }
    match &beside.stands {
        // The engine has what was before, and that fires.
        Stands::Refused(_) => end(object, at),
        Stands::Waits | Stands::Accepted => shown(cron_job, object, at),
    }
}

/// Its controller is stopped, and the engine is to begin before the next time.
fn begin(
    cron_job: &CronJobSeen,
    is_wanted: bool,
    beside: &Beside,
    object: &Jobless,
    at: &At,
    stopped: i64,
) -> Step {
    let user_suspends = cron_job.is_suspended();
    let is_on_trial = object.is_suspended && !(user_suspends && beside.is_same);
    let is_late = !user_suspends && at.due.is_some_and(|due| at.now > due - CUT_SECONDS);
    if !is_wanted || (is_on_trial && is_late) {
        // Of what never fired nothing is decided.
        let behind = Step::GiveBackBehind(object.decided(stopped));
        return if object.is_suspended { behind } else { Step::End(stopped) };
    }
    if !beside.is_same {
        return Step::Apply;
    }
    match &beside.stands {
        Stands::Waits => Step::Later(LOOK_SECONDS),
        // It took that on trial: what it has does not fire.
        Stands::Refused(_) => Step::GiveBackBehind(object.decided(stopped)),
        Stands::Accepted => {
            let has_run = |due: i64| object.ran.as_ref().is_some_and(|ran| ran.nominal >= due);
            let in_time = |due: i64| object.next.is_none_or(|next| next <= due) || has_run(due);
            match at.due {
                Some(due) if !user_suspends && !in_time(due) => Step::End(stopped),
                _ => Step::Suspend,
            }
        }
    }
}

/// The engine is told to end it. What is due and waits for room would be passed over.
fn end(object: &Jobless, at: &At) -> Step {
    match object.next {
        Some(next) if next <= at.now && !object.is_suspended => Step::Later(LOOK_SECONDS),
        _ => Step::End(at.now),
    }
}

/// What the status of the CronJob does not say yet.
fn shown(cron_job: &CronJobSeen, object: &Jobless, at: &At) -> Step {
    let Some(ran) = &object.ran else { return Step::Rest };
    let status = &cron_job.status;
    let last = cron_job.last_scheduled();
    let scheduled = Some(ran.nominal).filter(|nominal| last.is_none_or(|last| last < *nominal));
    let known = status.last_successful_time.as_ref().map(|time| time.0.as_second());
    let succeeded = ran.succeeded.filter(|at| known.is_none_or(|known| known < *at));
    if scheduled.is_none() && succeeded.is_none() {
        return Step::Rest;
    }
    if !ran.is_over && at.now - ran.nominal < BEGUN_SECONDS {
        return Step::Later(BEGUN_SECONDS);
    }
    Step::Show { scheduled, succeeded }
}

#[cfg(test)]
mod tests;
