//! Takes CronJobs over and gives them back: one step of one CronJob at a time, each from what is there.
//!
//! Must not: choose. [`super::decide`] does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::Resource;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use orrery_api::{ConditionType, Reason, condition};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};

use super::decide::{self, Beside, Stands, Step, Whose, Wish, adopter, next};
use super::handover::{At, Jobless};
use super::kind::{ADOPTED_BY, CronJobSeen, SUSPEND};
use super::times::Times;
use super::{AdoptsCronJobs, EngineOf, Takes, hold};
use crate::backoff::{Attempts, BackoffOptions};
use crate::board::Key;
use crate::cache::Cache;
use crate::children::store::controller_of;
use crate::context::Context;
use crate::controller::Guarded;
use crate::declared::DeclaredKind;
use crate::errands::seen::CRON_JOB;
use crate::events::{Events, Notice};
use crate::system::Declared;
use crate::triggers::Triggers;
use crate::watch::{Change, key_of};

/// Owner of what is written to adopted CronJobs and of the objects beside them.
pub(super) const MANAGER: &str = "orrery-adoption";
/// CronJobs that are looked at at the same time.
const AT_ONCE: usize = 8;
/// Pauses between tries.
const TRIES: BackoffOptions =
    BackoffOptions { first: Duration::from_millis(500), max: Duration::from_secs(30) };
/// Before the name of an engine among the names of CronJobs: none begins so.
const ENGINE: char = '/';

/// A step that failed; it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("failed to {what} {name}: {source}")]
pub(super) struct AdoptError {
    what: &'static str,
    name: String,
    source: kube::Error,
}

/// The adoption into one declared kind.
pub(crate) struct Adoption<D: AdoptsCronJobs> {
    pub(crate) ctx: Arc<Context>,
    pub(crate) events: Events,
    pub(crate) kind: Arc<DeclaredKind<D>>,
    pub(crate) cron_jobs: Cache<CronJobSeen>,
    pub(crate) triggers: Arc<Triggers>,
    pub(crate) failures: Attempts<Key>,
    /// What the user was told of each CronJob last.
    pub(crate) told: Mutex<std::collections::HashMap<Key, String>>,
}

impl<D: AdoptsCronJobs> Adoption<D> {
    pub(crate) fn new(
        ctx: Arc<Context>,
        events: Events,
        kind: Arc<DeclaredKind<D>>,
        cron_jobs: Cache<CronJobSeen>,
        triggers: Arc<Triggers>,
    ) -> Self {
        let (failures, told) = (Attempts::new(TRIES), Mutex::default());
        Self { ctx, events, kind, cron_jobs, triggers, failures, told }
    }

    /// A CronJob changed.
    pub(crate) fn cron_job_changed(&self, change: &Change<CronJobSeen>) {
        let Some(cron_job) = change.object() else { return };
        let key = key_of(&**cron_job);
        if change.new.is_none() {
            self.told().remove(&key);
        }
        // An engine may wait for it to be given back.
        self.engines_of(&key.0).iter().for_each(|engine| self.push_engine(engine));
        self.triggers.push(key);
    }

    /// An object changed that may be beside a CronJob.
    pub(crate) fn object_changed(&self, change: &Change<Guarded<D::Kind>>) {
        let Some(object) = change.object() else { return };
        self.triggers.push(key_of(&**object));
        if change.new.is_none() {
            let namespace = object.meta().namespace.as_deref().unwrap_or_default();
            self.engines_of(namespace).iter().for_each(|engine| self.push_engine(engine));
        }
    }

    /// An engine appeared, changed or went.
    pub(crate) fn engine_changed(&self, namespace: &str, name: &str) {
        let of_namespace = |c: &CronJobSeen| c.metadata.namespace.as_deref() == Some(namespace);
        for cron_job in self.cron_jobs.filter(of_namespace) {
            self.triggers.push(key_of(&*cron_job));
        }
        self.triggers.push((namespace.to_owned(), format!("{ENGINE}{name}")));
    }

    fn push_engine(&self, engine: &Guarded<EngineOf<D>>) {
        let (namespace, name) = key_of(engine);
        self.triggers.push((namespace, format!("{ENGINE}{name}")));
    }

