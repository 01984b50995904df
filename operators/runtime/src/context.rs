//! What every round may use, and how the operator is set up. No globals, no environment.
//!
//! Must not: know a system.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::Semaphore;

use crate::backoff::BackoffOptions;
use crate::backup::snapshots::Snapshots;
use crate::board::Board;
use crate::certificates::{AuthorityOptions, Certificates};
use crate::children::ChildKind;
use crate::children::store::{ChildStore, controller_of};
use crate::errands::desk::Desk;
use crate::group::pulse::Pulses;
use crate::labels;
use crate::lease::{Gate, LeaseOptions};
use crate::listen::Listeners;
use crate::liveness::Liveness;
use crate::metrics::Metrics;
use crate::redacted::Redacted;
use crate::rollout::turns::Turns;
use crate::step::apply::Records;
use crate::watch::WatchOptions;

/// Everything that can be set; parsed by the binary.
#[derive(Debug, Clone)]
pub struct Options {
    /// Namespaces to look after; empty = all.
    pub namespaces: Vec<String>,
    /// Image of the data planes unless a spec names another.
    pub image: String,
    /// Version of the software in that image.
    pub version: String,
    /// Name of this process, such as the pod's; shown in events.
    pub instance: String,
    /// Election; none = this process is alone.
    pub lease: Option<LeaseOptions>,
    /// The authority of the installation; none = pods get no certificates.
    pub authority: Option<AuthorityOptions>,
    /// Rounds at once per controller.
    pub concurrency: u16,
    /// Objects whose pods a new release may replace at the same time.
    pub rollouts_at_once: usize,
    /// Rounds at once in the process.
    pub concurrency_process: usize,
    /// Longest wait for an answer of the API server.
    pub deadline: Duration,
    /// First pause between looks at an object that is under way; doubles to `poll_max`.
    pub poll: Duration,
    pub poll_max: Duration,
    /// Pause between looks at an object at rest: a net under the watches.
    pub net: Duration,
    /// Changes within this time make one round.
    pub debounce: Duration,
    pub backoff: BackoffOptions,
    pub watch: WatchOptions,
    /// A watch that is silent for longer makes the process unhealthy.
    pub silence_max: Duration,
    /// How long running rounds may take to end at shutdown.
    pub shutdown: Duration,
    /// Owner of what is applied to children, and of statuses.
    pub field_manager: &'static str,
    pub status_manager: &'static str,
}

impl Options {
    /// The defaults for an image and its version.
    pub fn new(image: &str, version: &str, instance: &str) -> Self {
        Self {
            namespaces: Vec::new(),
            image: image.to_owned(),
            version: version.to_owned(),
            instance: instance.to_owned(),
            lease: None,
            authority: None,
            concurrency: 8,
            rollouts_at_once: 4,
            concurrency_process: 64,
            deadline: Duration::from_secs(10),
            poll: Duration::from_secs(1),
            poll_max: Duration::from_secs(30),
            net: Duration::from_mins(5),
            debounce: Duration::from_millis(100),
            backoff: BackoffOptions::default(),
            watch: WatchOptions::default(),
            silence_max: Duration::from_mins(3),
            shutdown: Duration::from_secs(20),
            field_manager: "orrery",
            status_manager: "orrery-status",
        }
    }

    /// The scopes watches are made for; none = all namespaces.
    pub fn scopes(&self) -> Vec<Option<String>> {
        if self.namespaces.is_empty() {
            return vec![None];
        }
        self.namespaces.iter().cloned().map(Some).collect()
    }
}

/// Shared by all controllers of a process.
pub struct Context {
    pub client: Client,
    /// Whether this process leads; the client looks at it by itself.
    pub gate: Arc<Gate>,
    pub options: Options,
    pub children: Arc<ChildStore>,
    pub records: Records,
    pub board: Board,
    pub metrics: Arc<Metrics>,
    pub liveness: Arc<Liveness>,
    pub permits: Semaphore,
    pub pulses: Arc<Pulses>,
    pub turns: Turns,
    pub snapshots: Snapshots,
    pub(crate) listeners: Listeners,
    pub(crate) desk: Desk,
    /// None where pods get no certificates.
    pub certificates: Option<Arc<Certificates>>,
    /// By UID of the object.
    tokens: Mutex<HashMap<String, Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    secret: String,
    resource_version: String,
    content: Redacted<String>,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Context {
    pub fn new(
        client: Client,
        gate: Arc<Gate>,
        options: Options,
        metrics: Arc<Metrics>,
        liveness: Arc<Liveness>,
    ) -> Self {
        let permits = Semaphore::new(options.concurrency_process);
        let turns = Turns::new(options.rollouts_at_once);
        let certificates =
            options.authority.clone().map(|authority| Arc::new(Certificates::new(authority)));
        Self {
            client,
            gate,
            options,
            children: Arc::default(),
            records: Records::default(),
            board: Board::default(),
            metrics,
            liveness,
            permits,
            pulses: Arc::default(),
            turns,
            snapshots: Snapshots::default(),
            listeners: Listeners::default(),
            desk: Desk::default(),
            certificates,
            tokens: Mutex::default(),
        }
    }

    /// The bearer token for the pods of an object: read from its generated Secret when first
    /// needed and again whenever the watch shows another version of it.
    pub async fn token(
        &self,
        namespace: &str,
        owner_uid: &str,
    ) -> kube::Result<Option<Redacted<String>>> {
        let secrets = self.children.of_owner(owner_uid);
        for (_, name, shown) in secrets.into_iter().filter(|(kind, ..)| *kind == ChildKind::Secret)
        {
            if let Some(token) = self.tokens().get(owner_uid)
                && token.secret == name
                && token.resource_version == shown.resource_version
            {
                return Ok(Some(token.content.clone()));
            }
            let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
            let Some(secret) = api.get_opt(&name).await? else {
                continue;
            };
            // A Secret of a later object of the same name opens pods that are not this one's.
            if controller_of(&secret.metadata).is_none_or(|owner| owner.uid != owner_uid) {
                continue;
            }
            let content = secret.data.as_ref().and_then(|d| d.get(labels::MANAGEMENT_TOKEN_KEY));
            if let Some(content) = content {
                let content = Redacted::new(String::from_utf8_lossy(&content.0).into_owned());
                let resource_version = secret.metadata.resource_version.unwrap_or_default();
                let token = Token { secret: name, resource_version, content: content.clone() };
                self.tokens().insert(owner_uid.to_owned(), token);
                return Ok(Some(content));
            }
        }
        Ok(None)
    }

    /// Forgets what was kept for an object that is gone.
    pub fn forget(&self, owner_uid: &str) {
        self.records.forget(owner_uid);
        self.metrics.object_gone(owner_uid);
        self.tokens().remove(owner_uid);
        self.board.forget_engine(owner_uid);
        self.pulses.forget(owner_uid);
        self.listeners.forget(owner_uid);
        self.desk.forget(owner_uid);
        self.turns.release(owner_uid);
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<String, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
