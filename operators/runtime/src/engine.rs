//! A round of an engine kind: dereference → validate → build → apply → report.
//!
//! Must not: know a system. The first, fourth and fifth step hold a client; the second and third
//! are the system's own pure functions.

pub mod farewell;
mod pods;
mod released;
mod welcome;

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use kube::Resource;
use kube::api::Api;
use orrery_api::spec::RecoveredFrom;
use orrery_api::{CommonStatus, ConditionType, Reason, Time, condition};
use tracing::warn;

use crate::cache::Cache;
use crate::context::Context;
use crate::controller::{Guarded, Next, Reconcile};
use crate::cronjobs::is_held;
use crate::events::{Events, Notice};
use crate::group::Group;
use crate::group::carry::Plan;
use crate::group::grant::{self, GrantError};
use crate::listen;
use crate::release;
use crate::routes::{self, Place};
use crate::status::{Facts, Progress, is_settled, summarise};
use crate::step::report::{
    DeclaredSource, Reached, StatusMemory, declared_to, observe, sync, write_status,
};
use crate::step::{ApplyError, Class, GroupError, StepError, apply, dereference};
use crate::system::{Carrier, Identity, Mode, Object, Refusal, System};
use crate::triggers::Triggers;
use crate::volumes;

/// The controller of one engine kind.
pub struct Engine<S: System> {
    pub(crate) ctx: Arc<Context>,
    pub(crate) events: Events,
    pub(crate) cache: Cache<Guarded<S::Kind>>,
    pub(crate) triggers: Arc<Triggers>,
    pub(crate) sources: Mutex<Vec<Arc<dyn DeclaredSource>>>,
    pub(crate) statuses: StatusMemory<S::Status>,
}

impl<S: System> std::fmt::Debug for Engine<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("system", &S::NAME).finish_non_exhaustive()
    }
}

/// What the steps before the report did.
struct Carried {
    progress: Progress,
    notices: Vec<Notice>,
    pods: PodsPlan,
    recovered_from: Option<RecoveredFrom>,
    missing_release: Option<String>,
}

impl Carried {
    /// Nothing was written.
    fn nothing(progress: Progress, pods: PodsPlan) -> Self {
        let notices = Vec::new();
        Self { progress, notices, pods, recovered_from: None, missing_release: None }
    }
}

/// What is to become of the pods in the rest of the round.
#[derive(Default)]
struct PodsPlan {
    /// The primary and its followers of each shard, if the object has some.
    groups: Vec<Plan>,
    /// Where the shards are, if the processes are to know.
    places: Vec<Place>,
    /// Nothing may be changed; groups still keep their pulse.
    frozen: bool,
    /// No pod may be replaced.
    kept: bool,
    /// Pods of this template hash differ by the release alone.
    asked_hash: Option<String>,
    /// Sizes of the volumes.
    volumes: Vec<volumes::Wanted>,
}

impl<S: System> Reconcile<S::Kind> for Engine<S> {
    fn round<'a>(&'a self, object: &'a S::Kind) -> BoxFuture<'a, Result<Next, StepError>> {
        self.reconcile(object).boxed()
    }

    fn malformed<'a>(&'a self, object: &'a Guarded<S::Kind>, why: &'a str) -> BoxFuture<'a, ()> {
        tell_malformed(&self.events, object, why).boxed()
    }
}

