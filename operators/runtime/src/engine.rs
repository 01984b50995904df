//! A round of an engine kind: dereference → validate → build → apply → report.
//!
//! Must not: know a system. The first, fourth and fifth step hold a client; the second and third
//! are the system's own pure functions.

use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Resource;
use kube::runtime::reflector::Store;
use orrery_api::{CommonStatus, ConditionType, Reason, Time, condition};
use tracing::warn;

use crate::context::Context;
use crate::controller::{Guarded, Next, Reconcile};
use crate::events::{Events, Notice};
use crate::status::{Facts, Progress, is_settled, summarise};
use crate::step::report::{DeclaredSource, StatusMemory, observe, sync, write_status};
use crate::step::{Class, StepError, apply, dereference};
use crate::system::{Carrier, Identity, Mode, Object, Refusal, System};
use crate::triggers::Triggers;

/// The controller of one engine kind.
pub struct Engine<S: System> {
    pub(crate) ctx: Arc<Context>,
    pub(crate) events: Events,
    pub(crate) reader: Store<Guarded<S::Kind>>,
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
        let identity = Identity::of(object, &options.image, &options.version, Carrier::Cluster);
        if object.meta().deletion_timestamp.is_some() {
            // Owner references take the children away; volumes follow the retention policy.
            return Ok(Next::OnChange);
        }
        let mode = S::mode(object);
        let carried = match mode {
            Mode::Pause => Ok(Carried { progress: Progress::Paused, notices: Vec::new() }),
            Mode::Run | Mode::Hibernate => self.carry_out(object, &identity, mode).await,
        };
        let (progress, notices, failure) = match carried {
            Ok(carried) => (carried.progress, carried.notices, None),
            Err(error) => (error.progress(), Vec::new(), Some(error)),
        };
        let reported = self.report(object, &identity, mode, &progress, notices).await;
        match failure {
            None => reported,
            // Said in the status; nothing is tried until something changes.
            Some(error) if error.class() == Class::InvalidSpec => {
                reported?;
                Ok(if S::references(object).is_empty() { Next::OnChange } else { Next::AtRest })
            }
            Some(error) => Err(error),
        }
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.ctx.forget(uid);
        self.statuses.forget(uid);
    }

    /// Steps 1 to 4.
    async fn carry_out(
        &self,
        object: &S::Kind,
        identity: &Identity,
        mode: Mode,
    ) -> Result<Carried, StepError> {
        let references = S::references(object);
        let found = dereference::dereference(&self.ctx, &identity.namespace, &references).await?;
        let validated = S::validate(object, &S::Inputs::from(found), identity.carrier)?;
        let mut prepared = S::build(&validated, identity);
        if mode == Mode::Hibernate {
            prepared = prepared.hibernated();
        }
        let desired_hash = prepared.hash();
        let outcome = apply::apply(&self.ctx, identity, prepared).await?;
        let progress = match mode {
            Mode::Hibernate => Progress::Hibernated { desired_hash },
            _ => Progress::Applied {
                desired_hash,
                replicas_wanted: outcome.resources.replicas_wanted(),
            },
        };
        Ok(Carried { progress, notices: outcome.notices })
    }

    /// Step 5.
    async fn report(
        &self,
        object: &S::Kind,
        identity: &Identity,
        mode: Mode,
        progress: &Progress,
        notices: Vec<Notice>,
    ) -> Result<Next, StepError> {
        let (seen, reached) = observe(&self.ctx, identity, S::NAME).await?;
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let synced = match mode {
            Mode::Run => sync(&self.ctx, identity, &sources, &reached).await,
            Mode::Pause | Mode::Hibernate => true,
        };
        let stored = self.statuses.newest(object, S::status(object));
        let none = CommonStatus::default();
        let before = stored.as_ref().map_or(&none, S::common);
        let facts = Facts {
            generation: identity.generation,
            stored: before,
            progress,
            seen: &seen,
            now: Time::new(jiff::Timestamp::now()),
        };
        let common = summarise(&facts);
        let settled = is_settled(&common.conditions) && synced;
        let change = ready_change(before, &common);
        let new = S::summary(object, common, &seen);
        write_status(&self.ctx, &self.statuses, object, stored.as_ref(), new).await?;
        let about = object.object_ref(&());
        for notice in notices.into_iter().chain(change) {
            self.events.tell(&about, notice).await;
        }
        Ok(if settled { Next::AtRest } else { Next::Soon })
    }
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
