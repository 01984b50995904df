//! Carries the steps of a group out and says how the group is.
//!
//! Must not: choose. One step per group and round; the next round sees what it did.

use std::time::Duration;

use futures::future::join_all;
use orrery_api::Reason;
use orrery_operand::OperandError;
use orrery_operand::v1::Role;
use tracing::{info, warn};

use super::decide::{Kind, Member, Step, Transition, View, decide, is_in_sync};
use super::pulse::{Watched, WatchedGroup, renewal};
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

impl Plan {
    pub fn new(group: Group, grant: Option<Grant>, was_granted: bool) -> Self {
        Self { group, grant, was_granted, leave_primary: false, replaced: None }
    }

    /// Pod that holds the grant.
    pub fn holder(&self) -> Option<&str> {
        self.grant.as_ref().map(|grant| grant.holder.as_str())
    }

    /// Whether a pod of the object belongs to the group: every pod does if there is one group alone,
    /// those that are no longer wanted among them.
    pub fn has(&self, pod: &str) -> bool {
        self.group.home.is_none()
            || self.holder() == Some(pod)
            || self.group.pods.iter().any(|own| own == pod)
    }
}

/// What a step did.
#[derive(Debug, Default)]
struct Done {
    view: GroupView,
    /// Something was changed, or is awaited so soon that the next round should follow at once.
    again: bool,
    notices: Vec<Notice>,
}

/// What the steps of all groups of an object did.
#[derive(Debug, Default)]
pub struct AllDone {
    /// In the order of the plans.
    pub views: Vec<GroupView>,
    /// The next round should follow at once.
    pub again: bool,
    pub notices: Vec<Notice>,
    /// The first step that could not be carried out.
    pub failure: Option<GroupError>,
}

impl AllDone {
    /// Whether every primary takes writes and nothing is under way.
    pub fn is_calm(&self) -> bool {
        let troubled = self.views.iter().any(|view| view.trouble.is_some());
        !troubled && !self.again && self.failure.is_none()
    }
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
    pub async fn watch(&self, plans: &[Plan]) -> Result<(), GroupError> {
        let token = self.ctx.token(&self.identity.namespace, self.uid()).await;
        let token = token.map_err(|source| GroupError::Token { source })?;
        let groups = plans.iter().map(|plan| WatchedGroup {
            group: plan.group.clone(),
            epoch: plan.grant.as_ref().map_or(0, |grant| grant.epoch),
            holder: plan.holder().unwrap_or_default().to_owned(),
        });
        let watched = Watched {
            namespace: self.identity.namespace.clone(),
            name: self.identity.name.clone(),
            system: self.system,
            groups: groups.collect(),
            token,
            certificates: self.ctx.certificates.clone(),
            triggers: std::sync::Arc::clone(self.triggers),
        };
        self.ctx.pulses.watch(self.uid(), watched);
        Ok(())
    }

    /// Decides and carries out one step of every group. One that fails or takes its time keeps no
    /// other from its own.
    pub async fn steps(&self, plans: &mut [Plan], seen: &Observation) -> AllDone {
        let steps = join_all(plans.iter_mut().map(|plan| self.step(plan, seen))).await;
        let several = plans.len() > 1;
        let mut all = AllDone::default();
        for (plan, step) in plans.iter().zip(steps) {
            let done = step.unwrap_or_else(|error| {
                all.failure.get_or_insert(error);
                Done { view: self.look(plan, seen), ..Done::default() }
            });
            all.again |= done.again;
            all.notices.extend(done.notices.into_iter().map(|mut notice| {
                if several {
                    notice.note = format!("shard {}: {}", plan.group.shard, notice.note);
                }
                notice
            }));
            all.views.push(done.view);
        }
        all
    }

    async fn step(&self, plan: &mut Plan, seen: &Observation) -> Result<Done, GroupError> {
        let members = self.members(plan, seen);
        let shard = plan.group.shard;
        let transition = self.ctx.pulses.transition(self.uid(), shard);
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
                self.ctx.pulses.set_transition(self.uid(), shard, None);
                done.again = !follow.is_empty();
                self.follow(plan, &members, &follow).await;
            }
            Step::HandOver { from, to, epoch } => {
                self.hand_over(shard, &from, to.clone(), epoch).await;
                let why = format!("{to} takes over from {from}");
                done.view.trouble = Some((Reason::SwitchingOver, why));
                done.again = true;
            }
            Step::FenceFollowers { pods, epoch } => {
                self.fence_followers(shard, &pods, epoch).await;
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
        Self::describe(plan, &self.members(plan, seen), &mut view);
        view
    }