impl<S: System> Engine<S> {
    async fn reconcile(&self, object: &S::Kind) -> Result<Next, StepError> {
        let ctx = &*self.ctx;
        let options = &ctx.options;
        let identity = Identity {
            secured: options.authority.as_ref().is_some_and(|authority| authority.gives),
            ..Identity::of(object, &options.image, &options.version, Carrier::Cluster)
        };
        if object.meta().deletion_timestamp.is_some() {
            let told = !is_held(object) || self.tell_declared(object, &identity).await?;
            let next = self.farewell(object, &identity).await?;
            return Ok(if told { next } else { Next::Soon });
        }
        let mode = S::mode(object);
        if mode != Mode::Pause && self.statuses.newest(object, S::status(object)).is_none() {
            return self.welcome(object, &identity, mode).await;
        }
        if let Some(refusal) = self.newer_release(object) {
            let pods = self.standing(object, &identity, mode).await;
            let carried = Carried::nothing(Progress::Refused(refusal), pods);
            // Nothing is synced either, as while paused.
            return self.report(object, &identity, Mode::Pause, carried).await;
        }
        let carried = match mode {
            Mode::Pause => {
                let pods = self.standing(object, &identity, mode).await;
                Ok(Carried::nothing(Progress::Paused, pods))
            }
            Mode::Run | Mode::Hibernate | Mode::Fence => {
                self.carry_out(object, &identity, mode).await
            }
        };
        let (carried, failure) = match carried {
            Ok(carried) => (carried, None),
            // Nothing that was found is about the object that is stored; the watch brings it.
            Err(error @ StepError::Apply(ApplyError::Outdated)) => return Err(error),
            Err(error) => {
                let progress = error.progress();
                let pods = self.standing(object, &identity, mode).await;
                (Carried::nothing(progress, pods), Some(error))
            }
        };
        let reported = self.report(object, &identity, mode, carried).await;
        match failure {
            None => reported,
            // Said in the status; nothing is tried until something changes.
            Some(error) if error.class() == Class::InvalidSpec => {
                reported?;
                // Certificates end, and what is referred to changes, without a watch showing it.
                let may_rest = S::references(object).is_empty() && !identity.secured;
                Ok(if may_rest { Next::OnChange } else { Next::AtRest })
            }
            Some(error) => Err(error),
        }
    }

    /// An engine that is kept until adopted CronJobs are given back must hear what becomes of them. True
    /// when its processes know everything.
    async fn tell_declared(
        &self,
        object: &S::Kind,
        identity: &Identity,
    ) -> Result<bool, StepError> {
        let mode = S::mode(object);
        if mode != Mode::Run {
            return Ok(true);
        }
        let groups = self.standing(object, identity, mode).await.groups;
        let (seen, reached) = observe(&self.ctx, identity, S::NAME, !groups.is_empty()).await?;
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let owners = declared_to(&groups, &seen, &reached);
        let synced = sync(&self.ctx, identity, &sources, &owners).await;
        self.listen(object, identity, &reached, synced.objects);
        Ok(synced.complete)
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.ctx.forget(uid);
        self.statuses.forget(uid);
    }

    /// Steps 1 and 2.
    async fn prepare(
        &self,
        object: &S::Kind,
        identity: &Identity,
    ) -> Result<S::Validated, StepError> {
        let references = S::references(object);
        let found = dereference::dereference(&self.ctx, &identity.namespace, &references).await?;
        Ok(S::validate(object, &S::Inputs::from(found), identity.carrier)?)
    }

    /// Steps 1 to 4.
    async fn carry_out(
        &self,
        object: &S::Kind,
        identity: &Identity,
        mode: Mode,
    ) -> Result<Carried, StepError> {
        let validated = self.prepare(object, identity).await?;
        let (mut identity, missing_release) = self.released(object, identity, &validated).await?;
        self.hold(object, &identity).await?;
        let groups = self.groups(object, &identity, &validated).await?;
        identity.primaries = groups.iter().filter_map(Plan::holder).map(str::to_owned).collect();
        let places = S::places(&validated, &identity);
        let mut prepared = S::build(&validated, &identity);
        prepared.mark_asked(&S::build(&validated, &identity.unreleased()));
        let asked_hash = prepared.asked_hash();
        let volumes = volumes::wanted(&prepared.stateful_sets);
        if mode == Mode::Hibernate {
            prepared = prepared.hibernated();
        }
        let desired_hash = prepared.hash();
        let outcome =
            Box::pin(apply::apply(&self.ctx, &identity, prepared, self.look(&identity))).await?;
        let progress = match mode {
            Mode::Hibernate => Progress::Hibernated { desired_hash },
            Mode::Fence => Progress::Fenced {
                desired_hash,
                replicas_wanted: outcome.resources.replicas_wanted(),
            },
            _ => Progress::Applied {
                desired_hash,
                replicas_wanted: outcome.resources.replicas_wanted(),
            },
        };
        let pods = match mode {
            Mode::Hibernate => PodsPlan { frozen: true, ..PodsPlan::default() },
            Mode::Fence => PodsPlan { groups, places, kept: true, ..PodsPlan::default() },
            _ => PodsPlan { groups, places, asked_hash, volumes, ..PodsPlan::default() },
        };
        let recovered_from = S::recovered_from(&validated).cloned();
        Ok(Carried { progress, notices: outcome.notices, pods, recovered_from, missing_release })
    }

