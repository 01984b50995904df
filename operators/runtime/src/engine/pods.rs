//! The part of a round that is about pods: who is primary of which shard, and which pod is replaced.
//!
//! Must not: choose. [`crate::rollout`] and [`crate::group::decide`] do, from what was seen.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, Preconditions};
use orrery_api::Reason;
use tracing::info;

use super::{Engine, PodsPlan};
use crate::context::Context;
use crate::events::Notice;
use crate::group::carry::Carrier;
use crate::observation::Observation;
use crate::rollout::{self, Next};
use crate::step::report::Reached;
use crate::step::{GroupError, StepError};
use crate::system::{Identity, System};
use crate::volumes;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct LookedAfter {
    /// The next round should follow at once.
    pub again: bool,
    pub notices: Vec<Notice>,
    pub failure: Option<StepError>,
}

/// Which pod is next.
struct Turn {
    next: Next,
    /// No shard may move to this pod.
    passed_over: Option<String>,
}

impl<S: System> Engine<S> {
    /// Looks after the groups and the age of the pods.
    pub(super) async fn look_after(
        &self,
        object: &S::Kind,
        identity: &Identity,
        pods: &mut PodsPlan,
        seen: &mut Observation,
        reached: &[Reached],
    ) -> LookedAfter {
        let mut done = LookedAfter::default();
        let carried = self.carry_pods(object, identity, pods, seen, reached, &mut done).await;
        done.failure = carried.err().or(done.failure);
        done
    }

    async fn carry_pods(
        &self,
        object: &S::Kind,
        identity: &Identity,
        pods: &mut PodsPlan,
        seen: &mut Observation,
        reached: &[Reached],
        done: &mut LookedAfter,
    ) -> Result<(), StepError> {
        let claims = self.ctx.children.claims(&identity.namespace, S::NAME, &identity.name);
        let misplaced = volumes::class::misplaced(&pods.volumes, &claims);
        let turn = if pods.frozen || pods.kept {
            Turn { next: Next::Nothing, passed_over: None }
        } else {
            self.turn(object, identity, pods, seen, &misplaced)
        };
        let is_group = !pods.groups.is_empty();
        let calm =
            !is_group || self.tend_groups(identity, pods, seen, reached, &turn, done).await?;
        if done.failure.is_some() {
            return Ok(());
        }
        if !pods.volumes.is_empty() {
            seen.growing = volumes::grow(&self.ctx, identity, &pods.volumes, &claims)
                .await?
                .or_else(|| volumes::class::moving(&misplaced, is_group));
        }
        let goes = match turn.next {
            Next::Replace { name, uid } if calm => Some((name, uid)),
            Next::Move { name, uid, volume } if calm => {
                // The claim first: the pod that comes after waits for one of its own.
                let given_up = volumes::class::give_up(&self.ctx, identity, &volume).await?;
                given_up.then_some((name, uid))
            }
            Next::Held(reason, why) => {
                seen.held = Some((reason, why));
                None
            }
            _ => None,
        };
        if let Some((name, uid)) = goes {
            replace(&self.ctx, identity, &name, &uid).await?;
        }
        Ok(())
    }

    /// Brings every group one step further. True when nothing is under way in any of them.
    async fn tend_groups(
        &self,
        identity: &Identity,
        pods: &mut PodsPlan,
        seen: &mut Observation,
        reached: &[Reached],
        turn: &Turn,
        done: &mut LookedAfter,
    ) -> Result<bool, StepError> {
        for plan in &mut pods.groups {
            plan.leave_primary = matches!(
                &turn.next,
                Next::LeavePrimary { name } if plan.holder() == Some(name.as_str())
            );
            plan.replaced.clone_from(&turn.passed_over);
        }
        let (ctx, triggers) = (&*self.ctx, &self.triggers);
        let carrier = Carrier { ctx, identity, system: S::NAME, triggers, reached };
        carrier.watch(&pods.groups).await?;
        if pods.frozen {
            seen.groups = pods.groups.iter().map(|plan| carrier.look(plan, seen)).collect();
            return Ok(true);
        }
        let all = carrier.steps(&mut pods.groups, seen).await;
        let calm = all.is_calm();
        done.again = all.again;
        done.notices = all.notices;
        done.failure = all.failure.map(StepError::from);
        seen.groups = all.views;
        Ok(calm)
    }

    /// Which pod is replaced next.
    fn turn(
        &self,
        object: &S::Kind,
        identity: &Identity,
        pods: &PodsPlan,
        seen: &Observation,
        misplaced: &[volumes::class::Misplaced],
    ) -> Turn {
        let groups = &pods.groups;
        let asked_hash = pods.asked_hash.as_deref();
        let spec = S::engine_spec(object);
        let skipped = spec.map_or(&[][..], |spec| spec.rollout.skip_health_checks.as_slice());
        let (states, wanted) = rollout::states(seen, groups, asked_hash, misplaced, skipped);
        if states.is_empty() {
            return Turn { next: Next::Nothing, passed_over: None };
        }
        let uid = identity.uid.as_deref().unwrap_or_default();
        let turns = &self.ctx.turns;
        let now = jiff::Timestamp::now();
        let allowed = rollout::allowed(spec, seen, now, turns.may(uid));
        let next = rollout::plan(&states, wanted, !groups.is_empty(), &allowed);
        match &next {
            Next::Nothing if rollout::is_over(&states, wanted) => turns.release(uid),
            Next::Replace { .. } | Next::LeavePrimary { .. } if rollout::is_unasked(&states) => {
                turns.take(uid);
            }
            Next::Held(Reason::WaitingForTurn, _) => {
                let key = (identity.namespace.clone(), identity.name.clone());
                turns.wait(uid, key, &self.triggers);
            }
            _ => {}
        }
        let passed_over = rollout::passed_over(&states, &next, groups.len() > 1);
        Turn { next, passed_over }
    }
}

/// Deletes one pod, if it is still the one that was seen.
async fn replace(
    ctx: &Context,
    identity: &Identity,
    name: &str,
    uid: &str,
) -> Result<(), GroupError> {
    let api: Api<Pod> = Api::namespaced(ctx.client.clone(), &identity.namespace);
    let uid = Some(uid.to_owned());
    let same = Preconditions { uid, resource_version: None };
    let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
    match api.delete(name, &params).await {
        Ok(_) => {
            info!(pod = name, "replaced by one of the newest template");
            Ok(())
        }
        // It is gone, or another one by now.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        Err(source) => Err(GroupError::Replace { name: name.to_owned(), source }),
    }
}
