//! Changes of role. Each is on disk before it has any effect.

use std::sync::Arc;

use orrery_operand::OperandError;

use super::{Group, Role};
use crate::replication::grants::{GrantsError, Held, Members};
use crate::replication::link::{Link, Plan, Primary};
use crate::server::Shard;
use crate::server::requests::Granted;
use crate::server::waiting::WaitEnd;

/// What `Renew` says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Renewal {
    pub(crate) epoch: u64,
    pub(crate) members: Members,
    /// The token of the report it was sent after.
    pub(crate) said_at: u64,
}

fn unknown(error: &GrantsError) -> OperandError {
    OperandError::Unknown(error.to_string())
}

fn not_in_a_group() -> OperandError {
    OperandError::Unsupported("this process is in no group: its configuration says so".into())
}

impl Shard {
    pub(super) fn group_mut(&mut self) -> Result<&mut Group, OperandError> {
        self.group.as_deref_mut().ok_or_else(not_in_a_group)
    }

    pub(super) fn change_grants(
        &mut self,
        change: impl FnOnce(&mut Held),
    ) -> Result<(), OperandError> {
        let group = self.group_mut()?;
        group.grants.change(change).map_err(|error| unknown(&error))?;
        if let Some(link) = &group.link {
            link.set_known(group.grants.held().known);
        }
        Ok(())
    }

    pub(crate) fn promote_in_group(&mut self, epoch: u64) -> Result<Granted, OperandError> {
        if self.group_mut()?.role == Role::Follower {
            self.look_at_progress();
        }
        if self.log.carrier().is_some() {
            return self.promote_by_take_over(epoch);
        }
        let held = self.group_mut()?.grants.held().clone();
        if epoch < held.known || epoch <= held.promoted || epoch <= held.followed {
            return Err(OperandError::Fenced { holder: held.known });
        }
        // Who has not followed either is the first one, or cannot know better.
        if held.partial && held.followed > 0 {
            let text =
                "this follower has only a part of what its primary had: it takes nobody's place";
            return Err(OperandError::Unavailable(text.into()));
        }
        self.group_mut()?.link = None;
        self.append_effects();
        self.log.promote(epoch).map_err(|error| OperandError::Unknown(error.to_string()))?;
        self.change_grants(|held| {
            (held.known, held.promoted, held.given_up) = (epoch, epoch, false);
            (held.recovered, held.partial) = (false, false);
        })?;
        self.become_primary(epoch)?;
        // Every record here was on the disk of the primary it came from: it is safe to be seen.
        Ok(self.granted())
    }

    pub(super) fn become_primary(&mut self, epoch: u64) -> Result<(), OperandError> {
        let appended = self.log.appended();
        let group = self.group_mut()?;
        tracing::info!(epoch, position = appended, "primary");
        group.role = Role::Primary;
        group.link = None;
        group.peers.begin(epoch);
        // A promotion says nothing of when it was decided: the first renewal gives the lease.
        group.lease.revoke();
        self.begin_archiving(epoch);
        self.set_bar();
        self.publish();
        Ok(())
    }

    /// A primary that comes back may have records that it had not sent to anybody: nobody must see
    /// them before enough followers have them.
    fn hold_back_unconfirmed(&mut self) {
        if self.group.as_ref().is_some_and(|group| group.synchronous() > 0) {
            self.durable = 0;
            self.machine.hold_back(self.log.appended());
        }
    }

    /// Refuses writes under lower epochs.
    pub(crate) fn fence_in_group(&mut self, epoch: u64) -> Result<Granted, OperandError> {
        if epoch > self.group_mut()?.grants.held().known {
            self.change_grants(|held| held.known = epoch)?;
        }
        self.step_down();
        Ok(self.granted())
    }

    /// A primary that has heard of a later epoch is none any more.
    fn step_down(&mut self) {
        let Some(group) = &mut self.group else { return };
        if group.role != Role::Primary || group.grants.is_holder() {
            return;
        }
        let held = group.grants.held();
        tracing::warn!(epoch = held.promoted, known = held.known, "fenced");
        group.role = Role::Fenced;
        self.stop_archiving();
        self.replicas.close();
        self.watchers.close();
        self.append_effects();
        self.end_all_waits(WaitEnd::RoleChanged);
        self.set_bar();
    }

    /// Somebody mentioned a later epoch.
    pub(crate) fn hear_of(&mut self, epoch: u64) {
        if let Err(error) = self.fence_in_group(epoch) {
            // It may not write either way: its disk cannot even take a number.
            tracing::error!(%error, epoch, "failed to remember an epoch");
            if let Some(group) = &mut self.group {
                group.lease.revoke();
            }
        }
    }

