//! All controllers of a process, from start-up check to orderly end.
//!
//! Must not: know a system; the binary names the kinds.
//!
//! Order of a life: definitions are checked → the lease is won → watches and controllers run →
//! on shutdown the rounds that run may end, then the lease is released. A lost lease ends
//! everything at once (fail-stop). A standby keeps no caches: it lists what it needs when it leads,
//! from the newest state, which takes less than a second per kind.

mod backups;
mod jobs;

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::client::ClientBuilder;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::backup::once::Backups;
use crate::cache::Cache;
use crate::catalogs::{self, Callers};
use crate::certificates::keeper::Surroundings;
use crate::children::watch::{ChildWatches, Routes};
use crate::client::Outlet;
use crate::context::{Context, Options};
use crate::controller::{self, Guarded};
use crate::declared::{DeclaredKind, Inputs, Source};
use crate::engine::Engine;
use crate::events::Events;
use crate::health::Health;
use crate::lease::{Elector, Gate, LeaseError};
use crate::liveness::Liveness;
use crate::metrics::Metrics;
use crate::startup::{self, StartupError};
use crate::step::report::StatusMemory;
use crate::system::{Declared, Object, System};
use crate::triggers::Triggers;
use crate::watch::{Change, WatchOptions, changes, events, key_of};

