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

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPort,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_runtime::{Identity, labels};

use super::super::spread;
use super::super::validate::Validated;
use super::{API, RESP, frame};
use crate::parts::network::{self, allow, named, own_ports, policy, the_others, to_names, to_port};

pub(super) fn build(validated: &Validated, identity: &Identity) -> NetworkPolicy {
    let frame = frame(validated, identity);
    let clients = || network::clients(&frame);
    let mut ingress = vec![allow(RESP, clients())];
    ingress.extend(own_ports());
    if validated.spec.http.open_port().is_some() {
        ingress.push(allow(API, clients()));
    }
    if identity.secured && validated.spec.followers > 0 {
        ingress.push(allow(labels::REPLICATION_PORT_NAME, the_others(&frame)));
    }
    if spread::has_several(&validated.spec) {
        let (of_clients, of_followers) = of_shards(validated);
        ingress.push(NetworkPolicyIngressRule {
            from: Some(vec![clients()]),
            ports: Some(vec![of_clients]),
        });
        if identity.secured && validated.spec.followers > 0 {
            ingress.push(NetworkPolicyIngressRule {
                from: Some(vec![the_others(&frame)]),
                ports: Some(vec![of_followers]),
            });
        }
    }
    policy(&frame, ingress, egress(validated, identity))
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

/// Followers reach the primary, whichever pod that is: one of an earlier release by its port for
/// clients.
fn to_the_others(validated: &Validated, identity: &Identity) -> NetworkPolicyEgressRule {
    let secured = identity.secured.then_some(labels::REPLICATION_PORT_NAME);
    let ports = [RESP].into_iter().chain(secured).map(named);
    let several = spread::has_several(&validated.spec).then(|| of_shards(validated));
    let several = several.map(|(resp, replication)| {
        [resp].into_iter().chain(identity.secured.then_some(replication))
    });
    let ports = ports.chain(several.into_iter().flatten()).collect();
    let others = the_others(&frame(validated, identity));
    NetworkPolicyEgressRule { to: Some(vec![others]), ports: Some(ports) }
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
