//! Real nodes: kubelet, containerd and kube-proxy, each node in namespaces of its own, around a
//! control plane in a network namespace. Nothing of it reaches the machine's network, settings,
//! `/run` or `/var`, and the kernel takes all of it down with the test process. What the kernel
//! does not, cgroups and the folder of the run, goes with the run or is swept by the next one.

mod config;
mod dns;
mod faults;
mod images;
mod logs;
mod needs;
mod network;
mod node;
mod plan;
mod sandbox;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Node as Resource;
use kube::{Api, Client};
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use faults::Fault;
pub use logs::LogsIfFailed;
pub use plan::CONTROL_PLANE;

use crate::control_plane::{ControlPlane, Site};
use crate::netns::NetNs;
use crate::process::Process;
use crate::run::Run;
use crate::say::say;
use crate::storage::Disks;
use crate::wait::poll_for;
use crate::{ClusterError, image, kubeconfig, relay, tool};
use needs::Needs;
use node::{Life, Node};
use plan::Plan;

/// From the start of a node to its being ready: five seconds, or many times that.
const READY_LIMIT: Duration = Duration::from_mins(3);

/// Taints that the controllers take away some time after a node is ready again.
const OF_DEATH: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// What is there before a control plane is: the machine's part and the network.
#[derive(Debug)]
pub(crate) struct Ground {
    needs: Needs,
    plans: Vec<Plan>,
    netns: NetNs,
}

impl Ground {
    /// Checks what the machine has, builds programs and opens the network of `count` nodes.
    pub(crate) async fn prepare(count: usize) -> Result<Self, ClusterError> {
        blocking(move || {
            let needs = needs::check()?;
            for name in ["kubernetes", "coredns", "pause"] {
                tool(name)?;
            }
            let plans = Plan::all(count);
            let netns = network::open(&plans).map_err(|cause| {
                ClusterError::Missing(format!("real nodes need a network of their own: {cause}"))
            })?;
            Ok(Self { needs, plans, netns })
        })
        .await
    }

    /// Where the control plane listens.
    pub(crate) fn site(&self) -> Site {
        Site::Inside(self.netns.clone(), plan::BRIDGE_ADDRESS)
    }
}

/// The real nodes of one cluster and the network they are in. Clones are handles on the same.
#[derive(Debug, Clone)]
pub struct RealNodes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: Vec<String>,
    nodes: Vec<Node>,
    plans: Vec<Plan>,
    netns: NetNs,
    run: Arc<Run>,
    config: kube::Config,
    kubeconfig: PathBuf,
    _dns: Arc<Process>,
    turn: Arc<Mutex<()>>,
}

/// The nodes are one test's until this is dropped.
#[derive(Debug)]
#[must_use = "the next test has the nodes when this is dropped"]
pub struct Turn {
    _held: OwnedMutexGuard<()>,
}

/// See [`RealNodes::dialer`].
#[derive(Debug, Clone)]
pub struct Dialer {
    netns: NetNs,
}

impl Dialer {
    /// Connects; blocks for `limit` at most.
    ///
    /// # Errors
    /// As for any connection.
    pub fn dial(&self, address: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
        self.netns.connect_within(address, limit)
    }
}

impl RealNodes {
    pub(crate) async fn start(
        ground: Ground,
        plane: &ControlPlane,
        client: &Client,
        run: Arc<Run>,
    ) -> Result<Self, ClusterError> {
        let begun = Instant::now();
        let Ground { needs, plans, netns } = ground;
        let prepare = |plan: &Plan| Node::prepare(&run, plane, &needs, plan.clone());
        let nodes = plans.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        let dns = dns::start(&run, plane, client, &netns).await?;
        let shared = Shared {
            names: plans.iter().map(|plan| plan.name.clone()).collect(),
            nodes,
            plans,
            netns,
            kubeconfig: plane.kubeconfig_for("inside", "orrery-inside", "system:masters")?,
            config: kubeconfig::read(&plane.kubeconfig).await?,
            run,
            _dns: dns,
            turn: Arc::default(),
        };
        let nodes = Self { shared: Arc::new(shared) };
        try_join_all(nodes.names().iter().map(|name| nodes.start_node(name))).await?;
        let pause = nodes.shared.run.folder("images")?.join("pause.tar");
        image::write_image(config::PAUSE_IMAGE, &tool("pause")?, &pause)?;
        nodes.load_image(&pause).await?;
        let (count, seconds) = (nodes.names().len(), begun.elapsed().as_secs_f32());
        say(&format!("{count} real nodes ready in {seconds:.1} s"));
        Ok(nodes)
    }

    /// The names of the nodes: `node-1` and on.
    pub fn names(&self) -> &[String] {
        &self.shared.names
    }

    /// Waits until no other test has the nodes, then sees to it that all of them run. Every test
    /// that breaks something, and every one that a broken node would fail, takes its turn.
    ///
    /// # Errors
    /// When a node that an earlier test left dead does not start.
    pub async fn turn(&self) -> Result<Turn, ClusterError> {
        let turn = Turn { _held: self.shared.turn.clone().lock_owned().await };
        for node in &self.shared.nodes {
            if node.life().is_err() {
                self.start_node(&node.plan.name).await?;
            }
        }
        Ok(turn)
    }

