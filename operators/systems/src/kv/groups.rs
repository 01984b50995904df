//! The primary and the followers of each shard, as the spec wants them, and where clients find them.

use orrery_api::kv::{FailoverPolicy, KVClusterSpec, KVClusterStatus};
use orrery_api::spec::Operation;
use orrery_runtime::group::{Group, Policy};
use orrery_runtime::routes::Place;

use super::spread::ShardPorts;
use super::{names, spread};

/// Whether processes wait to be told their role: one of them may write, and who that is can change.
pub(super) fn is_grouped(spec: &KVClusterSpec) -> bool {
    spec.followers > 0 || spec.journal.backend.caps().carried
}

/// Whether a primary of a shard was chosen before.
pub(super) fn was_granted(status: &KVClusterStatus, shard: u32) -> bool {
    if status.shards.len() <= 1 {
        return status.primary.is_some();
    }
    let id = i32::try_from(shard).unwrap_or(i32::MAX);
    status.shards.iter().any(|known| known.id == id && known.epoch > 0)
}

/// The same of any shard.
pub(super) fn had_primary(status: &KVClusterStatus) -> bool {
    status.primary.is_some() || !status.followers.is_empty()
}

/// Empty for an object that never had followers and whose journal is on its own volume. One that had
/// some must still know which of its pods has the data.
pub(super) fn groups(spec: &KVClusterSpec, had_primary: bool, object: &str) -> Vec<Group> {
    if !is_grouped(spec) && !had_primary {
        return Vec::new();
    }
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    let of = |ports: ShardPorts| Group {
        shard: ports.shard,
        followers: count(spec.followers),
        synchronous: count(spec.synchronous_followers),
        carried: spec.journal.backend.caps().carried,
        tailed: false,
        policy: match spec.failover.policy {
            _ if spec.engine.operation == Operation::Fence => Policy::Fenced,
            FailoverPolicy::NoLoss => Policy::NoLoss,
            FailoverPolicy::AllowLoss => Policy::AllowLoss,
            FailoverPolicy::Manual => Policy::Manual,
        },
        wished: spec.failover.primary.clone(),
        client_port: number(&ports.resp),
        replication_port: number(&ports.replication),
        home: spread::has_several(spec).then(|| pods(spec, ports.shard, object).swap_remove(0)),
        pods: pods(spec, ports.shard, object),
    };
    spread::ports(spec).into_iter().map(of).collect()
}

/// Where clients that know the slots find each shard. Those that look at certificates are told names, which
/// those have.
pub(super) fn places(spec: &KVClusterSpec, object: &str, namespace: &str) -> Vec<Place> {
    if spread::cluster(spec).is_none() {
        return Vec::new();
    }
    let domain = || format!("{}.{namespace}.svc", names::headless(object));
    let of = |ports: ShardPorts| Place {
        shard: ports.shard,
        pods: pods(spec, ports.shard, object),
        port: number(&ports.resp),
        domain: spec.resp.tls.as_ref().map(|_| domain()),
    };
    spread::ports(spec).into_iter().map(of).collect()
}

fn number((_, number): &(String, i32)) -> u16 {
    u16::try_from(*number).unwrap_or(0)
}

/// The pods that have a shard; it is at home in the first.
fn pods(spec: &KVClusterSpec, shard: u32, object: &str) -> Vec<String> {
    let numbers = spread::layout(spec).pods_of(shard);
    numbers.into_iter().map(|n| names::pod(object, i32::try_from(n).unwrap_or(i32::MAX))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: serde_json::Value) -> KVClusterSpec {
        serde_json::from_value(yaml).unwrap()
    }

    #[test]
    fn a_single_shard_is_in_every_pod_and_has_no_home() {
        let groups = groups(&spec(serde_json::json!({"followers": 2})), false, "a");
        assert_eq!(groups.len(), 1);
        assert_eq!(groups[0].pods, ["a-kv-0", "a-kv-1", "a-kv-2"]);
        assert_eq!((groups[0].client_port, groups[0].replication_port), (6379, 9402));
        assert_eq!(groups[0].home, None);
    }

    #[test]
    fn each_of_several_shards_has_a_group_with_a_home_and_ports_of_its_own() {
        let spec = spec(serde_json::json!({
            "replicas": 3, "shardsPerPod": 2, "followers": 1, "resp": {"clusterMode": "Slots"}
        }));
        let groups = groups(&spec, false, "a");
        assert_eq!(groups.len(), 6);
        assert_eq!(groups[4].home.as_deref(), Some("a-kv-1"));
        assert_eq!(groups[4].pods, ["a-kv-1", "a-kv-0"]);
        assert_eq!((groups[4].client_port, groups[4].replication_port), (6384, 9406));
        let places = places(&spec, "a", "shop");
        assert_eq!((places[4].port, &places[4].pods), (6384, &groups[4].pods));
    }

    #[test]
    fn without_followers_and_with_a_volume_of_its_own_no_shard_has_a_group() {
        let spec = spec(serde_json::json!({"replicas": 2, "resp": {"clusterMode": "Slots"}}));
        assert_eq!(groups(&spec, false, "a"), []);
        let places = places(&spec, "a", "shop");
        assert_eq!((&*places[1].pods, &places[1].domain), (&["a-kv-1".to_owned()][..], &None));
    }

    #[test]
    fn clients_that_speak_tls_are_told_names() {
        let spec = spec(serde_json::json!({
            "replicas": 2,
            "resp": {"clusterMode": "Slots", "tls": {"secretRef": {"name": "a-tls"}}}
        }));
        let domain = &places(&spec, "a", "shop")[1].domain;
        assert_eq!(domain.as_deref(), Some("a-kv-headless.shop.svc"));
    }
}
