//! How many shards and pods a KVCluster has, and which ports its shards have.

use orrery_api::kv::layout::followers_port;
use orrery_api::kv::{ClusterMode, KVClusterSpec, Layout};
use orrery_runtime::labels;

/// Pods of the object: one more than followers are needed for the copies of a shard.
pub(super) fn pods(spec: &KVClusterSpec) -> i32 {
    spec.replicas.max(spec.followers.saturating_add(1))
}

/// Shards of the object.
pub(super) fn shards(spec: &KVClusterSpec) -> u32 {
    count(spec.replicas.saturating_mul(spec.shards_per_pod))
}

pub(super) fn has_several(spec: &KVClusterSpec) -> bool {
    shards(spec) > 1
}

/// How the shards are spread over the pods.
pub(super) fn layout(spec: &KVClusterSpec) -> Layout {
    let copies = count(spec.followers.saturating_add(1));
    Layout { shards: shards(spec), pods: count(pods(spec)), copies }
}

/// The same of objects whose clients are told of it.
pub(super) fn cluster(spec: &KVClusterSpec) -> Option<Layout> {
    (spec.resp.cluster_mode == ClusterMode::Slots).then(|| layout(spec))
}

fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0).max(1)
}

/// The ports of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShardPorts {
    pub(super) shard: u32,
    /// For clients: its name, and its number in every pod.
    pub(super) resp: (String, i32),
    /// For its followers.
    pub(super) replication: (String, i32),
}

/// The ports of every shard. A single one has those of the object.
pub(super) fn ports(spec: &KVClusterSpec) -> Vec<ShardPorts> {
    let layout = layout(spec);
    let of = |shard: u32| {
        let number = i32::try_from(shard).unwrap_or(i32::MAX);
        let behind = if layout.shards == 1 { 0 } else { number.saturating_add(1) };
        let replication = i32::from(labels::REPLICATION_PORT).saturating_add(number);
        ShardPorts {
            shard,
            resp: (layout.clients_port(shard), spec.resp.port.saturating_add(behind)),
            replication: (followers_port(shard), replication),
        }
    };
    (0..layout.shards).map(of).collect()
}
