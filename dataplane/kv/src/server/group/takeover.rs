//! Becoming primary where the journal is carried elsewhere: a process becomes the owner there first,
//! and takes what is carried and not here.
//!
//! It may write only when it is the owner and has everything, and whoever owned it before cannot
//! acknowledge anything from then on. So nobody has to prove what it has: any process will do.

use std::sync::Arc;

use orrery_journal::{Epoch, Owner};
use orrery_operand::OperandError;

use super::Role;
use crate::replication::grants::Took;
use crate::replication::link::{Link, Plan, TakeOver};
use crate::server::Shard;
use crate::server::requests::Granted;

impl Shard {
    /// The whole of a promotion; it is under way until everything is here.
    pub(super) fn promote_by_take_over(&mut self, epoch: u64) -> Result<Granted, OperandError> {
        let group = self.group_mut()?;
        let held = group.grants.held().clone();
        let is_done = epoch == held.promoted && group.grants.is_holder();
        if is_done && group.role == Role::Primary {
            return Ok(self.granted());
        }
        if epoch < held.known || epoch <= held.followed || (epoch <= held.promoted && !is_done) {
            return Err(OperandError::Fenced { holder: held.known });
        }
        self.append_effects();
        self.log.flush();
        if self.log.is_settled() {
            self.take_over_again(epoch)?;
        }
        Ok(Granted { is_under_way: true, ..self.granted() })
    }

    /// Takes over under `epoch`, as whom it did before if it did.
    pub(super) fn take_over_again(&mut self, epoch: u64) -> Result<(), OperandError> {
        let group = self.group_mut()?;
        let is_same = |from: &TakeOver| from.owner.epoch == Epoch(epoch);
        if group
            .link
            .as_ref()
            .is_some_and(|link| link.plan.takes_over.as_ref().is_some_and(is_same))
        {
            return Ok(());
        }
        let took = group.grants.held().took_over.filter(|took| took.epoch == epoch);
        let took = took.unwrap_or_else(|| Took { epoch, token: crate::serve::random() });
        self.change_grants(|held| {
            held.known = held.known.max(epoch);
            held.took_over = Some(took);
        })?;
        self.take_over(Owner { epoch: Epoch(epoch), token: took.token }, None)
    }

    /// Begins to take over. `position_epoch`: what to call the last record instead of its epoch.
    pub(super) fn take_over(
        &mut self,
        owner: Owner,
        position_epoch: Option<u64>,
    ) -> Result<(), OperandError> {
        self.append_effects();
        self.log.flush();
        let unavailable = |error: String| Err(OperandError::Unavailable(error));
        if let Err(error) = self.log.disown() {
            return unavailable(error.to_string());
        }
        if !self.log.is_settled() {
            return unavailable("records of the primary before are not on disk yet".to_owned());
        }
        let Some(carrier) = self.log.carrier().map(Arc::clone) else {
            return unavailable("nothing carries the journal".to_owned());
        };
        let position = self.log.appended();
        let position_epoch =
            position_epoch.unwrap_or_else(|| self.log.history().epoch_at(position));
        let (durable, waker) = (self.log.durable(), Arc::clone(&self.waker));
        let (shard, databases) = (self.id, self.databases);
        let group = self.group_mut()?;
        tracing::info!(epoch = owner.epoch.0, position, carrier = carrier.name(), "taking over");
        group.role = Role::Standby;
        group.has_arrived = false;
        group.peers.close();
        let plan = Plan {
            address: String::new(),
            identity: None,
            epoch: owner.epoch.0,
            name: group.name.clone(),
            token: None,
            data: group.data.clone(),
            shard,
            databases,
            position,
            position_epoch,
            takes_over: Some(TakeOver { carrier, owner }),
        };
        let known = group.grants.held().known;
        let started = Link::start(plan, known, durable, waker);
        group.link = Some(started.map_err(|error| OperandError::Unavailable(error.to_string()))?);
        self.stop_archiving();
        self.set_bar();
        self.publish();
        Ok(())
    }

    /// Takes what comes, and becomes primary once everything is here.
    pub(super) fn look_after_take_over(&mut self) {
        let Some(group) = &self.group else { return };
        let Some(owner) = group.link.as_ref().and_then(|link| link.plan.takes_over.as_ref()) else {
            return;
        };
        let owner = owner.owner;
        if owner.epoch.0 < group.grants.held().known {
            tracing::warn!(epoch = owner.epoch.0, "a later owner is known: it is not taken over");
            if let Some(group) = &mut self.group {
                group.link = None;
            }
            return;
        }
        self.follow_primary();
        let has_arrived = self.group.as_ref().is_some_and(|group| group.has_arrived);
        if has_arrived
            && self.log.is_settled()
            && let Err(error) = self.end_take_over(owner)
        {
            tracing::error!(%error, epoch = owner.epoch.0, "failed to take over: trying again");
            if let Some(group) = &mut self.group {
                (group.link, group.has_arrived) = (None, false);
            }
        }
    }

    /// Another owner has it. An epoch that is used up already is as good as a later one.
    pub(super) fn give_up_take_over(&mut self, held: u64) {
        let Some(group) = self.group.as_deref_mut() else { return };
        let Some(link) = group.link.take() else { return };
        let of = |from: &TakeOver| from.owner.epoch.0;
        let asked = link.plan.takes_over.as_ref().map_or(0, of);
        drop(link);
        self.hear_of(held.max(asked + 1));
        self.set_bar();
        self.publish();
    }

    fn end_take_over(&mut self, owner: Owner) -> Result<(), OperandError> {
        let epoch = owner.epoch.0;
        self.log.own(owner).map_err(|error| OperandError::Unknown(error.to_string()))?;
        self.change_grants(|held| {
            (held.promoted, held.given_up) = (epoch, false);
            (held.recovered, held.partial) = (false, false);
        })?;
        self.become_primary(epoch)
    }
}
