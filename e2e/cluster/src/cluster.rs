//! The cluster as tests see it: where its kubeconfig is, clients, namespaces, kubectl.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::control_plane::{ControlPlane, Options, Site};
use crate::real_nodes::{Ground, RealNodes};
use crate::run::Run;
use crate::say::not_run;
use crate::storage::Disks;
use crate::wait::poll;
use crate::{ClusterError, Namespace, Nodes, kubeconfig, storage, tool};

/// Names a cluster to use instead of one of our own.
const EXISTING: &str = "ORRERY_TEST_KUBECONFIG";

/// Who applies CRDs, as server-side apply records it.
const FIELD_MANAGER: &str = "orrery-e2e";

/// For a kubectl command, all that it waits for included.
const KUBECTL_LIMIT: Duration = Duration::from_mins(10);

/// For a CRD to be served; takes well under a second on an idle machine.
const ESTABLISHED_LIMIT: Duration = Duration::from_secs(30);

/// A handle on a cluster. Clones share it; one of our own ends with the last of them.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kubeconfig: PathBuf,
    config: kube::Config,
    /// Absent when the cluster existed before.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    plane: ControlPlane,
    toys: Nodes,
    real: Option<RealNodes>,
    run: Arc<Run>,
}

impl Drop for Own {
    /// The run's own tasks hold it too, so it is ended by hand.
    fn drop(&mut self) {
        self.run.end();
    }
}

impl Cluster {
    /// The cluster of this test process, started by whoever asks first and ended at exit.
    /// Nothing is returned, and "not run" with the reason is printed, when the machine lacks
    /// something; a cluster that should start and does not is a panic with its logs.
    ///
    /// # Panics
    /// When the cluster does not start, and when something is missing although
    /// `ORRERY_TEST_REQUIRED` is set.
    pub async fn shared() -> Option<Self> {
        match Self::try_shared().await {
            Ok(cluster) => Some(cluster.clone()),
            Err(ClusterError::Missing(reason)) => {
                not_run(reason);
                None
            }
            Err(cause) => panic!("{}", with_causes(cause)),
        }
    }

    /// [`Self::shared`] for tests that need its toy nodes; "not run" where there are none.
    ///
    /// # Panics
    /// As [`Self::shared`], and when toy nodes are missing although `ORRERY_TEST_REQUIRED` is set.
    pub async fn shared_with_nodes() -> Option<(Self, Nodes)> {
        let cluster = Self::shared().await?;
        if let Some(nodes) = cluster.nodes() {
            let nodes = nodes.clone();
            return Some((cluster, nodes));
        }
        not_run(&format!("toy nodes are needed, and {EXISTING} names a cluster without"));
        None
    }

    /// A second cluster of this test process, with two real nodes; it is started by whoever asks
    /// first and ended at exit. "Not run" where the machine cannot carry them.
    ///
    /// # Panics
    /// As [`Self::shared`].
    pub async fn shared_with_real_nodes() -> Option<(Self, RealNodes)> {
        static SHARED: OnceCell<Result<Cluster, ClusterError>> = OnceCell::const_new();
        match SHARED.get_or_init(|| Self::start(Options::real(2))).await {
            Ok(cluster) => {
                if let Some(nodes) = cluster.real_nodes() {
                    return Some((cluster.clone(), nodes.clone()));
                }
                not_run(&format!("real nodes are needed, and {EXISTING} names a cluster"));
            }
            Err(ClusterError::Missing(reason)) => not_run(reason),
            Err(cause) => panic!("{}", with_causes(cause)),
        }
        None
    }

    /// Why [`Self::shared`] gives nothing, or nothing when it gives a cluster.
    pub async fn unavailable() -> Option<String> {
        Self::try_shared().await.err().map(|cause| with_causes(cause))
    }

    /// Tried once: what failed for the first test fails for all.
    async fn try_shared() -> Result<&'static Self, &'static ClusterError> {
        static SHARED: OnceCell<Result<Cluster, ClusterError>> = OnceCell::const_new();
        SHARED.get_or_init(|| Self::start(Options::default())).await.as_ref()
    }