    pub(crate) fn follow(&mut self, epoch: u64, primary: Primary) -> Result<Granted, OperandError> {
        let group = self.group_mut()?;
        if primary.mutual_tls && group.identity.is_none() {
            return Err(OperandError::Unsupported("this process has no certificate".into()));
        }
        let held = group.grants.held().clone();
        if epoch < held.known || epoch == held.promoted {
            return Err(OperandError::Fenced { holder: held.known });
        }
        let is_same = |link: &Link| link.plan.primary() == primary && link.plan.epoch == epoch;
        if group.role == Role::Follower && group.link.as_ref().is_some_and(is_same) {
            return Ok(self.granted());
        }
        self.change_grants(|held| {
            // Whatever is here was never this group's.
            held.partial |= held.is_new();
            held.known = held.known.max(epoch);
            held.followed = held.followed.max(epoch);
        })?;
        self.step_down();
        // What it had under way as a primary is carried or never will be: a restart shows which.
        self.log.disown().map_err(|error| OperandError::Unavailable(error.to_string()))?;
        self.become_follower(epoch, primary, None)?;
        Ok(self.granted())
    }

    /// Begins to follow. `position_epoch`: what to call the last record instead of its epoch.
    pub(super) fn become_follower(
        &mut self,
        epoch: u64,
        primary: Primary,
        position_epoch: Option<u64>,
    ) -> Result<(), OperandError> {
        let position = self.log.appended();
        let is_recovered = self.group_mut()?.grants.held().recovered;
        // Epochs of what came from an archive are those of another group.
        let position_epoch = position_epoch.or(is_recovered.then_some(u64::MAX));
        let position_epoch =
            position_epoch.unwrap_or_else(|| self.log.history().epoch_at(position));
        let (durable, waker) = (self.log.durable(), Arc::clone(&self.waker));
        let (shard, databases) = (self.id, self.databases);
        let was_follower = {
            let group = self.group_mut()?;
            let was_follower = group.role == Role::Follower;
            let Primary { address, mutual_tls } = primary;
            tracing::info!(epoch, address, mutual_tls, position, "follower");
            group.role = Role::Follower;
            group.is_complete &= was_follower;
            group.complete_at = None;
            group.goodbye = None;
            group.peers.close();
            let plan = Plan {
                address,
                identity: group.identity.clone().filter(|_| mutual_tls),
                epoch,
                name: group.name.clone(),
                token: group.token.clone(),
                data: group.data.clone(),
                shard,
                databases,
                position,
                position_epoch,
                takes_over: None,
            };
            let known = group.grants.held().known;
            group.link = Some(
                Link::start(plan, known, durable, waker)
                    .map_err(|error| OperandError::Unavailable(error.to_string()))?,
            );
            was_follower
        };
        self.stop_archiving();
        if !was_follower {
            // Nobody keeps them up to date here, and replies must not show them.
            self.machine.drop_caches();
        }
        self.set_bar();
        self.publish();
        Ok(())
    }

    /// After a copy was taken over: goes on following where it is now.
    pub(crate) fn resume_following(&mut self) {
        let Some(group) = &mut self.group else { return };
        group.has_copy = false;
        let Some(plan) = group.link.take().map(|link| link.plan.clone()) else { return };
        let resumed = match &plan.takes_over {
            Some(from) => self.take_over(from.owner, None),
            None => self.become_follower(plan.epoch, plan.primary(), None),
        };
        if let Err(error) = resumed {
            tracing::error!(%error, "failed to go on following");
        }
    }

    pub(crate) fn renew(&mut self, renewal: Renewal) -> Result<u64, OperandError> {
        let Renewal { epoch, members, said_at } = renewal;
        self.group_mut()?;
        self.change_grants(|held| {
            held.known = held.known.max(epoch);
            held.members = Some(members);
        })?;
        self.step_down();
        let group = self.group_mut()?;
        group.apply_members();
        let known = group.grants.held().known;
        if epoch == known && group.grants.is_holder() && epoch == group.grants.held().promoted {
            let is_standby = group.role == Role::Standby;
            match self.log.carrier() {
                Some(_) if is_standby => self.take_over_again(epoch)?,
                None if is_standby => {
                    self.become_primary(epoch)?;
                    self.hold_back_unconfirmed();
                }
                _ => {}
            }
            let group = self.group_mut()?;
            if group.role == Role::Primary
                && let Some(asked_ms) = group.moments.read(said_at)
            {
                group.lease.confirm(asked_ms);
            }
        }
        self.set_bar();
        Ok(known)
    }
}
