//! Names of Services for pods: CoreDNS beside the control plane, behind the address every pod asks.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use super::config;
use super::plan::{BRIDGE_ADDRESS, DNS_SERVICE};
use crate::control_plane::ControlPlane;
use crate::netns::NetNs;
use crate::process::Process;
use crate::run::Run;
use crate::storage::object;
use crate::wait::poll_for;
use crate::{ClusterError, tool};

const PORT: u16 = 53;

/// For CoreDNS to have read all Services.
const SERVE_LIMIT: Duration = Duration::from_mins(1);

/// Starts CoreDNS and waits until it answers.
pub(super) async fn start(
    run: &Run,
    plane: &ControlPlane,
    client: &Client,
    netns: &NetNs,
) -> Result<Arc<Process>, ClusterError> {
    let folder = run.folder("dns")?;
    let kubeconfig = plane.kubeconfig_for("dns", "orrery-dns", "system:masters")?;
    let corefile = folder.join("Corefile");
    std::fs::write(&corefile, config::dns(&kubeconfig)).map_err(ClusterError::file(&corefile))?;
    let mut command = Command::new(tool("coredns")?);
    command.arg("-conf").arg(&corefile).current_dir(&folder);
    netns.enter(&mut command);
    let process = run.start("dns", command, folder.join("dns.log"))?;
    publish(client).await?;
    let asked = poll_for("names of Services", SERVE_LIMIT, || async {
        let address = SocketAddr::from((BRIDGE_ADDRESS, PORT));
        let ended = process.ended().is_some();
        (ended || netns.connect(address).is_ok()).then_some(ended)
    });
    match asked.await {
        Ok(false) => Ok(process),
        Ok(true) | Err(_) => Err(ClusterError::NotReady {
            part: "dns".to_owned(),
            reason: "it does not answer".to_owned(),
            logs: process.tail(),
        }),
    }
}

/// The Service that pods ask, with an endpoint that no pod is.
async fn publish(client: &Client) -> Result<(), ClusterError> {
    let service: Service = object(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "kube-dns" },
        "spec": {
            "clusterIP": DNS_SERVICE,
            "ports": [
                { "name": "dns", "port": PORT, "protocol": "UDP" },
                { "name": "dns-tcp", "port": PORT, "protocol": "TCP" },
            ],
        },
    }));
    let slice: EndpointSlice = object(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "labels": { "kubernetes.io/service-name": "kube-dns" },
        },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [BRIDGE_ADDRESS], "conditions": { "ready": true } }],
        "ports": [
            { "name": "dns", "port": PORT, "protocol": "UDP" },
            { "name": "dns-tcp", "port": PORT, "protocol": "TCP" },
        ],
    }));
    let params = PostParams::default();
    Api::namespaced(client.clone(), "kube-system").create(&params, &service).await?;
    Api::namespaced(client.clone(), "kube-system").create(&params, &slice).await?;
    Ok(())
}
