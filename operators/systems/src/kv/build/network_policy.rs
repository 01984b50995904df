//! Who may connect: nothing goes in or out but what is named here.
//!
//! | port | from |
//! |---|---|
//! | resp, api | pods of the same namespace, or of all namespaces (`spec.network.clients: Cluster`) |
//! | management | pods of the operator, in whatever namespace they run; its certificate and a token are needed as well |
//! | replication | the other pods of the object, which must show its certificate |
//! | resp-N, replication-N | of one shard among several: as resp, as replication |
//! | http | pods of all namespaces: metrics show figures, never keys or values |
//!
//! Nothing goes out but from follower to primary, and to a Redis that is taken over and the name
//! service it is found by: a cluster with a local journal needs no one. The node's own probes are not
//! subject to policies.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
    NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_api::spec::Clients;
use orrery_runtime::{Identity, labels};

use super::super::validate::Validated;
use super::super::{names, spread};
use super::{API, HTTP, RESP, metadata, selector};

pub(super) fn build(validated: &Validated, identity: &Identity) -> NetworkPolicy {
    let clients = match validated.spec.engine.network.clients {
        Clients::Namespace => same_namespace(),
        Clients::Cluster => all_namespaces(None),
    };
    let clients_of_shards = clients.clone();
    let mut ingress = vec![
        allow(RESP, clients.clone()),
        allow(labels::MANAGEMENT_PORT_NAME, all_namespaces(Some(operator()))),
        allow(HTTP, all_namespaces(None)),
    ];
    if validated.spec.http.open_port().is_some() {
        ingress.push(allow(API, clients));
    }
    if identity.secured && validated.spec.followers > 0 {
        ingress.push(allow(labels::REPLICATION_PORT_NAME, the_others(identity)));
    }
    if spread::has_several(&validated.spec) {
        let (of_clients, of_followers) = of_shards(validated);
        ingress.push(NetworkPolicyIngressRule {
            from: Some(vec![clients_of_shards]),
            ports: Some(vec![of_clients]),
        });
        if identity.secured && validated.spec.followers > 0 {
            ingress.push(NetworkPolicyIngressRule {
                from: Some(vec![the_others(identity)]),
                ports: Some(vec![of_followers]),
            });
        }
    }
    NetworkPolicy {
        metadata: metadata(validated, identity, &names::main(&identity.name)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_labels: Some(selector(identity)),
                ..LabelSelector::default()
            }),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: Some(ingress),
            egress: egress(validated, identity),
        }),
    }
}

/// Nothing but the other pods, the Redis that is taken over, the object stores of archive and
/// recovery, and the engine that carries the journal.
fn egress(validated: &Validated, identity: &Identity) -> Option<Vec<NetworkPolicyEgressRule>> {
    let others = (validated.spec.followers > 0).then(|| to_the_others(validated, identity));
    let stores = validated.stores.ports.iter().chain(&validated.journal_ports);
    let ports = validated.adopt_port.iter().chain(stores);
    let outside = ports.map(|port| to_port(*port)).collect::<Vec<_>>();
    let names = (!outside.is_empty()).then(to_names);
    let rules: Vec<_> = others.into_iter().chain(outside).chain(names).collect();
    (!rules.is_empty()).then_some(rules)
}

/// A server outside may be anywhere; its port is known.
fn to_port(port: u16) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { ports: Some(vec![numbered(port, "TCP")]), to: None }
}

/// Its name is looked up.
fn to_names() -> NetworkPolicyEgressRule {
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

fn allow(port: &str, from: NetworkPolicyPeer) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(vec![from]),
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::String(port.to_owned())),
            protocol: Some("TCP".to_owned()),
            ..NetworkPolicyPort::default()
        }]),
    }
}

/// Followers reach the primary, whichever pod that is: one of an earlier release by its port for
/// clients.
fn to_the_others(validated: &Validated, identity: &Identity) -> NetworkPolicyEgressRule {
    let secured = identity.secured.then_some(labels::REPLICATION_PORT_NAME);
    let ports = [RESP].into_iter().chain(secured).map(|port| NetworkPolicyPort {
        port: Some(IntOrString::String(port.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..NetworkPolicyPort::default()
    });
    let several = spread::has_several(&validated.spec).then(|| of_shards(validated));
    let several = several.map(|(resp, replication)| {
        [resp].into_iter().chain(identity.secured.then_some(replication))
    });
    let ports = ports.chain(several.into_iter().flatten()).collect();
    NetworkPolicyEgressRule { to: Some(vec![the_others(identity)]), ports: Some(ports) }
}

/// The ports that the shards have beside those of the object: for clients, and for followers.
fn of_shards(validated: &Validated) -> (NetworkPolicyPort, NetworkPolicyPort) {
    let ports = spread::ports(&validated.spec);
    let range = |of: fn(&spread::ShardPorts) -> i32| NetworkPolicyPort {
        port: ports.first().map(|first| IntOrString::Int(of(first))),
        end_port: ports.last().map(of),
        protocol: Some("TCP".to_owned()),
    };
    (range(|ports| ports.resp.1), range(|ports| ports.replication.1))
}

/// The pods of the object.
fn the_others(identity: &Identity) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(LabelSelector {
            match_labels: Some(selector(identity)),
            ..LabelSelector::default()
        }),
        ..NetworkPolicyPeer::default()
    }
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