    /// A cluster for the caller alone, or the existing one that `ORRERY_TEST_KUBECONFIG` names.
    /// For tests that break it; all others share one.
    ///
    /// # Errors
    /// [`ClusterError::Missing`] when the machine lacks something, others when it fails to start.
    pub async fn start(options: Options) -> Result<Self, ClusterError> {
        // On a runtime of our own: that of the caller may end with its test.
        let started = background().spawn(async move {
            match std::env::var_os(EXISTING).filter(|path| !path.is_empty()) {
                Some(path) => Self::existing(PathBuf::from(path)).await,
                None => Self::own(&options).await,
            }
        });
        started.await.map_err(|cause| ClusterError::Missing(format!("start panicked: {cause}")))?
    }

    async fn existing(kubeconfig: PathBuf) -> Result<Self, ClusterError> {
        let config = kubeconfig::read(&kubeconfig).await?;
        Ok(Self { inner: Arc::new(Inner { kubeconfig, config, own: None }) })
    }

    async fn own(options: &Options) -> Result<Self, ClusterError> {
        let run = Run::open()?;
        let ground = match options.real_nodes {
            0 => None,
            count => Some(Ground::prepare(count).await?),
        };
        let site = ground.as_ref().map_or(Site::Loopback, Ground::site);
        let plane = ControlPlane::start(&run, options, site).await?;
        let (kubeconfig, config) = (plane.kubeconfig.clone(), plane.config.clone());
        let client = Client::try_from(config.clone())?;
        let real = match ground {
            Some(ground) => Some(RealNodes::start(ground, &plane, &client, run.clone()).await?),
            None => None,
        };
        let disks = match &real {
            Some(nodes) => nodes.disks(),
            None => Disks { seen: run.folder("volumes")?, outside: HashMap::new() },
        };
        storage::start(client.clone(), &run, disks).await?;
        let toys = Nodes::start(client, run.clone(), options.nodes).await?;
        let own = Some(Own { plane, toys, real, run });
        Ok(Self { inner: Arc::new(Inner { kubeconfig, config, own }) })
    }

    /// The kubeconfig of a user who may do everything.
    pub fn kubeconfig_path(&self) -> &Path {
        &self.inner.kubeconfig
    }

    /// The client configuration of the same user, to be changed for others.
    pub fn config(&self) -> kube::Config {
        self.inner.config.clone()
    }

    /// A new client. It belongs to the runtime it is asked for in and ends with it.
    ///
    /// # Panics
    /// Outside a tokio runtime, and when the certificates cannot be read.
    pub fn client(&self) -> Client {
        Client::try_from(self.config()).expect("the configuration made a client when it was read")
    }

    /// The toy nodes. A cluster that existed before has real ones instead.
    pub fn nodes(&self) -> Option<&Nodes> {
        self.inner.own.as_ref().map(|own| &own.toys)
    }

    /// The real nodes, when this is a cluster of our own that was started with some.
    pub fn real_nodes(&self) -> Option<&RealNodes> {
        self.inner.own.as_ref()?.real.as_ref()
    }

    /// A fresh namespace `<name>-<random>`, ready for pods, removed at drop.
    ///
    /// # Errors
    /// When the API server refuses it or the controllers do not prepare it in time.
    pub async fn namespace(&self, name: &str) -> Result<Namespace, ClusterError> {
        Namespace::create(self.clone(), name).await
    }

    /// Applies CRDs by server-side apply and waits until they are served.
    ///
    /// # Errors
    /// When one is refused or not established in time.
    pub async fn install_crds(
        &self,
        crds: &[CustomResourceDefinition],
    ) -> Result<(), ClusterError> {
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        let manager = PatchParams::apply(FIELD_MANAGER).force();
        for crd in crds {
            api.patch(&crd.name_any(), &manager, &Patch::Apply(crd)).await?;
        }
        for crd in crds {
            let name = crd.name_any();
            poll(&format!("{name} established"), ESTABLISHED_LIMIT, || async {
                api.get_opt(&name).await.ok().flatten().is_some_and(|crd| is_established(&crd))
            })
            .await?;
        }
        Ok(())
    }