pub use jobs::DeclaredHandle;
use jobs::Watched;

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("failed to set up the connection to the API server")]
    Connect(#[source] kube::Error),
    #[error(transparent)]
    Startup(#[from] StartupError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("a controller or a watch ended by itself")]
    Ended,
}

/// The clients of a process and what stands between them and the server.
#[derive(Clone)]
pub struct Connection {
    /// Writes only while the gate is open.
    pub client: Client,
    /// For the lease itself.
    pub lease_client: Client,
    pub gate: Arc<Gate>,
    pub liveness: Arc<Liveness>,
    pub metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("gate", &self.gate).finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects as the configuration says.
    pub fn new(config: &kube::Config, options: &Options) -> Result<Self, OperatorError> {
        Self::with(options, |outlet| outlet.connect(config.clone()))
    }

    /// Lets `connect` make each client from its outlet: the seam for scripted and faulty servers.
    pub fn with(
        options: &Options,
        connect: impl Fn(&Outlet) -> kube::Result<Client>,
    ) -> Result<Self, OperatorError> {
        let gate = Arc::new(match options.lease {
            Some(_) => Gate::closed(),
            None => Gate::open(),
        });
        let (liveness, metrics) = (Arc::<Liveness>::default(), Arc::<Metrics>::default());
        let outlet = |gate| Outlet {
            deadline: options.deadline,
            gate,
            liveness: Arc::clone(&liveness),
            metrics: Arc::clone(&metrics),
        };
        let client = connect(&outlet(Some(Arc::clone(&gate)))).map_err(OperatorError::Connect)?;
        let lease_client = connect(&outlet(None)).map_err(OperatorError::Connect)?;
        Ok(Self { client, lease_client, gate, liveness, metrics })
    }

    /// The base of a client without kube's own retries, for [`Connection::with`].
    pub fn base(config: &kube::Config) -> kube::Result<ClientBuilder<Base>> {
        let mut config = config.clone();
        config.default_retry = false;
        ClientBuilder::try_from(config)
    }
}

/// What kube makes of a configuration: connection, TLS and credentials.
pub type Base = tower::util::BoxService<
    http::Request<kube::client::Body>,
    http::Response<Box<kube::client::DynBody>>,
    tower::BoxError,
>;

type Check = Box<
    dyn Fn(Client, Vec<Option<String>>) -> BoxFuture<'static, Result<(), StartupError>>
        + Send
        + Sync,
>;
type Start = Box<dyn FnOnce(signal::Receiver<bool>) -> Vec<BoxFuture<'static, ()>> + Send>;
type Follower = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// The operator before it runs.
pub struct Operator {
    ctx: Arc<Context>,
    connection: Connection,
    routes: Routes,
    /// By the system they belong to.
    checks: Vec<(&'static str, Check)>,
    starts: Vec<(&'static str, Start)>,
    /// Of all engine kinds that have archives.
    backups: Option<Arc<Backups>>,
    /// By kind, those whose spec names a catalog.
    releases: Vec<Callers>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operator").field("ctx", &self.ctx).finish_non_exhaustive()
    }
}

/// An engine kind that was added; declared kinds are added to it.
pub struct EngineHandle<S: System> {
    engine: Arc<Engine<S>>,
    followers: Arc<Mutex<Vec<Follower>>>,
}

impl<S: System> std::fmt::Debug for EngineHandle<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHandle").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl Operator {
    pub fn new(connection: Connection, options: Options) -> Self {
        let ctx = Context::new(
            connection.client.clone(),
            Arc::clone(&connection.gate),
            options,
            Arc::clone(&connection.metrics),
            Arc::clone(&connection.liveness),
        );
        Self {
            ctx: Arc::new(ctx),
            connection,
            routes: Routes::default(),
            checks: Vec::new(),
            starts: Vec::new(),
            backups: None,
            releases: Vec::new(),
        }
    }

    /// What `/metrics`, `/healthz` and `/readyz` show; serve it also while standing by.
    pub fn health(&self) -> Health {
        Health {
            liveness: Arc::clone(&self.connection.liveness),
            metrics: Arc::clone(&self.connection.metrics),
            silence_max: self.ctx.options.silence_max,
        }
    }

    /// Adds an engine kind.
    pub fn engine<S: System>(&mut self) -> EngineHandle<S> {
        let name = controller_name::<S::Kind>();
        let cache = Cache::default();
        let triggers = self.triggers(name);
        let kind = S::Kind::kind(&()).into_owned();
        self.routes.kinds.insert(kind, Arc::clone(&triggers));
        self.routes.systems.insert(S::NAME.to_owned(), Arc::clone(&triggers));
        self.releases.push(callers::<S>(cache.clone(), Arc::clone(&triggers)));
        let engine = Arc::new(Engine::<S> {
            ctx: Arc::clone(&self.ctx),
            events: self.events(name),
            cache: cache.clone(),
            triggers: Arc::clone(&triggers),
            sources: Mutex::default(),
            statuses: StatusMemory::default(),
        });
        let followers: Arc<Mutex<Vec<Follower>>> = Arc::default();
        let told = Arc::clone(&followers);
        let own = Arc::clone(&engine);
        let changed = move |change: &Change<Guarded<S::Kind>>| {
            if !change.matters() {
                return;
            }
            let Some(object) = change.object() else {
                return;
            };
            let meta = object.meta();
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let name = meta.name.as_deref().unwrap_or_default();
            if change.new.is_none() {
                own.forget(meta.uid.as_deref().unwrap_or_default());
            }
            own.triggers.push((namespace.to_owned(), name.to_owned()));
            let followers = told.lock().unwrap_or_else(PoisonError::into_inner);
            followers.iter().for_each(|follower| follower(namespace, name));
        };
        self.add(S::NAME, name, cache, triggers, Arc::clone(&engine), changed);
        EngineHandle { engine, followers }
    }

    /// Adds a declared kind to its engine.
    pub fn declared<D: Declared>(&mut self, engine: &EngineHandle<D::Engine>) -> DeclaredHandle<D> {
        let name = controller_name::<D::Kind>();
        let cache = Cache::default();
        let triggers = self.triggers(name);
        let kind = Arc::new(DeclaredKind::<D> {
            ctx: Arc::clone(&self.ctx),
            events: self.events(name),
            kind: leaked(D::Kind::kind(&()).into_owned()),
            cache: cache.clone(),
            triggers: Arc::clone(&triggers),
            engine: Arc::clone(&engine.engine),
            statuses: StatusMemory::default(),
            inputs: Inputs::default(),
        });
        let source = Source { kind: Arc::clone(&kind), marker: std::marker::PhantomData };
        let sources = &engine.engine.sources;
        sources.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(source));
        let follower = Arc::clone(&kind);
        let follow: Follower = Arc::new(move |ns, name| follower.engine_changed(ns, name));
        engine.followers.lock().unwrap_or_else(PoisonError::into_inner).push(follow);
        let (told, watched) = (Arc::clone(&kind), Watched::<D>::default());
        let also = watched.clone();
        self.add(D::Engine::NAME, name, cache, triggers, Arc::clone(&kind), move |change| {
            told.changed(change);
            also.tell(change);
        });
        DeclaredHandle::new(kind, watched)
    }

    fn triggers(&self, controller: &'static str) -> Arc<Triggers> {
        Triggers::new(controller, self.ctx.options.debounce, Arc::clone(&self.ctx.metrics))
    }

    fn events(&self, controller: &str) -> Events {
        let (client, liveness) = (self.ctx.client.clone(), Arc::clone(&self.ctx.liveness));
        Events::new(client, controller, &self.ctx.options.instance, liveness)
    }

    fn add<K: Object, R: controller::Reconcile<K>>(
        &mut self,
        system: &'static str,
        name: &'static str,
        cache: Cache<Guarded<K>>,
        triggers: Arc<Triggers>,
        reconcile: Arc<R>,
        changed: impl Fn(&Change<Guarded<K>>) + Send + 'static,
    ) {
        let check: Check = Box::new(|client, scopes| {
            async move { startup::check_definition::<K>(&client, &scopes).await }.boxed()
        });
        self.checks.push((system, check));
        let ctx = Arc::clone(&self.ctx);
        let start: Start = Box::new(move |stop| {
            let watching = follow(&ctx, cache.clone(), changed);
            let running = controller::run(name, ctx, cache, triggers, reconcile, stop).boxed();
            vec![watching, running]
        });
        self.starts.push((system, start));
    }

    /// Runs until `shutdown` resolves, the lease is lost, or something that must not end ends.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Result<(), OperatorError> {
        let mut shutdown = std::pin::pin!(shutdown);
        let scopes = self.ctx.options.scopes();
        let mut checked = Vec::new();
        for (system, check) in &self.checks {
            let check = check(self.connection.lease_client.clone(), scopes.clone());
            tokio::select! {
                result = check => checked.push((*system, result)),
                () = &mut shutdown => return Ok(()),
            }
        }
        let left_out = startup::left_out(checked)?;
        self.starts.retain(|(system, _)| !left_out.contains(system));
        let metrics = Arc::clone(&self.connection.metrics);
        let Some(lease) = self.ctx.options.lease.clone() else {
            metrics.set_leader("orrery", true);
            return self.lead(shutdown).await;
        };
        let (client, gate) =
            (self.connection.lease_client.clone(), Arc::clone(&self.connection.gate));
        let mut elector = Elector::new(client, lease, gate)?;
        let mut leading = elector.leading();
        let ended = {
            let mut electing = std::pin::pin!(elector.run());
            tokio::select! {
                lost = &mut electing => Err(lost.into()),
                () = &mut shutdown => Ok(()),
                // The guard that comes with the value must not be held while leading.
                () = async { drop(leading.wait_for(|leads| *leads).await) } => {
                    metrics.set_leader("orrery", true);
                    tokio::select! {
                        biased;
                        lost = &mut electing => Err(lost.into()),
                        ended = self.lead(shutdown) => ended,
                    }
                }
            }
        };
        metrics.set_leader("orrery", false);
        if ended.is_ok() {
            elector.release().await;
        }
        ended
    }

    /// Everything that runs while this process leads. Dropping it stops all of it at once.
    async fn lead(self, shutdown: impl Future<Output = ()>) -> Result<(), OperatorError> {
        let (stop, stopped) = signal::channel(false);
        let mut watches = JoinSet::new();
        let mut controllers = JoinSet::new();
        let scopes = self.ctx.options.scopes();
        let routes = Arc::new(self.routes);
        if let Some(certificates) = self.ctx.certificates.clone() {
            let ctx = Arc::clone(&self.ctx);
            // Before the rounds that need it, unless the server has to be asked again.
            if let Err(error) = certificates.look(&surroundings(&ctx, &scopes)).await {
                warn!(%error, "the certificate authority is not there yet");
            }
            let routes = Arc::clone(&routes);
            watches.spawn(async move {
                let around = surroundings(&ctx, &scopes);
                certificates.run(&around, |owners| routes.owners(owners)).await;
            });
        }
        let children = ChildWatches {
            client: self.ctx.client.clone(),
            namespaces: self.ctx.options.scopes(),
            options: self.ctx.options.watch.clone(),
            liveness: Arc::clone(&self.ctx.liveness),
            store: Arc::clone(&self.ctx.children),
            routes: Arc::clone(&routes),
        };
        children.futures().into_iter().for_each(|future| {
            watches.spawn(future);
        });
        watches.spawn(catalogs::watch(Arc::clone(&self.ctx), self.releases));
        let pulses = Arc::clone(&self.ctx.pulses);
        let gate = Arc::clone(&self.connection.gate);
        watches.spawn(pulses.run(Arc::clone(&self.ctx.children), gate));
        for (_, start) in self.starts {
            let mut futures = start(stopped.clone()).into_iter();
            futures.next().map(|watching| watches.spawn(watching));
            futures.for_each(|running| {
                controllers.spawn(running);
            });
        }
        info!("controllers started");
        tokio::select! {
            () = shutdown => {}
            _ = watches.join_next() => return Err(OperatorError::Ended),
            _ = controllers.join_next() => return Err(OperatorError::Ended),
        }
        info!("shutting down");
        stop.send_replace(true);
        let ending = async { while controllers.join_next().await.is_some() {} };
        if tokio::time::timeout(self.ctx.options.shutdown, ending).await.is_err() {
            warn!("rounds did not end in time and are cut off");
        }
        Ok(())
    }
}

