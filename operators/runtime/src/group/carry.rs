//! Carries the steps of a group out and says how the group is.
//!
//! Must not: choose. One step per round; the next round sees what it did.

use std::time::Duration;

use futures::future::join_all;
use orrery_api::Reason;
use orrery_operand::OperandError;
use orrery_operand::v1::Role;
use tracing::{info, warn};

use super::decide::{Kind, Member, Step, Transition, View, decide, is_in_sync};
use super::pulse::{Watched, renewal};
use super::{Grant, Group, LEASE, grant};
use crate::context::Context;
use crate::events::Notice;
use crate::observation::{Failover, FollowerView, GroupView, Observation, is_fenced_by_spec};
use crate::step::GroupError;
use crate::step::report::Reached;
use crate::system::Identity;
use crate::triggers::Triggers;

/// What a round knows of a group before it looks at the processes.
#[derive(Debug, Clone)]
pub struct Plan {
    pub group: Group,
    pub grant: Option<Grant>,
    /// Whether the status says that somebody was primary before.
    pub was_granted: bool,
    /// See [`View::leave_primary`].
    pub leave_primary: bool,
    /// See [`View::replaced`].
    pub replaced: Option<String>,
}

/// What a step did.
#[derive(Debug, Default)]
pub struct Done {
    pub view: GroupView,
    /// Something was changed, or is awaited so soon that the next round should follow at once.
    pub again: bool,
    pub notices: Vec<Notice>,
}

/// One object's round.
pub struct Carrier<'a> {
    pub ctx: &'a Context,
    pub identity: &'a Identity,
    pub system: &'static str,
    pub triggers: &'a std::sync::Arc<Triggers>,
    pub reached: &'a [Reached],
}

impl std::fmt::Debug for Carrier<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Carrier").field("object", &self.identity.name).finish_non_exhaustive()
    }
}

