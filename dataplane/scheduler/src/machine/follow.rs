//! Turns in which jobs follow others: who does is kept, the ends of runs are told, and what was told
//! brings runs about.

use std::collections::BTreeSet;

use compact_str::CompactString;
use orrery_api::scheduler::AfterResult;

use super::decide::Turn;
use super::effect::{Cause, Effect, Ended, SkipReason};
use super::job::Job;
use super::links::{Trigger, follows};
use super::state::StateError;

/// A job follows another one from now on, or no longer: for the partition of the leader.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Following {
    pub leader: CompactString,
    pub follower: CompactString,
    /// After which runs; none: no longer.
    pub result: Option<AfterResult>,
}

impl Following {
    /// Whom a job follows.
    pub fn of(job: &Job) -> Option<Self> {
        let after = job.definition.after.as_ref()?;
        let leader = after.leader.clone();
        Some(Self { leader, follower: job.name.clone(), result: Some(after.result) })
    }
}

impl Turn<'_> {
    /// A job of another partition, or of this one, follows a job that belongs here.
    pub fn follow(&mut self, following: &Following) -> Result<(), StateError> {
        let Following { leader, follower, result } = following;
        let known = self.state().links().of(leader).iter().find(|known| known.name == *follower);
        if known.map(|known| known.result) == *result {
            return Ok(());
        }
        self.effect(&Effect::Follow { leader, follower, result: *result })
    }

    /// These are all followers of a partition whose leaders belong here; `is_of` knows by their names
    /// which followers are of it.
    pub fn follow_only(
        &mut self,
        all: &[Following],
        is_of: impl Fn(&str) -> bool,
    ) -> Result<(), StateError> {
        let wanted: BTreeSet<(&str, &str)> =
            all.iter().map(|one| (&*one.leader, &*one.follower)).collect();
        let known = self.state().links().followers();
        let gone = known.filter(|(leader, follower)| {
            is_of(&follower.name) && !wanted.contains(&(*leader, &*follower.name))
        });
        let gone: Vec<Following> = gone
            .map(|(leader, follower)| Following {
                leader: leader.into(),
                follower: follower.name.clone(),
                result: None,
            })
            .collect();
        gone.iter().chain(all).try_for_each(|following| self.follow(following))
    }

    /// Whom a job followed before a change and whom it follows now, for the partitions of the leaders.
    pub(super) fn follows_now(&mut self, before: Option<Following>, now: Option<Following>) {
        if before == now {
            return;
        }
        if let Some(before) =
            before.filter(|before| now.as_ref().is_none_or(|now| now.leader != before.leader))
        {
            self.output.followings.push(Following { result: None, ..before });
        }
        self.output.followings.extend(now);
    }

    /// A run of a job ended: every follower of such runs is to be told.
    pub(super) fn tell_followers(
        &mut self,
        id: u64,
        run: u64,
        nominal: i64,
        ended: Ended,
    ) -> Result<(), StateError> {
        let Some(job) = self.state().job(id) else { return Ok(()) };
        let all = self.state().links().of(&job.name).iter();
        let told = all.filter(|follower| follows(follower.result, ended));
        let told: Vec<CompactString> = told.map(|follower| follower.name.clone()).collect();
        for follower in told {
            let sequence = self.state().links().newest() + 1;
            let follower = &*follower;
            self.effect(&Effect::Trigger { id, run, sequence, follower, nominal })?;
            self.output.triggers.push(sequence);
        }
        Ok(())
    }

    /// The end of a run in partition `source` is told to a job of this one. What came before is passed
    /// by.
    pub fn take(&mut self, source: u16, trigger: &Trigger) -> Result<(), StateError> {
        let Trigger { sequence, run, nominal, ended_ms, .. } = *trigger;
        if sequence <= self.state().links().taken(source) {
            return Ok(());
        }
        let follower = self.state().named(&trigger.follower).filter(|job| {
            let after = job.definition.after.as_ref();
            after.is_some_and(|after| after.leader == trigger.leader)
        });
        let id = follower.map_or(0, |job| job.id);
        self.effect(&Effect::Take { source, sequence, id, run, nominal })?;
        let Some(job) = self.state().job(id) else { return Ok(()) };
        let deadline = job.definition.policies.deadline_seconds;
        let late_ms = self.now_ms().saturating_sub(ended_ms);
        let reason = if !job.fires() {
            Some(SkipReason::Paused)
        } else if !job.definition.after.as_ref().is_some_and(|after| after.allows(nominal)) {
            Some(SkipReason::Excluded)
        } else if deadline.is_some_and(|most| late_ms > most.saturating_mul(1000)) {
            Some(SkipReason::Deadline)
        } else {
            None
        };
        let cause = Cause::Dependency;
        match reason {
            Some(reason) => self.effect(&Effect::Decline { id, nominal, cause, reason }),
            None => self.admit(id, nominal, ended_ms, cause),
        }
    }

    /// What was told is on disk where it was told.
    pub fn delivered(&mut self, sequences: &[u64]) -> Result<(), StateError> {
        let waits = |sequence: &&u64| self.state().links().waiting(**sequence).is_some();
        let waiting: Vec<u64> = sequences.iter().filter(waits).copied().collect();
        let mut all = waiting.into_iter();
        all.try_for_each(|sequence| self.effect(&Effect::Delivered { sequence }))
    }
}
