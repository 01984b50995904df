//! Pieces of NetworkPolicies: nothing goes in or out but what is named.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_api::spec::Clients;
use orrery_runtime::labels;

use super::Frame;
use super::container::HTTP;

/// The policy of the pods of an object.
pub(crate) fn policy(
    frame: &Frame<'_>,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Option<Vec<NetworkPolicyEgressRule>>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: frame.metadata(&frame.main()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(frame.selected()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress,
        }),
    }
}

/// Who may connect as a client.
pub(crate) fn clients(frame: &Frame<'_>) -> NetworkPolicyPeer {
    match frame.engine.network.clients {
        Clients::Namespace => same_namespace(),
        Clients::Cluster => all_namespaces(None),
    }
}

/// The ports every pod has: management for the operator, in whatever namespace it runs, and metrics
/// for all.
pub(crate) fn own_ports() -> [NetworkPolicyIngressRule; 2] {
    [
        allow(labels::MANAGEMENT_PORT_NAME, all_namespaces(Some(operator()))),
        allow(HTTP, all_namespaces(None)),
    ]
}

/// Lets a peer in at a port.
pub(crate) fn allow(port: &str, from: NetworkPolicyPeer) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule { from: Some(vec![from]), ports: Some(vec![named(port)]) }
}

/// The port of this name.
pub(crate) fn named(port: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::String(port.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    }
}

/// A server outside may be anywhere; its port is known.
pub(crate) fn to_port(port: u16) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { ports: Some(vec![numbered(port, "TCP")]), to: None }
}

/// Servers outside may be anywhere, at any port.
pub(crate) fn to_anywhere() -> NetworkPolicyEgressRule {
    let every =
        NetworkPolicyPort { protocol: Some("TCP".to_owned()), ..NetworkPolicyPort::default() };
    NetworkPolicyEgressRule { ports: Some(vec![every]), to: None }
}

/// Names are looked up.
pub(crate) fn to_names() -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        ports: Some(vec![numbered(53, "UDP"), numbered(53, "TCP")]),
        to: None,
    }
}

fn numbered(port: u16, protocol: &str) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(port))),
        protocol: Some(protocol.to_owned()),
        ..NetworkPolicyPort::default()
    }
}

/// The pods of the object.
pub(crate) fn the_others(frame: &Frame<'_>) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(frame.selected()), ..NetworkPolicyPeer::default() }
}

fn same_namespace() -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector::default()),
        ..NetworkPolicyPeer::default()
    }
}

/// Pods of all namespaces, or those of them that `pods` selects.
fn all_namespaces(pods: Option<LabelSelector>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        pod_selector: pods,
        ..NetworkPolicyPeer::default()
    }
}

/// The labels of the operator's pods in the chart.
fn operator() -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([
            (labels::NAME.to_owned(), "orrery".to_owned()),
            (labels::COMPONENT.to_owned(), "operator".to_owned()),
        ])),
        ..LabelSelector::default()
    }
}