    /// What is known of the pods that belong to a group, as far as it is about this group.
    fn members(&self, plan: &Plan, seen: &Observation) -> Vec<Member> {
        let (group, identity) = (&plan.group, self.identity);
        let cached = self.ctx.children.pods(&identity.namespace, self.system, &identity.name);
        let cached = |name: &str| cached.iter().find(|pod| pod.view.name == name);
        let pods = seen.pods.iter().filter(|pod| plan.has(&pod.name)).map(|pod| {
            if pod.report.is_some() {
                self.ctx.pulses.heard(self.uid(), &pod.name);
            }
            Member {
                address: cached(&pod.name).and_then(|pod| pod.address(group.client_port)),
                secured_address: cached(&pod.name).and_then(|pod| {
                    pod.identity.as_ref()?;
                    pod.replication_port?;
                    pod.address(group.replication_port)
                }),
                pod: pod.name.clone(),
                terminating: pod.terminating,
                ready: pod.ready,
                silent: match &pod.report {
                    Some(_) => Duration::ZERO,
                    None => self.ctx.pulses.silent(self.uid(), &pod.name),
                },
                unrenewed: self.ctx.pulses.unrenewed(self.uid(), &pod.name, &self.ctx.gate),
                report: pod.report.as_ref().and_then(|report| report.of_shard(group.shard)),
            }
        });
        pods.collect()
    }

    fn client(&self, pod: &str) -> Option<&Reached> {
        self.reached.iter().find(|reached| reached.pod == pod)
    }

    async fn follow(&self, plan: &Plan, members: &[Member], pods: &[String]) {
        let Some(grant) = &plan.grant else { return };
        let shard = plan.group.shard;
        let holder = members.iter().find(|member| member.pod == grant.holder);
        let Some(holder) = holder else { return };
        let calls = pods.iter().filter_map(|pod| {
            let (reached, follower) =
                (self.client(pod)?, members.iter().find(|member| member.pod == *pod)?);
            let (address, mutual_tls) = holder.address_for(follower);
            let address = address?.to_owned();
            Some(async move {
                let told = reached.client.follow(shard, grant.epoch, address, mutual_tls).await;
                if let Err(error) = told {
                    warn!(pod = reached.pod, %error, "failed to make it follow the primary");
                }
            })
        });
        join_all(calls).await;
    }

    async fn hand_over(&self, shard: u32, from: &str, to: String, epoch: u64) {
        let Some(reached) = self.client(from) else { return };
        match reached.client.fence(shard, epoch).await {
            Ok(fenced) => {
                let position = fenced.durable_position;
                info!(shard, from, to, epoch, position, "the primary is fenced for a hand-over");
                let kind = Kind::HandOver { to, position };
                self.ctx.pulses.set_transition(self.uid(), shard, Some((epoch, kind)));
            }
            Err(error) => warn!(shard, from, %error, "failed to fence the primary for a hand-over"),
        }
    }

    async fn fence_followers(&self, shard: u32, pods: &[String], epoch: u64) {
        let calls = pods.iter().filter_map(|pod| self.client(pod)).map(|reached| async move {
            let fenced = reached.client.fence(shard, epoch).await;
            fenced.ok().map(|_| reached.pod.clone())
        });
        let fenced: Vec<String> = join_all(calls).await.into_iter().flatten().collect();
        info!(shard, epoch, ?fenced, "followers of a lost primary are fenced");
        let kind = Kind::Failover { fenced };
        self.ctx.pulses.set_transition(self.uid(), shard, Some((epoch, kind)));
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
        let (client, identity, shard) = (&self.ctx.client, self.identity, plan.group.shard);
        let written =
            grant::write(client, identity, self.system, shard, before.as_ref(), to, epoch).await?;
        plan.grant = written;
        self.ctx.pulses.set_transition(self.uid(), shard, None);
        self.ctx.pulses.set_grant(self.uid(), shard, epoch, to);
        let from = before.map(|grant| grant.holder).unwrap_or_default();
        if from != to {
            let position = members.iter().find(|member| member.pod == to);
            let position = position.and_then(|member| member.report.as_ref());
            let position = position.map_or(0, |report| report.durable_position);
            info!(shard, from, to, epoch, position, failover, "a new primary");
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
        let shard = group.shard;
        match reached.client.promote(shard, epoch).await {
            Ok(_) => {
                // A promotion gives no lease: without this the first write would wait for a beat.
                if let Ok(report) = reached.client.report().await
                    && let Some(report) = report.of_shard(shard)
                    && let Some(renewal) = renewal(group, epoch, &report, &self.ctx.gate)
                {
                    self.ctx.pulses.heard(self.uid(), pod);
                    _ = reached.client.renew(renewal).await;
                }
                Ok(true)
            }
            Err(OperandError::Fenced { holder }) => {
                warn!(pod, shard, epoch, holder, "the epoch was used before");
                Ok(false)
            }
            Err(error) => {
                // The next round sees whether it took effect.
                warn!(pod, shard, epoch, %error, "failed to promote");
                Ok(true)
            }
        }
    }

    fn describe(plan: &Plan, members: &[Member], view: &mut GroupView) {
        view.shard = plan.group.shard;
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
                        if is_in_sync(&plan.group, &member.pod, said, grant.epoch, primary) =>
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