    /// Looks at the object as it is stored, once it is polled.
    fn look(&self, identity: &Identity) -> apply::Look<'static> {
        let api: Api<S::Kind> = Api::namespaced(self.ctx.client.clone(), &identity.namespace);
        let name = identity.name.clone();
        async move { Ok(api.get_metadata_opt(&name).await?.map(|live| live.metadata)) }.boxed()
    }

    /// A newer operator has looked after the object: what it made is not ours to judge.
    fn newer_release(&self, object: &S::Kind) -> Option<Refusal> {
        let status = self.statuses.newest(object, S::status(object))?;
        let theirs = S::common(&status).operator_version.as_deref()?;
        let ours = &self.ctx.options.version;
        release::is_older(ours, theirs).then(|| {
            let why = format!(
                "operator {theirs} carried this object out, and this one is {ours}: nothing is \
                 changed until {theirs} or a newer one runs"
            );
            Refusal::object(Reason::UnsupportedVersion, why)
        })
    }

    /// Nothing changes, whatever the reason: but a primary's lease must still be renewed.
    async fn standing(&self, object: &S::Kind, identity: &Identity, mode: Mode) -> PodsPlan {
        if let Err(error) = apply::keep(&self.ctx, identity).await {
            warn!(%error, "the certificate is not renewed");
        }
        let none = PodsPlan { frozen: true, ..PodsPlan::default() };
        if mode == Mode::Hibernate {
            return none;
        }
        let groups = S::standing_groups(object, identity);
        // Without the grants nobody can be told anything; the next round reads them again.
        let Ok(groups) = self.plans(object, identity, groups).await else { return none };
        PodsPlan { groups, places: S::standing_places(object, identity), ..none }
    }

    /// The groups of an object with followers, and who has the grants.
    async fn groups(
        &self,
        object: &S::Kind,
        identity: &Identity,
        validated: &S::Validated,
    ) -> Result<Vec<Plan>, StepError> {
        let groups = S::groups(validated, identity);
        if groups.is_empty() {
            self.ctx.pulses.rest(identity.uid.as_deref().unwrap_or_default());
        }
        Ok(self.plans(object, identity, groups).await.map_err(GroupError::from)?)
    }

    async fn plans(
        &self,
        object: &S::Kind,
        identity: &Identity,
        groups: Vec<Group>,
    ) -> Result<Vec<Plan>, GrantError> {
        let plans = groups.into_iter().map(|group| async move {
            let grant = grant::read(&self.ctx.client, identity, S::NAME, group.shard).await?;
            let status = S::status(object);
            let was_granted = status.is_some_and(|status| S::was_granted(status, group.shard));
            Ok(Plan::new(group, grant, was_granted))
        });
        try_join_all(plans).await
    }

    /// Step 5.
    async fn report(
        &self,
        object: &S::Kind,
        identity: &Identity,
        mode: Mode,
        carried: Carried,
    ) -> Result<Next, StepError> {
        let Carried { progress, mut notices, mut pods, recovered_from, missing_release } = carried;
        let is_group = !pods.groups.is_empty();
        let (mut seen, reached) = observe(&self.ctx, identity, S::NAME, is_group).await?;
        (seen.recovered_from, seen.missing_release) = (recovered_from, missing_release);
        let looked_after = self.look_after(object, identity, &mut pods, &mut seen, &reached).await;
        notices.extend(looked_after.notices);
        let has_routes =
            routes::tell(&self.ctx, identity, S::NAME, &pods.places, &pods.groups, &seen, &reached)
                .await;
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let synced = match mode {
            Mode::Run => {
                let owners = declared_to(&pods.groups, &seen, &reached);
                let synced = sync(&self.ctx, identity, &sources, &owners).await;
                self.listen(object, identity, &reached, synced.objects);
                synced.complete
            }
            Mode::Pause | Mode::Hibernate | Mode::Fence => {
                let uid = identity.uid.as_deref().unwrap_or_default();
                self.ctx.listeners.forget(uid);
                self.ctx.desk.forget(uid);
                true
            }
        };
        let stored = self.statuses.newest(object, S::status(object));
        let none = CommonStatus::default();
        let before = stored.as_ref().map_or(&none, S::common);
        let facts = Facts {
            generation: identity.generation,
            stored: before,
            progress: &progress,
            seen: &seen,
            release: &self.ctx.options.version,
            now: Time::new(jiff::Timestamp::now()),
        };
        let common = summarise(&facts);
        // What keeps a volume from growing is no object of ours that a watch would show.
        let settled = is_settled(&common.conditions)
            && synced
            && has_routes
            && seen.growing.is_none()
            && !seen.old_certificates;
        let change = ready_change(before, &common);
        count(&self.ctx, object, &common);
        let new = S::summary(object, stored.as_ref(), common, &seen);
        write_status(&self.ctx, &self.statuses, object, stored.as_ref(), new).await?;
        let about = object.object_ref(&());
        for notice in notices.into_iter().chain(change) {
            self.events.tell(&about, notice).await;
        }
        if looked_after.again {
            self.triggers.push((identity.namespace.clone(), identity.name.clone()));
        }
        if let Some(error) = looked_after.failure {
            return Err(error);
        }
        Ok(match settled {
            false => Next::Soon,
            true if S::copies_secrets(object) => Next::Within(self.ctx.options.poll_max),
            true => Next::AtRest,
        })
    }
}