    /// Imports an OCI archive (see [`crate::write_image`]) into every node that runs.
    ///
    /// # Errors
    /// When containerd does not take it.
    pub async fn load_image(&self, archive: &Path) -> Result<(), ClusterError> {
        let lives = self.shared.nodes.iter().filter_map(|node| node.life().ok());
        try_join_all(lives.map(|life| {
            let archive = archive.to_owned();
            blocking(move || images::load(&life, &archive))
        }))
        .await
        .map(drop)
    }

    /// A kubeconfig for programs that run inside, see [`Self::command`].
    pub fn kubeconfig_inside(&self) -> &Path {
        &self.shared.kubeconfig
    }

    /// The address where the control plane is: pods reach there what [`Self::command`] runs.
    pub fn outside(&self) -> Ipv4Addr {
        plan::BRIDGE_ADDRESS
    }

    /// A command that runs where the control plane is: pods answer there under their own
    /// addresses, Services do not. Load and traffic belong there.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("KUBECONFIG", &self.shared.kubeconfig);
        self.shared.netns.enter(&mut command);
        command
    }

    /// Runs a command on a node to its end, among the node's processes, mounts and addresses:
    /// Services answer there.
    ///
    /// # Errors
    /// When the node is dead or the command cannot be started.
    pub async fn run_on(&self, node: &str, command: Command) -> Result<Output, ClusterError> {
        let life = self.node(node)?.life()?;
        blocking(move || life.output(command)).await
    }

    /// Makes connections from a node, as programs there do: Services answer. It may be kept by
    /// threads, and ends with the node's life.
    ///
    /// # Errors
    /// When the node is dead.
    pub fn dialer(&self, node: &str) -> Result<Dialer, ClusterError> {
        Ok(Dialer { netns: self.life(node)?.sandbox.netns.clone() })
    }

    /// A connection from where the control plane is to an address inside.
    ///
    /// # Errors
    /// When nobody answers there within a few seconds.
    pub async fn connect(&self, address: SocketAddr) -> Result<TcpStream, ClusterError> {
        let netns = self.shared.netns.clone();
        let start = move |cause| ClusterError::Start { program: address.to_string(), cause };
        blocking(move || netns.connect(address).map_err(start)).await
    }

    /// An address of this machine's loopback that leads to an address inside until the cluster
    /// ends, for clients that are not part of the cluster.
    ///
    /// # Errors
    /// When no address is free.
    pub fn forward(&self, address: SocketAddr) -> Result<SocketAddr, ClusterError> {
        relay::start(&self.shared.run, self.shared.netns.clone(), address)
    }

    /// Ends a node as a power cut does: containers, kubelet and containerd are gone at once and
    /// nobody is told. Its disk stays.
    ///
    /// # Errors
    /// For an unknown name.
    pub async fn kill(&self, node: &str) -> Result<(), ClusterError> {
        self.node(node)?.kill().await;
        Ok(())
    }

    /// Boots a dead node and waits until it is ready. One that runs is killed first. The taint of
    /// [`Self::declare_dead`] is taken away.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_node(&self, name: &str) -> Result<(), ClusterError> {
        let shared = &self.shared;
        let node = self.node(name)?;
        node.kill().await;
        self.withdraw(name).await?;
        let life = node.start(&shared.run, &shared.netns, &shared.plans).await?;
        let boot = life.boot_id()?;
        let nodes = self.resources()?;
        let what = format!("{name} ready");
        let seen = poll_for(&what, READY_LIMIT, || async {
            if let Some(dead) = life.ended() {
                return Some(Err(format!("{} ended", dead.name())));
            }
            let resource = nodes.get_opt(name).await.ok().flatten()?;
            is_ready(&resource, &boot).then_some(Ok(()))
        });
        let reason = match seen.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(reason)) => reason,
            Err(late) => late.to_string(),
        };
        Err(ClusterError::NotReady { part: name.to_owned(), reason, logs: node.logs() })
    }

    fn resources(&self) -> Result<Api<Resource>, ClusterError> {
        Ok(Api::all(Client::try_from(self.shared.config.clone())?))
    }

    fn node(&self, name: &str) -> Result<&Node, ClusterError> {
        let found = self.shared.nodes.iter().find(|node| node.plan.name == name);
        found.ok_or_else(|| ClusterError::Missing(format!("no node {name}")))
    }

    fn life(&self, name: &str) -> Result<Arc<Life>, ClusterError> {
        self.node(name)?.life()
    }

    /// Where volumes are.
    pub(crate) fn disks(&self) -> Disks {
        let place = |node: &Node| (node.plan.name.clone(), node.disk(node::VOLUMES));
        Disks { seen: node::VOLUMES.into(), outside: self.shared.nodes.iter().map(place).collect() }
    }
}

/// Ready in this life: what a dead node's last report says counts for a while after its death.
fn is_ready(node: &Resource, boot: &str) -> bool {
    let Some(status) = &node.status else { return false };
    let same = status.node_info.as_ref().is_some_and(|info| info.boot_id == boot);
    let conditions = status.conditions.iter().flatten();
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let untainted = taints.filter(|taint| OF_DEATH.contains(&&*taint.key)).count() == 0;
    let ready = conditions.filter(|found| found.type_ == "Ready").any(|c| c.status == "True");
    same && ready && untainted
}

/// Runs what blocks beside the runtime.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClusterError> + Send + 'static,
) -> Result<T, ClusterError> {
    tokio::task::spawn_blocking(work).await.map_err(|cause| panicked(&cause))?
}

fn panicked(cause: &tokio::task::JoinError) -> ClusterError {
    ClusterError::Missing(format!("a step of the harness panicked: {cause}"))
}
