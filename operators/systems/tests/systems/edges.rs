//! Every connection the product makes has a hole in the NetworkPolicy, and no other has one.
//!
//! Method: the policy that was built is judged as a network would, against the ports and labels of
//! the pods that were built with it. No network enforces policies where these tests run.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use orrery_api::kv::KVCluster;
use orrery_runtime::labels;
use serde_json::json;

use crate::kv::build;

type Labels = BTreeMap<String, String>;

/// One end of a connection.
#[derive(Debug, Clone)]
struct End {
    namespace: &'static str,
    labels: Labels,
}

fn end(namespace: &'static str, words: &[(&str, &str)]) -> End {
    let labels = words.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    End { namespace, labels: labels.collect() }
}

/// A policy with the pods it is about.
struct Walls {
    policy: NetworkPolicySpec,
    /// Container ports by name.
    ports: BTreeMap<String, i32>,
    pods: End,
}

fn walls(spec: serde_json::Value) -> Walls {
    let mut object = KVCluster::new("sessions", serde_json::from_value(spec).unwrap());
    object.metadata.namespace = Some("shop".into());
    let built = build(&object);
    let template = built.stateful_sets[0].spec.clone().unwrap().template;
    let ports = template.spec.unwrap().containers[0].ports.clone().unwrap();
    let policy = built.network_policies[0].clone();
    assert_eq!(policy.metadata.namespace.as_deref(), Some("shop"));
    Walls {
        policy: policy.spec.unwrap(),
        ports: ports.into_iter().map(|port| (port.name.unwrap(), port.container_port)).collect(),
        pods: End { namespace: "shop", labels: template.metadata.unwrap().labels.unwrap() },
    }
}

fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    assert!(selector.match_expressions.is_none(), "judged here by labels alone");
    let wanted = selector.match_labels.iter().flatten();
    wanted.into_iter().all(|(key, value)| labels.get(key) == Some(value))
}

impl Walls {
    fn is_about_its_pods(&self) -> bool {
        selects(self.policy.pod_selector.as_ref().unwrap(), &self.pods.labels)
    }

    fn peer(&self, peer: &NetworkPolicyPeer, other: &End) -> bool {
        assert!(peer.ip_block.is_none(), "pods have no fixed addresses");
        let namespace = match &peer.namespace_selector {
            None => other.namespace == self.pods.namespace,
            Some(selector) => {
                assert_eq!(selector, &LabelSelector::default(), "all namespaces, or one's own");
                true
            }
        };
        let pods = peer.pod_selector.as_ref();
        namespace && pods.is_none_or(|selector| selects(selector, &other.labels))
    }

    fn port(&self, ports: Option<&Vec<NetworkPolicyPort>>, number: i32) -> bool {
        let Some(ports) = ports else { return true };
        let tcp = ports.iter().filter(|port| port.protocol.as_deref() == Some("TCP"));
        tcp.into_iter().any(|port| match port.port.as_ref().unwrap() {
            IntOrString::Int(open) => (*open..=port.end_port.unwrap_or(*open)).contains(&number),
            IntOrString::String(name) => self.ports[name] == number,
        })
    }

    /// Whether `other` may connect to port `name` of the pods; not to one that they do not have.
    fn lets_in(&self, other: &End, name: &str) -> bool {
        let Some(number) = self.ports.get(name).copied() else { return false };
        self.policy.ingress.iter().flatten().any(|rule| {
            let from = rule.from.as_ref();
            self.port(rule.ports.as_ref(), number)
                && from.is_none_or(|peers| peers.iter().any(|peer| self.peer(peer, other)))
        })
    }

    /// Whether the pods may connect to port `number` of `other`.
    fn lets_out(&self, other: &End, number: i32) -> bool {
        self.policy.egress.iter().flatten().any(|rule| {
            let to = rule.to.as_ref();
            self.port(rule.ports.as_ref(), number)
                && to.is_none_or(|peers| peers.iter().any(|peer| self.peer(peer, other)))
        })
    }
}

/// Pods as the chart labels them.
fn operator() -> End {
    end("orrery-system", &[(labels::NAME, "orrery"), (labels::COMPONENT, "operator")])
}

fn neighbour() -> End {
    end("shop", &[("app", "basket")])
}

fn stranger() -> End {
    end("elsewhere", &[("app", "basket")])
}

fn prometheus() -> End {
    end("monitoring", &[(labels::NAME, "prometheus")])
}

const DNS: i32 = 53;
/// In the Secret of the fixtures.
const TAKEN_OVER: i32 = 6390;
const API_SERVER: i32 = 443;
const COLLECTOR: i32 = 4317;