impl Carrier<'_> {
    fn uid(&self) -> &str {
        self.identity.uid.as_deref().unwrap_or_default()
    }

    /// Tells the pulse who holds which grant.
    pub async fn watch(&self, plan: &Plan) -> Result<(), GroupError> {
        let token = self.ctx.token(&self.identity.namespace, self.uid()).await;
        let token = token.map_err(|source| GroupError::Token { source })?;
        let (epoch, holder) = match &plan.grant {
            Some(grant) => (grant.epoch, grant.holder.clone()),
            None => (0, String::new()),
        };
        let watched = Watched {
            namespace: self.identity.namespace.clone(),
            name: self.identity.name.clone(),
            system: self.system,
            group: plan.group.clone(),
            epoch,
            holder,
            token,
            certificates: self.ctx.certificates.clone(),
            triggers: std::sync::Arc::clone(self.triggers),
        };
        self.ctx.pulses.watch(self.uid(), watched);
        Ok(())
    }

    /// Decides and carries one step out.
    pub async fn step(&self, plan: &mut Plan, seen: &Observation) -> Result<Done, GroupError> {
        let members = self.members(&plan.group, seen);
        let transition = self.ctx.pulses.transition(self.uid());
        let step = decide(&View {
            group: &plan.group,
            grant: plan.grant.as_ref(),
            was_granted: plan.was_granted,
            members: &members,
            transition: transition.as_ref(),
            leave_primary: plan.leave_primary,
            replaced: plan.replaced.as_deref(),
        });
        let mut done = Done::default();
        match step {
            Step::Steady { follow } => {
                self.ctx.pulses.set_transition(self.uid(), None);
                done.again = !follow.is_empty();
                self.follow(plan, &members, &follow).await;
            }
            Step::HandOver { from, to, epoch } => {
                self.hand_over(&from, to.clone(), epoch).await;
                let why = format!("{to} takes over from {from}");
                done.view.trouble = Some((Reason::SwitchingOver, why));
                done.again = true;
            }
            Step::FenceFollowers { pods, epoch } => {
                self.fence_followers(&pods, epoch).await;
                let why = "the primary is lost; its followers are being fenced".to_owned();
                done.view.trouble = Some((Reason::NoPrimary, why));
                done.again = true;
            }
            Step::Grant { to, epoch, failover } => {
                self.grant(plan, &members, &to, epoch, failover, &mut done).await?;
            }
            Step::Promote { to, epoch } => {
                if !self.promote(&plan.group, &to, epoch).await? {
                    // It was promoted with this epoch in an earlier life: a higher one is needed.
                    self.grant(plan, &members, &to, epoch + 1, false, &mut done).await?;
                }
                done.again = true;
            }
            Step::Wait { reason, why } => {
                // Lag and what is left of a lease are measured in milliseconds here; the beats of
                // the pulse are too far apart.
                let runs_out = |change: &Transition| {
                    matches!(change.kind, Kind::Failover { .. }) && change.waited < LEASE
                };
                done.again =
                    reason == Reason::SwitchingOver || transition.is_some_and(|t| runs_out(&t));
                done.view.trouble = Some((reason, why));
            }
            Step::Blocked { why } => {
                done.view.trouble = Some((Reason::FailoverBlocked, why));
            }
        }
        Self::describe(plan, &members, &mut done.view);
        Ok(done)
    }

    /// How the group is, without doing anything about it.
    pub fn look(&self, plan: &Plan, seen: &Observation) -> GroupView {
        let mut view = GroupView::default();
        Self::describe(plan, &self.members(&plan.group, seen), &mut view);
        view
    }

    fn members(&self, group: &Group, seen: &Observation) -> Vec<Member> {
        let identity = self.identity;
        let cached = self.ctx.children.pods(&identity.namespace, self.system, &identity.name);
        let cached = |name: &str| cached.iter().find(|pod| pod.view.name == name);
        let pods = seen.pods.iter().map(|pod| {
            if pod.report.is_some() {
                self.ctx.pulses.heard(self.uid(), &pod.name);
            }
            Member {
                address: cached(&pod.name).and_then(|pod| pod.address(group.client_port)),
                secured_address: cached(&pod.name).and_then(|pod| {
                    pod.identity.as_ref()?;
                    pod.address(pod.replication_port?)
                }),
                pod: pod.name.clone(),
                terminating: pod.terminating,
                ready: pod.ready,
                silent: match &pod.report {
                    Some(_) => Duration::ZERO,
                    None => self.ctx.pulses.silent(self.uid(), &pod.name),
                },
                unrenewed: self.ctx.pulses.unrenewed(self.uid(), &pod.name, &self.ctx.gate),
                report: pod.report.clone(),
            }
        });
        pods.collect()
    }

    fn client(&self, pod: &str) -> Option<&Reached> {
        self.reached.iter().find(|reached| reached.pod == pod)
    }

    async fn follow(&self, plan: &Plan, members: &[Member], pods: &[String]) {
        let Some(grant) = &plan.grant else { return };
        let holder = members.iter().find(|member| member.pod == grant.holder);
        let Some(holder) = holder else { return };
        let calls = pods.iter().filter_map(|pod| {
            let (reached, follower) =
                (self.client(pod)?, members.iter().find(|member| member.pod == *pod)?);
            let (address, mutual_tls) = holder.address_for(follower);
            let address = address?.to_owned();
            Some(async move {
                let told = reached.client.follow(0, grant.epoch, address, mutual_tls).await;
                if let Err(error) = told {
                    warn!(pod = reached.pod, %error, "failed to make it follow the primary");
                }
            })
        });
        join_all(calls).await;
    }

    async fn hand_over(&self, from: &str, to: String, epoch: u64) {
        let Some(reached) = self.client(from) else { return };
        match reached.client.fence(0, epoch).await {
            Ok(fenced) => {
                let position = fenced.durable_position;
                info!(from, to, epoch, position, "the primary is fenced for a hand-over");
                let kind = Kind::HandOver { to, position };
                self.ctx.pulses.set_transition(self.uid(), Some((epoch, kind)));
            }
            Err(error) => warn!(from, %error, "failed to fence the primary for a hand-over"),
        }
    }

    async fn fence_followers(&self, pods: &[String], epoch: u64) {
        let calls = pods.iter().filter_map(|pod| self.client(pod)).map(|reached| async move {
            let fenced = reached.client.fence(0, epoch).await;
            fenced.ok().map(|_| reached.pod.clone())
        });
        let fenced: Vec<String> = join_all(calls).await.into_iter().flatten().collect();
        info!(epoch, ?fenced, "followers of a lost primary are fenced");
        self.ctx.pulses.set_transition(self.uid(), Some((epoch, Kind::Failover { fenced })));
    }

    /// Writes the grant, then promotes, then lets the others follow.
    async fn grant(
        &self,
        plan: &mut Plan,
        members: &[Member],
        to: &str,
        epoch: u64,
        failover: bool,
        done: &mut Done,
    ) -> Result<(), GroupError> {
        let before = plan.grant.clone();
        let (client, identity) = (&self.ctx.client, self.identity);
        let written =
            grant::write(client, identity, self.system, before.as_ref(), to, epoch).await?;
        plan.grant = written;
        self.ctx.pulses.set_transition(self.uid(), None);
        self.watch(plan).await?;
        let from = before.map(|grant| grant.holder).unwrap_or_default();
        if from != to {
            let position = members.iter().find(|member| member.pod == to);
            let position = position.and_then(|member| member.report.as_ref());
            let position = position.map_or(0, |report| report.durable_position);
            info!(from, to, epoch, position, failover, "a new primary");
            let note = match from.as_str() {
                "" => format!("{to} is primary under epoch {epoch}"),
                _ => format!("{to} is primary under epoch {epoch} instead of {from}"),
            };
            let notice = if failover { Notice::warning } else { Notice::normal };
            done.notices.push(notice(Reason::NewPrimary, "Promote", note));
            if failover {
                let to = to.to_owned();
                done.view.failover = Some(Failover { from, to, epoch, position });
            }
        }
        done.again = true;
        if self.promote(&plan.group, to, epoch).await? {
            let others = members.iter().filter(|member| member.pod != to);
            let others: Vec<String> = others.map(|member| member.pod.clone()).collect();
            self.follow(plan, members, &others).await;
        }
        Ok(())
    }

    /// False when the process needs a higher epoch.
    async fn promote(&self, group: &Group, pod: &str, epoch: u64) -> Result<bool, GroupError> {
        let Some(reached) = self.client(pod) else { return Ok(true) };
        match reached.client.promote(0, epoch).await {
            Ok(_) => {
                // A promotion gives no lease: without this the first write would wait for a beat.
                if let Ok(report) = reached.client.report().await
                    && let Some(renewal) = renewal(group, epoch, &report, &self.ctx.gate)
                {
                    self.ctx.pulses.heard(self.uid(), pod);
                    _ = reached.client.renew(renewal).await;
                }
                Ok(true)
            }
            Err(OperandError::Fenced { holder }) => {
                warn!(pod, epoch, holder, "the epoch was used before");
                Ok(false)
            }
            Err(error) => {
                // The next round sees whether it took effect.
                warn!(pod, epoch, %error, "failed to promote");
                Ok(true)
            }
        }
    }

    fn describe(plan: &Plan, members: &[Member], view: &mut GroupView) {
        let Some(grant) = &plan.grant else { return };
        let holder = members.iter().find(|member| member.pod == grant.holder);
        let primary = holder.and_then(|member| member.report.as_ref());
        let primary =
            primary.filter(|said| said.role() == Role::Primary && said.epoch == grant.epoch);
        view.primary = Some(grant.holder.clone());
        view.epoch = grant.epoch;
        view.writable = primary.is_some_and(|said| said.writable);
        view.followers = members
            .iter()
            .filter(|member| member.pod != grant.holder)
            .map(|member| {
                let state = match (&member.report, primary) {
                    (Some(said), Some(primary))
                        if is_in_sync(&member.pod, said, grant.epoch, primary) =>
                    {
                        FollowerView::InSync
                    }
                    (Some(said), _) if said.role() == Role::Follower => match &said.link {
                        Some(link) if link.up && link.copy_percent < 100 => FollowerView::Copying,
                        Some(link) if link.up => FollowerView::Behind,
                        _ => FollowerView::Disconnected,
                    },
                    _ => FollowerView::Disconnected,
                };
                (member.pod.clone(), state)
            })
            .collect();
        if view.trouble.is_none() && !view.writable {
            let is_fenced = primary.is_some_and(is_fenced_by_spec);
            let reason = if is_fenced { Reason::FencedBySpec } else { Reason::NoPrimary };
            view.trouble = Some((reason, format!("{} does not take writes yet", grant.holder)));
        }
    }
}
