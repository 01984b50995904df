//! A round of a declared kind, and the set of them that an engine gets.
//!
//! Must not: send anything to an engine; the engine's own round does that and this controller only
//! reads the answer from the board. It is the single writer of the kind's status.

mod inputs;

use std::marker::PhantomData;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use orrery_api::{CommonStatus, Reason, Time};
use orrery_operand::v1::DeclaredObject;
use tracing::info;

use crate::board::Key;
use crate::cache::Cache;
use crate::context::Context;
use crate::controller::{Guarded, Next, Reconcile};
use crate::cronjobs::is_held;
use crate::engine::{Engine, count, degraded_change, ready_change, tell_malformed};
use crate::events::{Events, Notice};
use crate::observation::Acceptance;
use crate::status::declared::{DeclaredProgress, summarise};
use crate::step::report::{DeclaredSource, StatusMemory, write_status};
use crate::step::{Class, ReportError, StepError};
use crate::system::{Declared, Mode, Referenced, Standing, System};
use crate::triggers::Triggers;
use crate::watch::{Change, key_of};

pub(crate) use inputs::Inputs;

/// The controller of one declared kind.
pub struct DeclaredKind<D: Declared> {
    pub(crate) ctx: Arc<Context>,
    pub(crate) events: Events,
    pub(crate) kind: &'static str,
    pub(crate) cache: Cache<Guarded<D::Kind>>,
    pub(crate) triggers: Arc<Triggers>,
    pub(crate) engine: Arc<Engine<D::Engine>>,
    pub(crate) statuses: StatusMemory<D::Status>,
    pub(crate) inputs: Inputs,
}

impl<D: Declared> std::fmt::Debug for DeclaredKind<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeclaredKind").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl<D: Declared> Reconcile<D::Kind> for DeclaredKind<D> {
    fn round<'a>(&'a self, object: &'a D::Kind) -> BoxFuture<'a, Result<Next, StepError>> {
        self.reconcile(object).boxed()
    }

    fn malformed<'a>(&'a self, object: &'a Guarded<D::Kind>, why: &'a str) -> BoxFuture<'a, ()> {
        tell_malformed(&self.events, object, why).boxed()
    }
}

impl<D: Declared> DeclaredKind<D> {
    async fn reconcile(&self, object: &D::Kind) -> Result<Next, StepError> {
        let key = key_of(object);
        if object.meta().deletion_timestamp.is_some() {
            return Ok(Next::OnChange);
        }
        let mut notices = Vec::new();
        let (progress, answer) = self.progress(object, &key, &mut notices).await?;
        let generation = object.meta().generation.unwrap_or(0);
        let stored = self.statuses.newest(object, D::status(object));
        let none = CommonStatus::default();
        let before = stored.as_ref().map_or(&none, D::common);
        let now = Time::new(jiff::Timestamp::now());
        let common = summarise(generation, before, &progress, now);
        notices.extend(ready_change(before, &common));
        notices.extend(degraded_change(before, &common));
        if before.observed_generation != common.observed_generation
            && let DeclaredProgress::Answered(_, Standing { change: Some((reason, note)), .. }) =
                &progress
        {
            notices.push(Notice::change(*reason, generation, note));
        }
        count(&self.ctx, object, &common);
        let new = D::summary(object, common, answer.as_ref());
        notices.extend(D::news(stored.as_ref(), &new).map(Notice::news));
        write_status(&self.ctx, &self.statuses, object, stored.as_ref(), new).await?;
        let about = object.object_ref(&());
        for notice in notices {
            self.events.tell(&about, notice).await;
        }
        // Everything that could change the answer calls: the object, its siblings, the engine. Only
        // what it points to is not watched.
        let has_references = !D::references(object).is_empty();
        let look_again = Next::Within(self.ctx.options.poll_max);
        Ok(if has_references { look_again } else { Next::AtRest })
    }