#[test]
fn every_edge_of_the_product_is_open_and_every_other_is_closed() {
    let specs = [
        json!({}),
        json!({"resp": {"port": 7000}}),
        json!({"network": {"clients": "Cluster"}}),
        json!({"followers": 2}),
        json!({"followers": 2, "network": {"clients": "Cluster"}}),
        json!({"adoptFrom": {"secretRef": {"name": "old-redis"}}}),
        json!({"http": {"mode": "On"}}),
        json!({"http": {"mode": "On"}, "network": {"clients": "Cluster"}}),
    ];
    for spec in specs {
        let walls = walls(spec.clone());
        assert!(walls.is_about_its_pods(), "{spec}");
        let types = walls.policy.policy_types.clone().unwrap();
        assert_eq!(types, ["Ingress", "Egress"], "{spec}: what is not named is closed");
        let follows = spec["followers"].is_number();
        let for_all = spec["network"]["clients"] == "Cluster";
        let watched = spec["http"]["mode"] == "On";
        let management = labels::MANAGEMENT_PORT_NAME;
        let another_of_the_kind = {
            let mut other = walls.pods.clone();
            other.labels.insert(labels::INSTANCE.to_owned(), "other".to_owned());
            other
        };
        let into = [
            ("clients beside it", neighbour(), "resp", true),
            ("clients elsewhere", stranger(), "resp", for_all),
            ("followers", walls.pods.clone(), "resp", true),
            ("watchers beside it", neighbour(), "api", watched),
            ("watchers elsewhere", stranger(), "api", watched && for_all),
            ("the operator", operator(), management, true),
            ("clients beside it", neighbour(), management, false),
            ("clients elsewhere", stranger(), management, false),
            ("its own pods", walls.pods.clone(), management, false),
            ("a database of the same kind", another_of_the_kind.clone(), management, false),
            ("who looks at metrics", prometheus(), "http", true),
            ("who looks at metrics", prometheus(), management, false),
            ("who looks at metrics", prometheus(), "resp", for_all),
        ];
        for (who, from, port, open) in into {
            assert_eq!(walls.lets_in(&from, port), open, "{spec}: {who} to {port}");
        }
        // Followers know their primary by its address, so that nobody needs names but who takes
        // another Redis over.
        let adopts = spec["adoptFrom"].is_object();
        let resp = walls.ports["resp"];
        let out = [
            ("the primary", walls.pods.clone(), resp, follows),
            ("the primary's management", walls.pods.clone(), walls.ports[management], false),
            ("a database of the same kind", another_of_the_kind, resp, false),
            ("clients", neighbour(), resp, false),
            ("names", end("kube-system", &[("k8s-app", "kube-dns")]), DNS, adopts),
            ("the Redis that is taken over", end("old", &[]), TAKEN_OVER, adopts),
            ("the API server", end("default", &[]), API_SERVER, false),
            ("a collector", end("monitoring", &[]), COLLECTOR, false),
        ];
        for (what, to, number, open) in out {
            assert_eq!(walls.lets_out(&to, number), open, "{spec}: to {what} at {number}");
        }
    }
}

#[test]
fn every_shard_is_open_to_clients_and_to_its_followers_alone() {
    let spec = |followers: i32| {
        json!({
            "replicas": 3, "shardsPerPod": 2, "followers": followers, "resp": {"clusterMode": "Slots"}
        })
    };
    for followers in [0, 1] {
        let walls = walls(spec(followers));
        let replication = |shard: u32| match shard {
            0 => labels::REPLICATION_PORT_NAME.to_owned(),
            _ => format!("{}-{shard}", labels::REPLICATION_PORT_NAME),
        };
        for shard in 0..6 {
            let (resp, replication) = (format!("resp-{shard}"), replication(shard));
            assert!(walls.lets_in(&neighbour(), &resp), "{resp}");
            assert!(!walls.lets_in(&stranger(), &resp), "{resp}");
            let own = walls.pods.clone();
            assert_eq!(walls.lets_in(&own, &replication), followers > 0, "{replication}");
            assert!(!walls.lets_in(&neighbour(), &replication), "{replication}");
            for port in [&resp, &replication] {
                let number = walls.ports[port];
                assert_eq!(walls.lets_out(&own, number), followers > 0, "{port}");
                assert!(!walls.lets_out(&neighbour(), number), "{port}");
            }
        }
        assert_eq!(walls.ports.len(), 3 + 6 + 6, "{:?}", walls.ports);
        assert!(!walls.lets_in(&neighbour(), labels::MANAGEMENT_PORT_NAME));
    }
}

#[test]
fn the_labels_that_open_the_management_port_are_those_of_the_chart() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../charts/orrery/templates/");
    let helpers = std::fs::read_to_string(format!("{root}_helpers.tpl")).unwrap();
    let start = helpers.find("define \"orrery.selector\"").unwrap();
    let selector = helpers[start..].split("{{- end -}}").next().unwrap();
    for (key, value) in operator().labels {
        assert!(selector.contains(&format!("{key}: {value}")), "{key}: {value} in {selector}");
    }
    let deployment = std::fs::read_to_string(format!("{root}deployment.yaml")).unwrap();
    assert!(deployment.contains("labels: {{- include \"orrery.labels\""));
}