/// What the authority needs of the rest.
fn surroundings<'a>(ctx: &'a Context, scopes: &'a [Option<String>]) -> Surroundings<'a> {
    Surroundings {
        client: &ctx.client,
        children: &ctx.children,
        scopes,
        field_manager: ctx.options.field_manager,
    }
}

/// Calls the objects of a kind that name a catalog.
fn callers<S: System>(cache: Cache<Guarded<S::Kind>>, triggers: Arc<Triggers>) -> Callers {
    Arc::new(move |catalog| {
        let named = cache.filter(|object: &Guarded<S::Kind>| {
            let spec = object.0.as_ref().ok().and_then(S::engine_spec);
            let release = spec.and_then(|spec| spec.release.as_ref());
            release.is_some_and(|release| release.catalog == catalog)
        });
        for object in named {
            triggers.push(key_of(&*object));
        }
    })
}

/// The watch of a kind: keeps the cache and tells changes.
fn follow<K>(
    ctx: &Context,
    cache: Cache<K>,
    changed: impl Fn(&Change<K>) + Send + 'static,
) -> BoxFuture<'static, ()>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    // Lists of main kinds are read from the newest state, never from a cache that may lag: what is
    // missing from them is taken away from engines.
    let options = WatchOptions { streaming_lists: false, ..ctx.options.watch.clone() };
    let streams: Vec<_> = ctx
        .options
        .scopes()
        .iter()
        .map(|scope| {
            let (client, liveness) = (&ctx.client, &ctx.liveness);
            events::<K>(client, scope.as_deref(), None, &options, liveness).boxed()
        })
        .collect();
    let events = crate::watch::merged(streams).boxed();
    async move {
        let mut changes = std::pin::pin!(changes(events, cache));
        while let Some(change) = changes.next().await {
            changed(&change);
        }
    }
    .boxed()
}

fn controller_name<K: Object>() -> &'static str {
    leaked(K::kind(&()).to_lowercase())
}

/// Names live as long as the process; there is one per kind and candidacy.
fn leaked(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}