    /// `kubectl apply -f` of a text with any number of documents.
    ///
    /// # Errors
    /// When kubectl fails, with what it said.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<(), ClusterError> {
        let output = self.kubectl_with_input(["apply", "-f", "-"], &document(yaml)).await?;
        succeeded("kubectl apply", &output).map(drop)
    }

    /// kubectl as a user runs it; its exit status is the caller's to judge.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    pub async fn kubectl<I>(&self, args: I) -> Result<Output, ClusterError>
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        self.kubectl_with_input(args, "").await
    }

    /// [`Self::kubectl`] with a standard input.
    ///
    /// # Errors
    /// When it cannot be started, or does not end.
    pub async fn kubectl_with_input<I>(&self, args: I, input: &str) -> Result<Output, ClusterError>
    where
        I: IntoIterator<Item: AsRef<OsStr>>,
    {
        let program = self.kubectl_program()?;
        let start = |cause| ClusterError::Start { program: "kubectl".to_owned(), cause };
        let mut child = tokio::process::Command::new(program)
            .args(args)
            .env("KUBECONFIG", &self.inner.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(start)?;
        let ended = tokio::time::timeout(KUBECTL_LIMIT, async move {
            if let Some(mut stdin) = child.stdin.take() {
                // A command that does not read may have closed it already.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        });
        let late = |_| {
            let what = "the end of a kubectl command".to_owned();
            ClusterError::Late { what, seconds: KUBECTL_LIMIT.as_secs() }
        };
        ended.await.map_err(late)?.map_err(start)
    }

    /// Ours when the cluster is ours; beside somebody's cluster their own kubectl comes first.
    fn kubectl_program(&self) -> Result<PathBuf, ClusterError> {
        let theirs = || {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|p| p.is_file())
        };
        match self.inner.own.is_none().then(theirs).flatten() {
            Some(program) => Ok(program),
            None => tool("kubectl"),
        }
    }

    /// Stops the API server where it stands: connections stay open and nothing is answered. For a
    /// cluster of one's own alone.
    pub fn freeze_api_server(&self) {
        if let Some(own) = &self.inner.own {
            own.plane.freeze_api_server();
        }
    }

    /// Kills the API server, frozen or not: connections break and new ones are refused.
    pub async fn kill_api_server(&self) {
        if let Some(own) = &self.inner.own {
            own.plane.kill_api_server().await;
        }
    }

    /// Starts the API server that was killed, at the same address, and waits until it serves.
    ///
    /// # Errors
    /// When it does not start in time.
    pub async fn start_api_server(&self) -> Result<(), ClusterError> {
        match &self.inner.own {
            Some(own) => own.plane.start_api_server(&own.run).await,
            None => Err(ClusterError::Missing("this cluster is not ours".to_owned())),
        }
    }

    /// The end of the logs of every part, for a failure whose cause is not known. Empty for a
    /// cluster that is not ours.
    pub fn logs(&self) -> String {
        self.inner.own.as_ref().map(|own| own.plane.logs()).unwrap_or_default()
    }
}

/// The runtime of everything that outlives one test: it runs until the process ends.
pub(crate) fn background() -> &'static Runtime {
    static BACKGROUND: OnceLock<Runtime> = OnceLock::new();
    BACKGROUND.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("orrery-e2e")
            .enable_all()
            .build()
            .expect("a runtime needs two threads, without which no test runs either")
    })
}

/// Standard output of a command that succeeded.
pub(crate) fn succeeded(command: &str, output: &Output) -> Result<String, ClusterError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(ClusterError::Command { command: command.to_owned(), output: said })
}

fn is_established(crd: &CustomResourceDefinition) -> bool {
    let conditions = crd.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// An error and its causes on one line each.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}\ncaused by: {inner}");
        cause = inner.source();
    }
    text
}

/// Some releases of kubectl take what begins with a brace for JSON.
pub(crate) fn document(yaml: &str) -> String {
    format!("---\n{yaml}")
}
