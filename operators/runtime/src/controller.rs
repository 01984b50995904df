//! Runs the rounds of one kind: so many at once, in turn, again when they ask for it.
//!
//! kube's Controller is not used. Its defaults are dangerous in four ways at once, of which three
//! can be set: rounds are unbounded (P1), one backoff is shared by all watches (P2), and failed
//! rounds are all tried again after the same pause (P3). The fourth cannot: objects that are due
//! wait in a hash map, so with more of them than rounds at once some may never have their turn.
//! Deletions reach the queue by `watch` and `children` (P8b).
//!
//! Must not: know what a round does.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use kube::core::DeserializeGuard;
use tokio::sync::watch;
use tracing::{debug, error, warn};

use crate::backoff::{Attempts, jittered};
use crate::board::Key;
use crate::cache::Cache;
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
    /// There is more to do, after all that is due already.
    InTurn,
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

struct Shared<K, R> {
    name: &'static str,
    ctx: Arc<Context>,
    cache: Cache<Guarded<K>>,
    reconcile: Arc<R>,
    failures: Attempts<Key>,
    polls: Attempts<Key>,
}

impl<K, R> Shared<K, R> {
    /// An object is gone, which is how its last trigger ends.
    fn forget(&self, key: &Key) {
        debug!(namespace = key.0, name = key.1, "gone");
        self.ctx.metrics.gone(self.name, format!("{}/{}", key.0, key.1));
        self.failures.forget(key);
        self.polls.forget(key);
    }
}

/// Runs a controller until `stop` turns true and its running rounds have ended.
pub async fn run<K, R>(
    name: &'static str,
    ctx: Arc<Context>,
    cache: Cache<Guarded<K>>,
    triggers: Arc<Triggers>,
    reconcile: Arc<R>,
    stop: watch::Receiver<bool>,
) where
    K: Object,
    R: Reconcile<K>,
{
    let options = &ctx.options;
    let concurrency = usize::from(options.concurrency);
    ctx.metrics.controller(name, options.concurrency);
    let polls = crate::backoff::BackoffOptions { first: options.poll, max: options.poll_max };
    let shared = Shared {
        name,
        ctx: Arc::clone(&ctx),
        cache,
        reconcile,
        failures: Attempts::new(options.backoff),
        polls: Attempts::new(polls),
    };
    let one = |key| one_round(key, &shared);
    triggers.work(concurrency, shared.cache.complete(), stop, one).await;
}

/// The object, and after which time it is to be looked at again.
async fn one_round<K: Object, R: Reconcile<K>>(
    key: Key,
    shared: &Shared<K, R>,
) -> (Key, Option<Duration>) {
    use tracing::Instrument;
    let ctx = &shared.ctx;
    let _permit = ctx.permits.acquire().await.expect("the semaphore is never closed");
    let Some(object) = shared.cache.get(&key) else {
        shared.forget(&key);
        return (key, None);
    };
    let span = tracing::info_span!(
        parent: None,
        "reconcile",
        kind = %K::kind(&()),
        namespace = key.0,
        name = key.1,
        generation = kube::Resource::meta(&*object).generation,
        trace_id = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    // The lines of a round belong together even where no traces are collected.
    let trace_id = span.in_scope(orrery_operand::trace::trace_id);
    let trace_id = trace_id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    span.record("trace_id", trace_id);
    let mut measured = ctx.metrics.round(shared.name, &format!("{}/{}", key.0, key.1));
    let object = match &object.0 {
        Ok(object) => object,
        Err(invalid) => {
            shared.reconcile.malformed(&object, &invalid.error).instrument(span).await;
            measured.failed("Malformed");
            return (key, None);
        }
    };
    let result = shared.reconcile.round(object).instrument(span.clone()).await;
    let after = match result {
        Ok(next) => {
            shared.failures.forget(&key);
            let after = pause(shared, &key, next);
            measured.succeeded(after.is_some());
            after
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
            Some(again(shared, &key, class))
        }
    };
    (key, after)
}

fn pause<K, R>(shared: &Shared<K, R>, key: &Key, next: Next) -> Option<Duration> {
    if next != Next::Soon {
        shared.polls.forget(key);
    }
    match next {
        Next::InTurn => Some(Duration::ZERO),
        Next::AtRest => Some(jittered(shared.ctx.options.net, rand::random())),
        Next::Within(time) => Some(jittered(shared.ctx.options.net, rand::random()).min(time)),
        Next::Soon => Some(shared.polls.failed(key.clone())),
        Next::OnChange => None,
    }
}

/// How long to wait after a round that failed.
fn again<K, R>(shared: &Shared<K, R>, key: &Key, class: Class) -> Duration {
    debug!(?class, "trying again later");
    let wait = shared.failures.failed(key.clone());
    // What is waited for may be an object that no watch of ours shows (a user's Secret): a person
    // who makes it must not wait for minutes.
    let is_expected = class == Class::WaitingFor;
    // After an outage nobody should wait for as long as it lasted.
    let was_away = class == Class::Transient && shared.ctx.liveness.troubled();
    let soon = is_expected || was_away;
    let wait = if soon { wait.min(shared.ctx.options.poll_max) } else { wait };
    // A server that asks for a pause gets it.
    wait.max(shared.ctx.liveness.pause())
}
