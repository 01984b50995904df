//! Changes that people ask for: jobs put, removed, paused, and runs beside the rule.
//!
//! A change divides time: seconds up to now belong to what the job was, and are decided before it is
//! something else.

use orrery_recurrence::Seconds;

use super::decide::{MISSED_AFTER_SECONDS, Turn};
use super::effect::{Cause, Effect, Pause, Put, SkipReason};
use super::follow::Following;
use super::job::NEVER;
use super::state::StateError;

/// Seconds that a change decides one by one; what is due beyond is passed over.
const SETTLED_MAX: usize = 64;

/// A job as it is to be.
#[derive(Debug, Clone, Copy)]
pub struct Edit<'a> {
    pub name: &'a str,
    /// Text of its definition, see [`super::definition::canonical`].
    pub definition: &'a str,
    pub payload: Option<&'a [u8]>,
    /// Generation of the object that declares it; 0 without one.
    pub generation: i64,
    /// The moment of a job with a single one, so that it is not lost on the way here.
    pub at: Option<Seconds>,
}

/// What becomes of the seconds that are due when a job becomes something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settle {
    /// They pass.
    Skip,
    /// They are launched while there is room.
    Launch,
    /// They are launched: nobody asked for a change.
    LaunchAll,
}

/// What became of an edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edited {
    pub id: u64,
    pub revision: u32,
    pub is_new: bool,
    /// It was so already.
    pub is_same: bool,
}

impl Turn<'_> {
    /// Makes or changes a job. The definition must compile under the zone.
    pub fn put(&mut self, edit: &Edit<'_>, zone: u32) -> Result<Edited, StateError> {
        let Edit { name, definition, payload, generation, at } = *edit;
        let known = self.state().named(name);
        let is_same = known.is_some_and(|job| {
            *job.definition.text == *definition
                && job.definition.zone == zone
                && job.payload() == payload
                && job.generation() == generation
        });
        if let Some(job) = known.filter(|_| is_same) {
            return Ok(Edited { id: job.id, revision: job.revision, is_new: false, is_same });
        }
        let followed = known.and_then(Following::of);
        let (id, revision, is_new, after) = match known.map(|job| job.id) {
            None => (self.state().next_id(), 1, true, self.begins(at)),
            Some(id) => {
                let after = self.settle(id, Settle::Launch)?;
                let revision = self.state().job(id).map_or(0, |job| job.revision);
                (id, revision + 1, false, after)
            }
        };
        let put = Put { id, name, revision, after, generation, definition, payload, zone };
        self.effect(&Effect::Put(put))?;
        let follows = self.state().job(id).and_then(Following::of);
        self.follows_now(followed, follows);
        self.due(id)?;
        Ok(Edited { id, revision, is_new, is_same: false })
    }

    /// The second behind which a new job counts: now, or just before its only moment if that went by
    /// while it was on its way here.
    fn begins(&self, at: Option<Seconds>) -> Seconds {
        let now = self.now_s();
        match at {
            Some(at) if at <= now && now - at <= MISSED_AFTER_SECONDS => at - 1,
            _ => now,
        }
    }

    /// Removes a job. Its runs go on.
    pub fn remove(&mut self, id: u64) -> Result<(), StateError> {
        let after = self.settle(id, Settle::Skip)?;
        let followed = self.state().job(id).and_then(Following::of);
        self.effect(&Effect::Remove { id, after })?;
        self.follows_now(followed, None);
        Ok(())
    }

    /// Pauses a job, or lets it go on; seconds in between are not made up for.
    pub fn pause(&mut self, id: u64, pause: Pause) -> Result<(), StateError> {
        if self.state().job(id).is_none_or(|job| job.pause == pause) {
            return Ok(());
        }
        let after = self.settle(id, Settle::Launch)?;
        self.effect(&Effect::Paused { id, pause, after })?;
        self.due(id)
    }

    /// Removes jobs of the API that are done: their rule names nothing more, and their last run was over
    /// before `before_ms`. Gives how many of at most `most`.
    pub fn sweep(&mut self, before_ms: i64, most: usize) -> Result<usize, StateError> {
        let is_done = |job: &&super::Job| {
            let is_over = match job.last() {
                Some(last) => last.ended().is_some_and(|(at_ms, _)| at_ms < before_ms),
                // Every second of it was passed over.
                None => job.after.saturating_mul(1000) < before_ms,
            };
            let names_more = || job.times().is_none_or(|t| t.next_after(job.after).is_some());
            is_over && !job.is_declared() && job.next == NEVER && job.fires() && !names_more()
        };
        let state = self.state();
        let done = state.jobs().filter(is_done).filter(|job| state.activity(job).is_none());
        let done: Vec<u64> = done.map(|job| job.id).take(most).collect();
        done.iter().try_for_each(|id| self.remove(*id))?;
        Ok(done.len())
    }

    /// Decides every second up to now, whether its planned moment has come or not. Gives the second
    /// behind which the job may be something else.
    pub(super) fn settle(&mut self, id: u64, settle: Settle) -> Result<Seconds, StateError> {
        self.due(id)?;
        let now = self.now_s();
        for _ in 0..SETTLED_MAX {
            let Some(job) = self.state().job(id) else { return Ok(now) };
            let launches = match settle {
                Settle::Skip => false,
                Settle::Launch => self.has_room(id),
                Settle::LaunchAll => true,
            };
            if job.next > now || !launches {
                break;
            }
            let nominal = job.next;
            self.admit_now(id, nominal, Cause::Schedule)?;
        }
        let Some(job) = self.state().job(id) else { return Ok(now) };
        if job.next != NEVER && job.next <= now {
            let after = job.after;
            let count = job.times().map_or(0, |times| times.count_between(after, now));
            let reason = SkipReason::Superseded;
            self.effect(&Effect::SkipRange { id, after, until: now, count, reason })?;
        }
        Ok(self.state().job(id).map_or(now, |job| job.after.max(now)))
    }
}
