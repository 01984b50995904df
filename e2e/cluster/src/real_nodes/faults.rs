//! Faults of nodes and of the network between them. Each lasts until its guard is dropped.
//!
//! A killed node is no such fault: it is dead until it is started again.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::node::Life;
use super::plan::{BRIDGE_ADDRESS, CONTROL_PLANE};
use super::{RealNodes, blocking};
use crate::ClusterError;
use crate::cluster::succeeded;
use crate::netns::NetNs;

/// Signals everything on a node but its first process. `kill -1` means "all that I can see", so
/// it must run inside: only there is `/proc/self` known to the node's `/proc`.
const SIGNAL_ALL: &str = r#"[ -d /proc/self ] && [ "$(readlink /proc/1/exe)" = "$1" ] || exit 1
kill -s "$2" -- -1"#;

/// Says that a node is off and stays off; controllers then let go of what it had.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Against others who change the same node.
const RETAINT_TRIES: usize = 10;

/// A fault in force. Dropping it repairs.
#[derive(Debug)]
#[must_use = "the fault is repaired when the guard is dropped"]
pub struct Fault {
    repairs: Vec<Repair>,
}

#[derive(Debug)]
enum Repair {
    /// A command line in a network.
    Line(NetNs, String),
    /// Everything on a node goes on.
    Resume(Arc<Life>),
}

impl Repair {
    fn run(&self) -> Result<(), ClusterError> {
        match self {
            Self::Line(netns, line) => netns.run(line),
            Self::Resume(life) => signal_all(life, "CONT"),
        }
    }
}

impl Fault {
    /// Runs each line; what was done is undone when a later one fails.
    fn make(steps: Vec<(NetNs, String, String)>) -> Result<Self, ClusterError> {
        let mut fault = Self { repairs: Vec::new() };
        for (netns, line, repair) in steps {
            netns.run(&line)?;
            fault.repairs.push(Repair::Line(netns, repair));
        }
        Ok(fault)
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        for repair in &self.repairs {
            // A node that died meanwhile has nothing left to repair.
            let _ = repair.run();
        }
    }
}

impl RealNodes {
    /// Stops every process of a node and its containers where they are: connections stay open and
    /// nobody answers.
    ///
    /// # Errors
    /// When the node is dead.
    pub async fn pause(&self, node: &str) -> Result<Fault, ClusterError> {
        let life = self.node(node)?.life()?;
        blocking(move || {
            let fault = Fault { repairs: vec![Repair::Resume(life.clone())] };
            signal_all(&life, "STOP").map(|()| fault)
        })
        .await
    }

    /// Says to Kubernetes that a node is dead for good, as a person does who has seen it: its pods
    /// are removed and its volumes may be used elsewhere. [`Self::start_node`] takes it back.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn declare_dead(&self, node: &str) -> Result<(), ClusterError> {
        let taint =
            json!({ "key": OUT_OF_SERVICE, "value": "nodeshutdown", "effect": "NoExecute" });
        self.retaint(node, Some(taint)).await
    }

    /// Takes back what [`Self::declare_dead`] said, if it did.
    pub(super) async fn withdraw(&self, node: &str) -> Result<(), ClusterError> {
        self.retaint(node, None).await
    }

    /// Changes the one taint and keeps the others: controllers change theirs at any time.
    async fn retaint(&self, node: &str, wanted: Option<Value>) -> Result<(), ClusterError> {
        let nodes = self.resources()?;
        for tries in (0..RETAINT_TRIES).rev() {
            let Some(found) = nodes.get_opt(node).await? else { return Ok(()) };
            let version = found.metadata.resource_version;
            let taints = found.spec.and_then(|spec| spec.taints).unwrap_or_default();
            let count = taints.len();
            let others = taints.iter().filter(|taint| taint.key != OUT_OF_SERVICE);
            let mut taints: Vec<Value> = others.map(|taint| json!(taint)).collect();
            taints.extend(wanted.clone());
            if wanted.is_none() && taints.len() == count {
                return Ok(());
            }
            let change = json!({
                "metadata": { "resourceVersion": version }, "spec": { "taints": taints },
            });
            match nodes.patch(node, &PatchParams::default(), &Patch::Merge(change)).await {
                Err(kube::Error::Api(status)) if status.code == 409 && tries > 0 => {}
                other => return Ok(other.map(drop)?),
            }
        }
        Ok(())
    }

    /// Pulls the cable of a node: it and its pods reach nothing and are not reached.
    ///
    /// # Errors
    /// When the node is dead.
    pub async fn isolate(&self, node: &str) -> Result<Fault, ClusterError> {
        let port = self.node(node)?.plan.port();
        self.life(node)?;
        let netns = self.shared.netns.clone();
        let (cut, heal) = (format!("ip link set {port} down"), format!("ip link set {port} up"));
        blocking(move || Fault::make(vec![(netns, cut, heal)])).await
    }

    /// Cuts two sides from each other and from nothing else. A side is a node with its pods, or
    /// [`CONTROL_PLANE`] with what runs beside it.
    ///
    /// # Errors
    /// When a side is unknown or dead.
    pub async fn cut(&self, one: &str, other: &str) -> Result<Fault, ClusterError> {
        let mut steps = Vec::new();
        for (here, there) in [(one, other), (other, one)] {
            let netns = self.side(here)?;
            // Both ends: frames between others may pass the rules of the bridge they go over.
            let ends = format!("--source {} --destination {}", self.ends(there)?, self.ends(here)?);
            let line = |action| {
                format!("iptables --wait 5 --table mangle {action} PREROUTING {ends} --jump DROP")
            };
            steps.push((netns, line("--insert"), line("--delete")));
        }
        blocking(move || Fault::make(steps)).await
    }

    /// Delays every packet that leaves a node. `Missing` where the kernel has no `netem`.
    ///
    /// # Errors
    /// When the node is dead.
    pub async fn delay(&self, node: &str, time: Duration) -> Result<Fault, ClusterError> {
        let netns = self.side(node)?;
        let milliseconds = time.as_millis();
        let add = format!("tc qdisc add dev eth0 root netem delay {milliseconds}ms");
        let remove = "tc qdisc delete dev eth0 root".to_owned();
        let made = blocking(move || Fault::make(vec![(netns, add, remove)])).await;
        made.map_err(|error| match error {
            ClusterError::Command { output, .. } if output.contains("qdisc kind is unknown") => {
                ClusterError::Missing("this kernel has no netem to delay packets".to_owned())
            }
            other => other,
        })
    }

    fn side(&self, name: &str) -> Result<NetNs, ClusterError> {
        if name == CONTROL_PLANE {
            return Ok(self.shared.netns.clone());
        }
        Ok(self.life(name)?.sandbox.netns.clone())
    }

    /// The addresses of a side, as iptables lists them.
    fn ends(&self, name: &str) -> Result<String, ClusterError> {
        if name == CONTROL_PLANE {
            return Ok(BRIDGE_ADDRESS.to_string());
        }
        let plan = &self.node(name)?.plan;
        Ok(format!("{},{}", plan.address(), plan.pods()))
    }
}

fn signal_all(life: &Life, signal: &str) -> Result<(), ClusterError> {
    let mut command = Command::new("sh");
    command.args(["-c", SIGNAL_ALL, "signal"]).arg(crate::tool("pause")?).arg(signal);
    succeeded(&format!("kill -{signal} on a node"), &life.output(command)?).map(drop)
}
