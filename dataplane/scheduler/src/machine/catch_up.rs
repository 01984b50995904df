//! What becomes of seconds that were missed: which are made up for, and which pass in one go.

use orrery_api::scheduler::CatchUpPolicy;

use super::decide::{MISSED_AFTER_SECONDS, Turn};
use super::definition::CatchUp;
use super::effect::{Effect, SkipReason};
use super::job::{Job, NEVER};
use super::state::StateError;

impl Turn<'_> {
    /// Decides in one go about the seconds that were missed and are not made up for.
    pub(super) fn pass_missed(&mut self, id: u64) -> Result<(), StateError> {
        let Some(job) = self.state().job(id).filter(|job| job.next != NEVER) else { return Ok(()) };
        let Some(times) = job.times().cloned() else { return Ok(()) };
        let policies = &job.definition.policies;
        let behind = MISSED_AFTER_SECONDS + policies.jitter_seconds + policies.flex_seconds;
        let (now_s, after) = (self.now_s(), job.after);
        // Everything up to here was missed.
        let cut = now_s.saturating_sub(behind);
        if job.next > cut {
            return Ok(());
        }
        let catch_up = self.catch_up(job);
        let oldest = now_s.saturating_sub(catch_up.seconds_max.saturating_add(behind));
        let (kept, newest) = match catch_up.policy {
            CatchUpPolicy::Skip => (0, cut),
            // One run for all that is due, be the newest of it missed or not.
            CatchUpPolicy::FireOnce => (1, now_s),
            CatchUpPolicy::FireAll => (catch_up.runs_max, cut),
        };
        if job.next > oldest && times.count_between(after, newest) <= kept {
            return Ok(());
        }
        // The last second that is left out.
        let mut until = newest;
        for _ in 0..kept {
            match times.previous_before(until + 1).filter(|second| *second > after.max(oldest)) {
                Some(second) => until = second - 1,
                None => break,
            }
        }
        let count = times.count_between(after, until);
        if count == 0 {
            return Ok(());
        }
        let reason = SkipReason::CatchUp;
        self.effect(&Effect::SkipRange { id, after, until, count, reason })
    }

    fn catch_up(&self, job: &Job) -> CatchUp {
        let of_engine = self.bounds().catch_up;
        match job.definition.policies.catch_up {
            None => of_engine,
            Some((policy, runs_max, seconds_max)) => CatchUp {
                policy,
                runs_max: runs_max.unwrap_or(of_engine.runs_max),
                seconds_max: seconds_max.unwrap_or(of_engine.seconds_max),
            },
        }
    }
}
