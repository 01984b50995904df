//! The Node object of a toy node and the lease that shows it alive.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::ClusterError;
use crate::storage::object;

/// How often the lease is renewed; a kubelet does every ten seconds.
const RENEWAL: Duration = Duration::from_secs(2);

/// Renewals between two looks at the Node, as a kubelet looks at its own every ten seconds.
const RENEWALS_PER_LOOK: u32 = 5;

/// A kubelet's lease duration.
const LEASE_SECONDS: i32 = 40;

const LEASES: &str = "kube-node-lease";

/// The address a node reports; only a number.
pub(super) fn host_address(index: usize) -> String {
    format!("10.88.0.{}", 11 + index)
}

/// Creates the Node, ready and large. Each is a zone of its own.
pub(super) async fn register(
    client: &Client,
    name: &str,
    index: usize,
    version: &str,
) -> Result<(), ClusterError> {
    let node: Node = object(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": {
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture(),
            "topology.kubernetes.io/region": "toy",
            "topology.kubernetes.io/zone": format!("zone-{}", index + 1),
        } },
    }));
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &node).await?;
    let size = json!({
        "cpu": "64", "memory": "256Gi", "pods": "2000", "ephemeral-storage": "1Ti",
    });
    let status = json!({ "status": {
        "capacity": size,
        "allocatable": size,
        "addresses": [
            { "type": "InternalIP", "address": host_address(index) },
            { "type": "Hostname", "address": name },
        ],
        "conditions": conditions(),
        "nodeInfo": {
            "architecture": architecture(),
            "operatingSystem": "linux",
            "containerRuntimeVersion": "toy://1",
            "kubeletVersion": version,
            "bootID": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "",
            "osImage": "toy", "systemUUID": "",
        },
    } });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    renew(client, name).await
}

/// The conditions the controllers took away from a node that was silent too long.
pub(super) async fn report_ready(client: &Client, name: &str) -> Result<(), ClusterError> {
    renew(client, name).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let status = json!({ "status": { "conditions": conditions() } });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    Ok(())
}

/// Renews the lease as long as the node and the cluster live, and takes back what the controllers
/// said of the node while the API server did not hear it.
pub(super) async fn keep_alive(client: Client, name: String, alive: impl Fn() -> bool) {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut tick = tokio::time::interval(RENEWAL);
    for count in 0_u32.. {
        tick.tick().await;
        if !alive() {
            continue;
        }
        // A lost renewal is made up by the next one, and so is a lost report.
        let _ = renew(&client, &name).await;
        let looks = count.is_multiple_of(RENEWALS_PER_LOOK);
        if looks && nodes.get(&name).await.is_ok_and(|node| !is_ready(&node)) && alive() {
            let _ = report_ready(&client, &name).await;
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|held| held.type_ == "Ready" && held.status == "True")
}

async fn renew(client: &Client, name: &str) -> Result<(), ClusterError> {
    let lease = Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    let leases: Api<Lease> = Api::namespaced(client.clone(), LEASES);
    let params = PatchParams::apply("orrery-e2e-node").force();
    leases.patch(name, &params, &Patch::Apply(&lease)).await?;
    Ok(())
}

fn conditions() -> [serde_json::Value; 4] {
    [
        condition("Ready", "True", "KubeletReady"),
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID"),
    ]
}

fn condition(kind: &str, status: &str, reason: &str) -> serde_json::Value {
    let now = Timestamp::now().to_string();
    json!({
        "type": kind, "status": status, "reason": reason, "message": "",
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    })
}

/// Go's name of this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
