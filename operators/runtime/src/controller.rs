//! The only place that builds a kube Controller.
//!
//! kube's defaults are dangerous in four ways at once; here they are set for every kind: bounded
//! concurrency per controller and per process (P1), no watch inside the Controller, so that no
//! backoff is shared (P2), retries per object with growing pauses (P3), and predicates that let
//! deletions through (P8b, in `watch` and `children`).
//!
//! Must not: know what a round does.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::core::DeserializeGuard;
use kube::runtime::controller::{Action, Config, Controller, Error};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use tokio::sync::watch;
use tracing::{debug, error, warn};

use crate::backoff::{Attempts, jittered};
use crate::board::Key;
use crate::context::Context;
use crate::step::{Class, StepError};
use crate::system::Object;
use crate::triggers::Triggers;

/// An object, or what is wrong with it: a malformed one never stalls the watch.
pub type Guarded<K> = DeserializeGuard<K>;

/// When to look again after a round that went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// All is done; only the net is left.
    AtRest,
    /// Something is under way; look again soon, less often the longer it takes.
    Soon,
    /// All is done for this long; the net is below it as well.
    Within(Duration),
    /// Nothing happens until something changes.
    OnChange,
}

/// What a controller does.
pub trait Reconcile<K: Object>: Send + Sync + 'static {
    /// One round of one object.
    fn round<'a>(&'a self, object: &'a K) -> BoxFuture<'a, Result<Next, StepError>>;

    /// An object that cannot be read as what it claims to be.
    fn malformed<'a>(&'a self, object: &'a Guarded<K>, why: &'a str) -> BoxFuture<'a, ()>;
}

struct Shared<R> {
    name: &'static str,
    ctx: Arc<Context>,
    reconcile: Arc<R>,
    failures: Attempts<Key>,
    polls: Attempts<Key>,
}

impl<R> Shared<R> {
    /// An object is gone, which is how its last trigger ends.
    fn forget(&self, key: &Key) {
        debug!(namespace = key.0, name = key.1, "gone");
        self.ctx.metrics.gone(self.name, format!("{}/{}", key.0, key.1));
        self.failures.forget(key);
        self.polls.forget(key);
    }
}

/// A round failed; the error policy decides when to try again.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct RoundFailed {
    text: String,
    class: Class,
}

/// Runs a controller until `stop` turns true and its running rounds have ended.
pub async fn run<K, R>(
    name: &'static str,
    ctx: Arc<Context>,
    reader: Store<Guarded<K>>,
    triggers: Arc<Triggers>,
    reconcile: Arc<R>,
    mut stop: watch::Receiver<bool>,
) where
    K: Object,
    R: Reconcile<K>,
{
    let options = &ctx.options;
    let config = Config::default().debounce(options.debounce).concurrency(options.concurrency);
    ctx.metrics.controller(name, options.concurrency);
    let polls = crate::backoff::BackoffOptions { first: options.poll, max: options.poll_max };
    let shared = Arc::new(Shared {
        name,
        ctx: Arc::clone(&ctx),
        reconcile,
        failures: Attempts::new(options.backoff),
        polls: Attempts::new(polls),
    });
    let no_watch = futures::stream::pending::<Result<Guarded<K>, watcher::Error>>();
    let keys = triggers.stream();
    let stopped = async move {
        // An error means the sender is gone, which is a stop as well.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let forgetting = Arc::clone(&shared);
    Controller::for_stream(no_watch, reader)
        .with_config(config)
        .reconcile_on(keys.map(|(namespace, name)| ObjectRef::new(&name).within(&namespace)))
        .graceful_shutdown_on(stopped)
        .run(one_round::<K, R>, |object, error, shared| again(&object, error, &shared), shared)
        .for_each(move |result| {
            match result {
                Ok(_) | Err(Error::ReconcilerFailed(..)) => {}
                Err(Error::ObjectNotFound(gone)) => {
                    forgetting.forget(&(gone.namespace.unwrap_or_default(), gone.name));
                }
                Err(error) => error!(%error, "controller"),
            }
            std::future::ready(())
        })
        .await;
}

async fn one_round<K: Object, R: Reconcile<K>>(
    object: Arc<Guarded<K>>,
    shared: Arc<Shared<R>>,
) -> Result<Action, RoundFailed> {
    use tracing::Instrument;
    let meta = kube::Resource::meta(&*object);
    let key = key_of(&object);
    let span = tracing::info_span!(
        parent: None,
        "reconcile",
        kind = %K::kind(&()),
        namespace = key.0,
        name = key.1,
        generation = meta.generation,
        trace_id = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    // The lines of a round belong together even where no traces are collected.
    let trace_id = span.in_scope(orrery_operand::trace::trace_id);
    let trace_id = trace_id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    span.record("trace_id", trace_id);
    let ctx = &shared.ctx;
    let _permit = ctx.permits.acquire().await.expect("the semaphore is never closed");
    let mut measured = ctx.metrics.round(shared.name, &format!("{}/{}", key.0, key.1));
    let object = match &object.0 {
        Ok(object) => object,
        Err(invalid) => {
            shared.reconcile.malformed(&object, &invalid.error).instrument(span).await;
            measured.failed("Malformed");
            return Ok(Action::await_change());
        }
    };
    let result = shared.reconcile.round(object).instrument(span.clone()).await;
    match result {
        Ok(next) => {
            shared.failures.forget(&key);
            let after = pause(&shared, key, next);
            measured.succeeded(after.is_some());
            Ok(after.map_or_else(Action::await_change, Action::requeue))
        }
        Err(error) => {
            measured.failed(error.label());
            let (text, class) = (error.text(), error.class());
            span.in_scope(|| {
                if class == Class::Bug {
                    error!(error = text, "round failed");
                } else {
                    warn!(error = text, "round failed");
                }
            });
            span.record("otel.status_code", "ERROR");
            Err(RoundFailed { text, class })
        }
    }
}

fn pause<R>(shared: &Shared<R>, key: Key, next: Next) -> Option<Duration> {
    if next != Next::Soon {
        shared.polls.forget(&key);
    }
    match next {
        Next::AtRest => Some(jittered(shared.ctx.options.net, rand::random())),
        Next::Within(time) => Some(jittered(shared.ctx.options.net, rand::random()).min(time)),
        Next::Soon => Some(shared.polls.failed(key)),
        Next::OnChange => None,
    }
}

fn again<K: Object, R>(object: &Guarded<K>, error: &RoundFailed, shared: &Shared<R>) -> Action {
    debug!(class = ?error.class, "trying again later");
    let wait = shared.failures.failed(key_of(object));
    // What is waited for may be an object that no watch of ours shows (a user's Secret): a person
    // who makes it must not wait for minutes.
    let is_expected = error.class == Class::WaitingFor;
    // After an outage nobody should wait for as long as it lasted.
    let was_away = error.class == Class::Transient && shared.ctx.liveness.troubled();
    let soon = is_expected || was_away;
    let wait = if soon { wait.min(shared.ctx.options.poll_max) } else { wait };
    // A server that asks for a pause gets it.
    Action::requeue(wait.max(shared.ctx.liveness.pause()))
}

fn key_of<K: Object>(object: &Guarded<K>) -> Key {
    let meta = kube::Resource::meta(object);
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// A future that may be put among others.
pub fn boxed(future: impl Future<Output = ()> + Send + 'static) -> BoxFuture<'static, ()> {
    future.boxed()
}