impl<S: System> Engine<S> {
    /// Hears from the processes when declared objects fare otherwise than before, and what they want
    /// done.
    fn listen(&self, object: &S::Kind, identity: &Identity, reached: &[Reached], count: usize) {
        let key = (identity.namespace.clone(), identity.name.clone());
        let uid = identity.uid.as_deref().unwrap_or_default();
        if S::HAS_ERRANDS {
            self.ctx.desk.hear(uid, &key, &self.triggers, reached);
        }
        if !S::TELLS_CHANGES {
            return;
        }
        let pause = listen::pause(count, S::references(object).len());
        self.ctx.listeners.listen(uid, &key, &self.triggers, reached, pause);
    }
}

/// Counts the object under what its status says.
pub(crate) fn count<K: Object>(ctx: &Context, object: &K, common: &CommonStatus) {
    let uid = object.meta().uid.as_deref().unwrap_or_default();
    ctx.metrics.object(&K::kind(&()), uid, &common.conditions);
}

/// The event that goes with a change of the summary.
pub(crate) fn ready_change(before: &CommonStatus, after: &CommonStatus) -> Option<Notice> {
    let ready = |status: &CommonStatus| {
        condition::find(&status.conditions, ConditionType::Ready)
            .map(|c| (c.status, c.reason.clone(), c.message.clone()))
    };
    let (old, (status, reason, message)) = (ready(before), ready(after)?);
    if old.is_some_and(|(was, why, _)| (was, &why) == (status, &reason)) {
        return None;
    }
    let bad = condition::is_true(&after.conditions, ConditionType::Stalled)
        || reason == Reason::PodFailing.as_str();
    let reason = reason.parse().unwrap_or(Reason::Progressing);
    Some(if bad {
        Notice::warning(reason, "Reconcile", message)
    } else {
        Notice::normal(reason, "Reconcile", message)
    })
}

/// An event when an object begins to do less than was asked.
pub(crate) fn degraded_change(before: &CommonStatus, after: &CommonStatus) -> Option<Notice> {
    let now = condition::find(&after.conditions, ConditionType::Degraded)
        .filter(|_| condition::is_true(&after.conditions, ConditionType::Degraded))?;
    let was = condition::find(&before.conditions, ConditionType::Degraded)
        .filter(|_| condition::is_true(&before.conditions, ConditionType::Degraded));
    if was.is_some_and(|was| was.reason == now.reason) {
        return None;
    }
    let reason = now.reason.parse().unwrap_or(Reason::Progressing);
    Some(Notice::warning(reason, "Watch", now.message.clone()))
}

/// The schema lets no malformed object in; one that was stored under an older schema is told of
/// and left alone until it is changed.
pub(crate) async fn tell_malformed<K: Object>(events: &Events, object: &Guarded<K>, why: &str) {
    let about = object.object_ref(&());
    warn!(name = about.name, namespace = about.namespace, why, "malformed object");
    let refusal = Refusal::object(Reason::InvalidSpec, why);
    events.tell(&about, Notice::warning(refusal.reason, "Read", refusal.message)).await;
}

#[cfg(test)]
mod tests;
