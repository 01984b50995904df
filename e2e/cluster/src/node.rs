//! Toy nodes: stand-ins for kubelets. They register Nodes, keep them alive, and carry the pods
//! the real scheduler binds to them with a [`PodRunner`]: marked as running only, or run as
//! processes of this machine.
//!
//! What a pod does here can be changed per namespace: another runner, held back, refused,
//! crashed, made unready.

mod mark_only;
mod pods;
mod register;
mod rules;
mod seat;
mod status;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

pub use mark_only::MarkOnly;
pub use rules::Rule;
pub use seat::{Order, Seat};
pub use status::{ContainerState, Ended, Phase, PodState, Step};

use crate::ClusterError;
use crate::node::rules::Rules;
use crate::processes::log_name;
use crate::run::Run;

/// Carries a pod from its binding to its end.
#[async_trait]
pub trait PodRunner: Send + Sync + std::fmt::Debug {
    /// Runs one pod: reports each change through `seat`, obeys its orders, and returns when
    /// nothing of the pod is left, because it was told to stop or because it completed.
    async fn run(&self, seat: &mut Seat);

    /// Whether pods get an address that answers on this machine (127.x.y.z). Others get one that
    /// is only a number. EndpointSlices take no loopback addresses: Services of pods that have
    /// one stay without endpoints.
    fn answers(&self) -> bool {
        false
    }
}

/// The toy nodes of one cluster. Clones are handles on the same nodes.
#[derive(Debug, Clone)]
pub struct Nodes {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    /// Names, `toy-1` and on.
    names: Vec<String>,
    run: Arc<Run>,
    /// Folders of pods.
    folder: PathBuf,
    rules: Rules,
    runners: Mutex<HashMap<String, Arc<dyn PodRunner>>>,
    default_runner: Arc<dyn PodRunner>,
    pods: pods::Table,
    /// Indices of nodes that are dead.
    failed: Mutex<HashSet<usize>>,
}

impl Nodes {
    /// Registers `count` nodes and serves them until the cluster ends. Must be called on the
    /// background runtime.
    pub(crate) async fn start(
        client: Client,
        run: Arc<Run>,
        count: usize,
    ) -> Result<Self, ClusterError> {
        let names: Vec<String> = (1..=count).map(|number| format!("toy-{number}")).collect();
        let version = client.apiserver_version().await?.git_version;
        for (index, name) in names.iter().enumerate() {
            register::register(&client, name, index, &version).await?;
        }
        let shared = Arc::new(Shared {
            folder: run.folder("pods")?,
            client,
            names,
            run,
            rules: Rules::default(),
            runners: Mutex::default(),
            default_runner: Arc::new(MarkOnly),
            pods: pods::Table::default(),
            failed: Mutex::default(),
        });
        for index in 0..count {
            let (alive, client) = (shared.clone(), shared.client.clone());
            shared.run.task(register::keep_alive(client, shared.names[index].clone(), move || {
                !alive.is_failed(index)
            }));
        }
        shared.run.task(pods::serve(shared.clone()));
        Ok(Self { shared })
    }

    /// The names of the nodes.
    pub fn names(&self) -> &[String] {
        &self.shared.names
    }

    /// Pods of `namespace` that start from now on are carried by `runner`. Without this they
    /// are carried by [`MarkOnly`].
    pub fn run_with(&self, namespace: &str, runner: Arc<dyn PodRunner>) {
        self.shared.runners().insert(namespace.to_owned(), runner);
    }

    /// Pods of `namespace` whose names begin with `prefix` follow `rule` until the guard is
    /// dropped.
    #[must_use = "the rule ends when the guard is dropped"]
    pub fn rule(&self, namespace: &str, prefix: &str, rule: Rule) -> RuleGuard {
        let id = self.shared.rules.add(namespace, prefix, rule);
        RuleGuard { shared: self.shared.clone(), id }
    }

    /// The log of a container that runs as a process, of all its runs so far.
    ///
    /// # Errors
    /// When there is none.
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> Result<String, ClusterError> {
        let path = self.shared.run.folder("logs")?.join(log_name(namespace, pod, container));
        let bytes = std::fs::read(&path).map_err(ClusterError::file(path))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The id of the process that runs a container now.
    ///
    /// # Errors
    /// When the API server does not know the pod.
    pub async fn process_id(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<Option<u32>, ClusterError> {
        let pods: Api<Pod> = Api::namespaced(self.shared.client.clone(), namespace);
        let status = pods.get(pod).await?.status.unwrap_or_default();
        let mut statuses = status.container_statuses.into_iter().flatten();
        let status = statuses.find(|status| status.name == container);
        let running = status.filter(|status| status.started == Some(true));
        Ok(running.and_then(|s| s.container_id?.strip_prefix("process://")?.parse().ok()))
    }

    /// Lets a node die: its processes end, its lease runs out, and nothing is reported. After
    /// [`crate::Options::node_grace`] the controllers see it not ready. False for an unknown name.
    pub fn fail(&self, node: &str) -> bool {
        let Some(index) = self.names().iter().position(|name| name == node) else { return false };
        self.shared.failed().insert(index);
        self.shared.pods.abandon(index);
        true
    }

    /// Brings a dead node back; the pods still bound to it are started anew.
    ///
    /// # Errors
    /// When the pods cannot be listed.
    pub async fn recover(&self, node: &str) -> Result<(), ClusterError> {
        let index = self.names().iter().position(|name| name == node);
        self.shared.failed().retain(|failed| Some(*failed) != index);
        register::report_ready(&self.shared.client, node).await?;
        Ok(pods::revisit(&self.shared, node).await?)
    }

    /// Sends an order to a running pod. False when there is no such pod on these nodes.
    pub fn order(&self, namespace: &str, pod: &str, order: Order) -> bool {
        self.shared.pods.order(namespace, pod, order)
    }
}

/// Keeps a [`Rule`] in force.
#[derive(Debug)]
pub struct RuleGuard {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for RuleGuard {
    fn drop(&mut self) {
        self.shared.rules.remove(self.id);
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Shared {
    fn runners(&self) -> MutexGuard<'_, HashMap<String, Arc<dyn PodRunner>>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_failed(&self, node: usize) -> bool {
        self.failed().contains(&node)
    }

    fn runner(&self, namespace: &str) -> Arc<dyn PodRunner> {
        self.runners().get(namespace).unwrap_or(&self.default_runner).clone()
    }
}