    /// How far the object came, and what its engine said last.
    async fn progress(
        &self,
        object: &D::Kind,
        key: &Key,
        notices: &mut Vec<Notice>,
    ) -> Result<(DeclaredProgress, Option<Acceptance>), StepError> {
        let name = D::engine_name(object);
        let siblings = self.siblings(&key.0, name).await;
        let refs: Vec<&D::Kind> = siblings.iter().filter_map(|s| s.0.as_ref().ok()).collect();
        let inputs = match self.look_at_references(object, key, name).await {
            Ok(inputs) => inputs,
            Err(error) if error.class() == Class::WaitingFor => {
                let (reason, message) = (Reason::RefNotFound, error.text());
                return Ok((DeclaredProgress::Waiting { reason, message }, None));
            }
            Err(error) => return Err(error),
        };
        if let Err(refusal) = D::validate(object, &refs, &inputs) {
            return Ok((DeclaredProgress::Refused(refusal), None));
        }
        // Until the list of engines is complete, an engine that is not shown may well exist.
        self.engine.cache.complete().await;
        let engine = self.engine.cache.get(&(key.0.clone(), name.to_owned()));
        let Some(engine) = engine else {
            return Ok((self.without_engine(object, &key.0, name, notices).await?, None));
        };
        let waiting = |reason, what: &str| {
            let message = format!("engine {name} {what}");
            Ok((DeclaredProgress::Waiting { reason, message }, None))
        };
        // One that is kept until adopted CronJobs are given back goes on meanwhile.
        let is_kept = engine.0.as_ref().is_ok_and(is_held);
        if engine.meta().deletion_timestamp.is_some() && !is_kept {
            return waiting(Reason::EngineMissing, "is being deleted");
        }
        let mode = engine.0.as_ref().map_or(Mode::Run, D::Engine::mode);
        if mode == Mode::Hibernate {
            return waiting(Reason::EngineNotReady, "is hibernated");
        }
        let engine_uid = engine.meta().uid.as_deref().unwrap_or_default();
        let answer = self.ctx.board.acceptance(self.kind, key, engine_uid);
        let generation = object.meta().generation.unwrap_or(0);
        let progress = match &answer {
            Some(answer) if answer.generation == generation => {
                DeclaredProgress::Answered(answer.clone(), D::standing(object, answer))
            }
            _ if mode == Mode::Fence => return waiting(Reason::EngineNotReady, "is fenced"),
            _ if mode == Mode::Pause => return waiting(Reason::EngineNotReady, "is paused"),
            answer => DeclaredProgress::Pending {
                older_accepted: answer.as_ref().is_some_and(|answer| answer.accepted),
            },
        };
        Ok((progress, answer))
    }

    /// Reads what the object points to. Where it is another than before, the engine gets it.
    async fn look_at_references(
        &self,
        object: &D::Kind,
        key: &Key,
        engine: &str,
    ) -> Result<Arc<Referenced>, StepError> {
        let references = D::references(object);
        let (found, is_new) = self.inputs.read(&self.ctx, key, &references).await?;
        if is_new {
            self.engine.triggers.push((key.0.clone(), engine.to_owned()));
        }
        Ok(found)
    }