    /// Runs until `stop` turns true.
    pub(crate) async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let complete = async {
            self.cron_jobs.complete().await;
            self.kind.cache.complete().await;
            self.kind.engine.cache.complete().await;
        };
        self.triggers.work(AT_ONCE, complete, stop, |key| self.one(key)).await;
    }

    async fn one(&self, key: Key) -> (Key, Option<Duration>) {
        let done = match key.1.strip_prefix(ENGINE) {
            Some(engine) => self.let_go(&key.0, engine).await.map(|()| None),
            None => self.step(&key).await,
        };
        match done {
            Ok(again) => {
                self.failures.forget(&key);
                (key, again)
            }
            Err(error) => {
                warn!(namespace = key.0, name = key.1, %error, "adoption is tried again");
                let wait = self.failures.failed(key.clone()).max(self.ctx.liveness.pause());
                (key, Some(wait))
            }
        }
    }

    fn engines_of(&self, namespace: &str) -> Vec<Arc<Guarded<EngineOf<D>>>> {
        self.kind.engine.cache.filter(|engine: &Guarded<EngineOf<D>>| {
            engine.meta().namespace.as_deref() == Some(namespace)
        })
    }

    /// What an engine takes; nothing while it is being deleted.
    fn takes(engine: &Guarded<EngineOf<D>>) -> Takes {
        match &engine.0 {
            Ok(object) if object.meta().deletion_timestamp.is_none() => D::takes(object),
            _ => Takes::None,
        }
    }

    /// The next step of one CronJob; after which time it is looked at again, if nothing calls before.
    async fn step(&self, key: &Key) -> Result<Option<Duration>, AdoptError> {
        let Some(cron_job) = self.cron_jobs.get(key) else { return Ok(None) };
        let engines = self.engines_of(&key.0);
        let named: Vec<(&str, Takes)> = engines
            .iter()
            .map(|e| (e.meta().name.as_deref().unwrap_or_default(), Self::takes(e)))
            .collect();
        let adopter = adopter(&cron_job, &named);
        let engine = engines.iter().find(|engine| engine.meta().name.as_deref() == adopter);
        let engine = engine.and_then(|engine| engine.0.as_ref().ok());
        let object = self.kind.cache.get(key);
        let now = Timestamp::now().as_second();
        let (wish, wanted, at) = Self::wish(&cron_job, engine, now);
        let beside = object.as_ref().map(|object| self.beside(&cron_job, object, wanted.as_ref()));
        let step = next(&cron_job, adopter, &wish, beside.as_ref(), &at);
        let stored = object.as_ref().and_then(|object| object.0.as_ref().ok());
        match (step, adopter, wanted, engine) {
            (Step::Tell(why), ..) => self.tell(&cron_job, why).await,
            (Step::Apply, Some(_), Some(wanted), Some(engine)) => {
                hold::set(&self.ctx, engine, true).await.map_err(failed("hold", key))?;
                self.apply(&cron_job, &wanted, object.as_deref()).await?;
            }
            (Step::Suspend, Some(adopter), ..) => self.suspend(&cron_job, adopter).await?,
            (Step::Stop, Some(adopter), ..) => self.stop(&cron_job, adopter, now).await?,
            (Step::GiveBack, ..) => {
                self.give_back(&cron_job, decided::<D>(&cron_job, stored)).await?;
            }
            (Step::GiveBackBehind(until), ..) => self.give_back(&cron_job, Some(until)).await?,
            (Step::End(until), ..) => {
                let is_refused =
                    beside.is_some_and(|beside| matches!(beside.stands, Stands::Refused(_)));
                if let Some(stored) = stored {
                    let ending = D::ending(stored, until, is_refused);
                    self.apply(&cron_job, &ending, object.as_deref()).await?;
                }
            }
            (Step::Show { scheduled, succeeded }, ..) => {
                self.show(&cron_job, scheduled, succeeded).await?;
            }
            (Step::Remove, ..) => {
                if let Some(object) = object {
                    self.remove(&object).await?;
                }
            }
            (Step::Later(seconds), ..) => {
                return Ok(Some(Duration::from_secs(seconds.max(1).unsigned_abs())));
            }
            // An engine that went meanwhile calls again by its going.
            (Step::Rest | Step::Apply | Step::Suspend | Step::Stop, ..) => {}
        }
        Ok(None)
    }

    /// What the engine would make of a CronJob, and the moment.
    fn wish(
        cron_job: &CronJobSeen,
        engine: Option<&EngineOf<D>>,
        now: i64,
    ) -> (Wish, Option<D::Kind>, At) {
        let times = Times::of(cron_job);
        let known = times.as_ref().ok();
        let at = At {
            now,
            newest: known.and_then(|times| times.newest(now)),
            next: known.and_then(|times| times.next(now)),
            due: known.zip(cron_job.stopped_at()).and_then(|(times, since)| times.next(since)),
        };
        let Some(engine) = engine else { return (Wish::Nothing, None, at) };
        let suspend = cron_job.is_suspended();
        let wanted = match D::adopted(cron_job, engine, suspend) {
            Ok(wanted) if D::fires(&wanted).as_jobs => return (Wish::Jobs, Some(wanted), at),
            Ok(wanted) => times.map(|_| wanted),
            Err(why) => Err(why),
        };
        // On trial it fires not.
        let on_trial = || D::adopted(cron_job, engine, true).ok();
        let is_free = cron_job.adopted_by().is_none();
        match wanted {
            Ok(wanted) => (Wish::Jobless, if is_free { on_trial() } else { Some(wanted) }, at),
            Err(why) => (Wish::Refused(why), None, at),
        }
    }

    /// What is beside a CronJob.
    fn beside(
        &self,
        cron_job: &CronJobSeen,
        object: &Guarded<D::Kind>,
        wanted: Option<&D::Kind>,
    ) -> Beside {
        let meta = object.meta();
        let owner = controller_of(meta).filter(|owner| owner.kind == CRON_JOB);
        let whose = match owner {
            Some(owner) if Some(&owner.uid) == cron_job.metadata.uid.as_ref() => Whose::Ours,
            Some(owner) if Some(&owner.name) == cron_job.metadata.name.as_ref() => Whose::Leaving,
            _ => Whose::Foreign,
        };
        let whose = match whose {
            Whose::Ours if meta.deletion_timestamp.is_some() => Whose::Leaving,
            whose => whose,
        };
        let stored = object.0.as_ref().ok();
        let pair = stored.zip(wanted);
        Beside {
            whose,
            is_of_adopter: pair.is_some_and(|(s, w)| D::engine_name(s) == D::engine_name(w)),
            is_same: pair.is_some_and(|(stored, wanted)| D::is_same(stored, wanted)),
            stands: stored.map_or(Stands::Waits, stands::<D>),
            was_changed: meta.generation.unwrap_or(1) > 1,
            jobless: stored.and_then(|stored| self.jobless(stored)),
        }
    }

    /// An object whose runs leave no Jobs.
    fn jobless(&self, object: &D::Kind) -> Option<Jobless> {
        let fires = D::fires(object);
        let namespace = object.meta().namespace.clone().unwrap_or_default();
        let engine = (namespace, D::engine_name(object).to_owned());
        (!fires.as_jobs || fires.until.is_some()).then(|| Jobless {
            is_suspended: fires.is_suspended,
            until: fires.until,
            next: D::next_seconds(object),
            ran: D::ran(object),
            is_orphan: self.kind.engine.cache.get(&engine).is_none(),
        })
    }

    /// Writes the object beside a CronJob.
    async fn apply(
        &self,
        cron_job: &CronJobSeen,
        wanted: &D::Kind,
        stored: Option<&Guarded<D::Kind>>,
    ) -> Result<(), AdoptError> {
        let key = key_of(cron_job);
        let whole = serde_json::to_value(wanted).unwrap_or_default();
        let body = json!({
            "apiVersion": D::Kind::api_version(&()),
            "kind": D::Kind::kind(&()),
            "metadata": {
                "name": key.1,
                "namespace": key.0,
                "ownerReferences": [{
                    "apiVersion": "batch/v1",
                    "kind": CRON_JOB,
                    "name": key.1,
                    "uid": cron_job.metadata.uid,
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            },
            "spec": whole["spec"],
        });
        let api: Api<D::Kind> = Api::namespaced(self.ctx.client.clone(), &key.0);
        let params = PatchParams::apply(MANAGER).force();
        match api.patch(&key.1, &params, &Patch::Apply(&body)).await {
            Ok(_) => Ok(()),
            // Its own words say what is wrong with it.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 422) => {
                self.tell(cron_job, status.message.clone()).await;
                if !D::fires(wanted).as_jobs {
                    // What is there goes on: nothing of it may be given back before it has stopped.
                    return Err(failed("apply the object beside", &key)(kube::Error::Api(status)));
                }
                // What is there says something else: as with an edit that the engine refuses.
                if cron_job.adopted_by().is_some() {
                    let before = stored.and_then(|stored| stored.0.as_ref().ok());
                    return self.give_back(cron_job, decided::<D>(cron_job, before)).await;
                }
                match stored {
                    Some(stored) => self.remove(stored).await,
                    None => Ok(()),
                }
            }
            Err(source) => Err(failed("apply the object beside", &key)(source)),
        }
    }

    /// Suspends a CronJob whose times the engine has.
    async fn suspend(&self, cron_job: &CronJobSeen, engine: &str) -> Result<(), AdoptError> {
        let kept = cron_job.is_suspended().to_string();
        let annotations = json!({ ADOPTED_BY: engine, SUSPEND: kept });
        self.write(cron_job, &annotations, Some(true)).await?;
        let key = key_of(cron_job);
        info!(namespace = key.0, name = key.1, engine, "adopted a CronJob");
        self.told().remove(&key);
        let note = format!(
            "{} {engine} runs it; it is suspended meanwhile, and the annotation {SUSPEND} is the \
             switch",
            EngineOf::<D>::kind(&())
        );
        let notice = Notice::normal(Reason::CronJobAdopted, "Adopt", note);
        self.events.tell(&cron_job.object_ref(&()), notice).await;
        Ok(())
    }

    /// Makes a CronJob what it was. Its controller goes on behind what the engine has decided.
    async fn give_back(
        &self,
        cron_job: &CronJobSeen,
        decided: Option<i64>,
    ) -> Result<(), AdoptError> {
        let key = key_of(cron_job);
        let suspended = cron_job.is_suspended();
        if let Some(decided) = decided.filter(|_| !suspended) {
            let until = decided.min(Timestamp::now().as_second());
            let last = cron_job.last_scheduled();
            if last.is_none_or(|last| last < until) {
                self.show(cron_job, Some(until), None).await?;
            }
        }
        self.write(cron_job, &json!({}), Some(suspended)).await?;
        self.clean(cron_job).await?;
        if !suspended {
            // The field is nobody's again; so it is false.
            self.write(cron_job, &json!({}), None).await?;
        }
        info!(namespace = key.0, name = key.1, "gave a CronJob back");
        self.told().remove(&key);
        let note = "its own controller runs it again";
        let notice = Notice::normal(Reason::CronJobGivenBack, "GiveBack", note);
        self.events.tell(&cron_job.object_ref(&()), notice).await;
        Ok(())
    }

    /// Removes the object beside a CronJob.
    async fn remove(&self, object: &Guarded<D::Kind>) -> Result<(), AdoptError> {
        let key = key_of(object);
        if object.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let api: Api<D::Kind> = Api::namespaced(self.ctx.client.clone(), &key.0);
        let same = Preconditions { uid: object.meta().uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
        match api.delete(&key.1, &params).await {
            Ok(_) => Ok(()),
            // It is gone, or another one by now.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                Ok(())
            }
            Err(source) => Err(failed("remove the object beside", &key)(source)),
        }
    }

    /// Lets an engine go that has adopted nothing any more.
    async fn let_go(&self, namespace: &str, name: &str) -> Result<(), AdoptError> {
        let key = (namespace.to_owned(), name.to_owned());
        let Some(engine) = self.kind.engine.cache.get(&key) else { return Ok(()) };
        let Ok(object) = &engine.0 else { return Ok(()) };
        let is_wanted = Self::takes(&engine) != Takes::None;
        if is_wanted || !hold::is_held(object) {
            return Ok(());
        }
        let has = |cron_job: &CronJobSeen| {
            cron_job.metadata.namespace.as_deref() == Some(namespace)
                && cron_job.adopted_by() == Some(name)
        };
        let is_beside = |object: &Guarded<D::Kind>| {
            object.meta().namespace.as_deref() == Some(namespace)
                && controller_of(object.meta()).is_some_and(|owner| owner.kind == CRON_JOB)
                && object.0.as_ref().is_ok_and(|object| D::engine_name(object) == name)
        };
        let is_empty = self.cron_jobs.filter(has).is_empty();
        if is_empty && self.kind.cache.filter(is_beside).is_empty() {
            hold::set(&self.ctx, object, false).await.map_err(failed("let go of", &key))?;
        }
        Ok(())
    }

    /// Tells the user why a CronJob is not adopted, once for each reason.
    async fn tell(&self, cron_job: &CronJobSeen, why: String) {
        let before = self.told().insert(key_of(cron_job), why.clone());
        if before.as_ref() != Some(&why) {
            let notice = Notice::warning(Reason::CronJobNotAdopted, "Adopt", why);
            self.events.tell(&cron_job.object_ref(&()), notice).await;
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<Key, String>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn failed(what: &'static str, key: &Key) -> impl FnOnce(kube::Error) -> AdoptError {
    let name = format!("{}/{}", key.0, key.1);
    move |source| AdoptError { what, name, source }
}

/// What an object with Jobs has decided.
fn decided<D: AdoptsCronJobs>(cron_job: &CronJobSeen, object: Option<&D::Kind>) -> Option<i64> {
    let object = object?;
    decide::decided(cron_job, D::next_seconds(object), D::ran(object).as_ref())
}

/// How the engine took an object, as its status says of its newest generation.
fn stands<D: Declared>(object: &D::Kind) -> Stands {
    let Some(common) = D::status(object).map(D::common) else { return Stands::Waits };
    if common.observed_generation != object.meta().generation {
        return Stands::Waits;
    }
    if let Some(stalled) = condition::find(&common.conditions, ConditionType::Stalled)
        && condition::is_true(&common.conditions, ConditionType::Stalled)
    {
        return Stands::Refused(format!("{}: {}", stalled.reason, stalled.message));
    }
    if condition::is_true(&common.conditions, ConditionType::Ready) {
        Stands::Accepted
    } else {
        Stands::Waits
    }
}
