//! One real node: containerd, kubelet and kube-proxy in a sandbox, and its disk between lives.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;

use super::config;
use super::needs::Needs;
use super::network;
use super::plan::Plan;
use super::sandbox::Sandbox;
use crate::cgroup::Cgroup;
use crate::control_plane::ControlPlane;
use crate::netns::NetNs;
use crate::process::Process;
use crate::run::Run;
use crate::wait::poll_for;
use crate::{ClusterError, tool};

/// For containerd to listen; a busy machine may take many times the usual half second.
const LISTEN_LIMIT: Duration = Duration::from_mins(1);

/// Where volumes of the node are, as the node sees it.
pub(super) const VOLUMES: &str = "/var/lib/volumes";

/// A node, dead or alive.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) plan: Plan,
    /// Its disk, configuration and logs.
    pub(super) folder: PathBuf,
    kubeconfig: PathBuf,
    life: Mutex<Option<Arc<Life>>>,
}

/// What runs between a start and a death.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) sandbox: Sandbox,
    daemons: Vec<Arc<Process>>,
}

impl Node {
    /// Writes everything that a node finds on its disk at its first start.
    pub(super) fn prepare(
        run: &Run,
        plane: &ControlPlane,
        needs: &Needs,
        plan: Plan,
    ) -> Result<Self, ClusterError> {
        let folder = run.folder(&plan.name)?;
        let name = &plan.name;
        let kubeconfig =
            plane.kubeconfig_for(name, &format!("system:node:{name}"), "system:nodes")?;
        let user = "system:kube-proxy";
        let proxy = plane.kubeconfig_for(&format!("{name}-proxy"), user, "orrery-e2e")?;
        let group = Cgroup::name_of(run.id(), name);
        let cni = folder.join("cni");
        for path in [&cni, &folder.join("var").join(VOLUMES.trim_start_matches("/var/"))] {
            std::fs::create_dir_all(path).map_err(ClusterError::file(path))?;
        }
        write(&cni.join("pods.conflist"), &pretty(&config::cni(&plan)))?;
        write(&folder.join("containerd.toml"), &config::containerd(&needs.plugins, &cni))?;
        let kubelet_config = config::kubelet(&group, plane.authority());
        write(&folder.join("kubelet.json"), &pretty(&kubelet_config))?;
        write(&folder.join("proxy.json"), &pretty(&config::proxy(&plan, &proxy)))?;
        Ok(Self { plan, folder, kubeconfig, life: Mutex::default() })
    }

    /// Starts the node as a machine boots: the disk is as it was left, all else is new.
    pub(super) async fn start(
        &self,
        run: &Run,
        cluster: &NetNs,
        plans: &[Plan],
    ) -> Result<Arc<Life>, ClusterError> {
        let cgroup = Cgroup::make(run.id(), &self.plan.name)?;
        let sandbox = Sandbox::open(run, &self.plan, &self.folder, &cgroup).await?;
        network::attach(cluster, &sandbox, &self.plan, plans)?;

        let mut command = Command::new("containerd");
        command.arg("--config").arg(self.folder.join("containerd.toml"));
        let containerd = sandbox.start(run, "containerd", command, self.log("containerd"))?;
        listens(&containerd, &sandbox.path(config::CONTAINERD_SOCKET)).await?;
        let kubelet = sandbox.start(run, "kubelet", self.kubelet()?, self.log("kubelet"))?;
        let mut command = Command::new(tool("kubernetes")?);
        command.arg("proxy").arg("--config").arg(self.folder.join("proxy.json"));
        let proxy = sandbox.start(run, "proxy", command, self.log("proxy"))?;

        let life = Arc::new(Life { sandbox, daemons: vec![containerd, kubelet, proxy] });
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = Some(life.clone());
        Ok(life)
    }

    fn kubelet(&self) -> Result<Command, ClusterError> {
        let mut command = Command::new(tool("kubernetes")?);
        command.arg("kubelet");
        command.arg("--config").arg(self.folder.join("kubelet.json"));
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg(format!("--hostname-override={}", self.plan.name));
        command.arg(format!("--node-ip={}", self.plan.address()));
        let zone = self.plan.zone();
        command.arg(format!("--node-labels=topology.kubernetes.io/zone={zone}"));
        Ok(command)
    }

    /// The life that goes on now.
    pub(super) fn life(&self) -> Result<Arc<Life>, ClusterError> {
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dead = || ClusterError::Missing(format!("{} is not running", self.plan.name));
        life.ok_or_else(dead)
    }

    /// Ends the node as a power cut does. A dead one stays dead.
    pub(super) async fn kill(&self) {
        let life = self.life.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(life) = life {
            life.sandbox.kill();
            // The first process is gone only when those that were started beside it are buried.
            let daemons = life.daemons.iter().map(|daemon| daemon.wait());
            join_all(daemons).await;
            life.sandbox.dead().await;
        }
    }

    /// The folder of a file of the node, for those outside.
    pub(super) fn disk(&self, path: &str) -> PathBuf {
        self.folder.join(path.trim_start_matches('/'))
    }

    pub(super) fn log(&self, part: &str) -> PathBuf {
        self.folder.join(format!("{part}.log"))
    }

    /// The end of the logs of every part.
    pub(super) fn logs(&self) -> String {
        let parts = ["containerd", "kubelet", "proxy"];
        parts.iter().map(|part| crate::process::tail(&self.log(part)) + "\n").collect()
    }
}

impl Life {
    /// What tells this life from the last, as the kubelet reports it.
    pub(super) fn boot_id(&self) -> Result<String, ClusterError> {
        let path = self.sandbox.path("/proc/sys/kernel/random/boot_id");
        let text = std::fs::read_to_string(&path).map_err(ClusterError::file(path))?;
        Ok(text.trim().to_owned())
    }

    /// A daemon that ended although the node lives.
    pub(super) fn ended(&self) -> Option<&Process> {
        self.daemons.iter().map(Arc::as_ref).find(|daemon| daemon.ended().is_some())
    }

    /// Runs a command on the node to its end. Blocks.
    pub(super) fn output(&self, command: Command) -> Result<Output, ClusterError> {
        self.sandbox.output(command)
    }
}

/// Waits until containerd answers at its socket.
async fn listens(containerd: &Process, socket: &Path) -> Result<(), ClusterError> {
    let not_ready = |reason: &str| ClusterError::NotReady {
        part: containerd.name().to_owned(),
        reason: reason.to_owned(),
        logs: containerd.tail(),
    };
    let answered = poll_for("containerd", LISTEN_LIMIT, || async {
        if containerd.ended().is_some() {
            return Some(false);
        }
        std::os::unix::net::UnixStream::connect(socket).is_ok().then_some(true)
    });
    match answered.await {
        Ok(true) => Ok(()),
        Ok(false) => Err(not_ready("it ended")),
        Err(_) => Err(not_ready("it does not listen")),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn write(path: &Path, text: &str) -> Result<(), ClusterError> {
    std::fs::write(path, text).map_err(ClusterError::file(path))
}