    /// A named engine is waited for; the default one is created.
    async fn without_engine(
        &self,
        object: &D::Kind,
        namespace: &str,
        name: &str,
        notices: &mut Vec<Notice>,
    ) -> Result<DeclaredProgress, StepError> {
        if D::engine_ref(object).is_some() {
            let message = format!("engine {name} does not exist in namespace {namespace}");
            return Ok(DeclaredProgress::Waiting { reason: Reason::RefNotFound, message });
        }
        let mut engine = D::default_engine();
        engine.meta_mut().name = Some(name.to_owned());
        engine.meta_mut().namespace = Some(namespace.to_owned());
        let api: Api<<D::Engine as System>::Kind> =
            Api::namespaced(self.ctx.client.clone(), namespace);
        let params = PostParams {
            field_manager: Some(self.ctx.options.field_manager.into()),
            ..PostParams::default()
        };
        match api.create(&params, &engine).await {
            Ok(_) => {
                info!(namespace, name, "created the default engine");
                let note = format!("engine {name} was created for {}", object.name_any());
                notices.push(Notice::normal(Reason::EngineCreated, "Create", note));
            }
            // Somebody was faster; the watch will show it.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(source) => {
                let name = name.to_owned();
                return Err(ReportError::CreateEngine { name, source }.into());
            }
        }
        let message = format!("engine {name} is being created");
        Ok(DeclaredProgress::Waiting { reason: Reason::EngineMissing, message })
    }

    /// All live objects of an engine, oldest first.
    async fn siblings(&self, namespace: &str, engine: &str) -> Vec<Arc<Guarded<D::Kind>>> {
        self.cache.complete().await;
        let belongs = |object: &Guarded<D::Kind>| {
            let meta = object.meta();
            meta.namespace.as_deref() == Some(namespace)
                && meta.deletion_timestamp.is_none()
                && object.0.as_ref().is_ok_and(|object| D::engine_name(object) == engine)
        };
        let mut siblings = self.cache.filter(belongs);
        siblings.sort_by_key(|object| age(&**object));
        siblings
    }

    /// An object of this kind changed: it, its siblings and its engine are looked at.
    pub(crate) fn changed(&self, change: &Change<Guarded<D::Kind>>) {
        if !change.matters() {
            return;
        }
        let Some(object) = change.object() else { return };
        if change.new.is_none() {
            self.ctx.board.forget(self.kind, &key_of(&**object));
            self.inputs.forget(&key_of(&**object));
            let uid = object.meta().uid.as_deref().unwrap_or_default();
            self.statuses.forget(uid);
            self.ctx.metrics.object_gone(uid);
        }
        self.triggers.push(key_of(&**object));
        let mut engines: Vec<(String, String)> = [&change.old, &change.new]
            .into_iter()
            .flatten()
            .filter_map(|object| {
                let name = D::engine_name(object.0.as_ref().ok()?).to_owned();
                Some((object.meta().namespace.clone().unwrap_or_default(), name))
            })
            .collect();
        engines.dedup();
        for (namespace, name) in engines {
            self.look_at_all_of(&namespace, &name);
            self.engine.triggers.push((namespace, name));
        }
    }

    /// An engine appeared, changed or went: its objects are looked at.
    pub(crate) fn engine_changed(&self, namespace: &str, name: &str) {
        self.look_at_all_of(namespace, name);
    }

    fn look_at_all_of(&self, namespace: &str, engine: &str) {
        let of_engine = self.cache.filter(|object: &Guarded<D::Kind>| {
            object.meta().namespace.as_deref() == Some(namespace)
                && object.0.as_ref().is_ok_and(|object| D::engine_name(object) == engine)
        });
        for object in of_engine {
            self.triggers.push(key_of(&*object));
        }
    }
}

/// The objects of one kind as an engine gets them.
pub(crate) struct Source<D: Declared> {
    pub(crate) kind: Arc<DeclaredKind<D>>,
    pub(crate) marker: PhantomData<D>,
}

impl<D: Declared> std::fmt::Debug for Source<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("kind", &self.kind.kind).finish_non_exhaustive()
    }
}

impl<D: Declared> DeclaredSource for Source<D> {
    fn kind(&self) -> &'static str {
        self.kind.kind
    }

    fn objects<'a>(
        &'a self,
        namespace: &'a str,
        engine: &'a str,
    ) -> BoxFuture<'a, Result<Vec<DeclaredObject>, StepError>> {
        async move {
            let siblings = self.kind.siblings(namespace, engine).await;
            let all: Vec<&D::Kind> = siblings.iter().filter_map(|s| s.0.as_ref().ok()).collect();
            let mut objects = Vec::with_capacity(all.len());
            for object in &all {
                let references = D::references(object);
                let key = key_of(*object);
                let inputs = self.kind.inputs.newest(&self.kind.ctx, &key, &references).await;
                let spec = match inputs {
                    Ok(inputs) => match D::validate(object, &all, &inputs) {
                        Ok(spec) => spec.to_string().into_bytes(),
                        Err(_) if D::STAYS_WHEN_REFUSED => Vec::new(),
                        Err(_) => continue,
                    },
                    // It says so itself, the others do not wait for it, and what is there of it stays.
                    Err(error) if error.class() == Class::WaitingFor => Vec::new(),
                    Err(error) => return Err(error),
                };
                let meta = object.meta();
                objects.push(DeclaredObject {
                    namespace: meta.namespace.clone().unwrap_or_default(),
                    name: meta.name.clone().unwrap_or_default(),
                    uid: meta.uid.clone().unwrap_or_default(),
                    generation: meta.generation.unwrap_or(0),
                    spec,
                });
            }
            Ok(objects)
        }
        .boxed()
    }

    fn answered(&self, keys: Vec<Key>) {
        for key in keys {
            self.kind.triggers.push(key);
        }
    }
}

fn age<K: Resource>(object: &K) -> (Option<k8s_openapi::jiff::Timestamp>, Key) {
    (object.meta().creation_timestamp.as_ref().map(|time| time.0), key_of(object))
}

#[cfg(test)]
mod tests;
