//! The status of a `KVCluster`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CommonStatus;
use crate::spec::RecoveredFrom;

/// What is true of a KVCluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KVClusterStatus {
    /// Fields every status has.
    #[serde(flatten)]
    pub common: CommonStatus,
    /// Where clients connect; the first is for reading and writing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub endpoints: Vec<Endpoint>,
    /// Number of shards that have an owner.
    #[schemars(range(min = 0))]
    pub shard_count: i32,
    /// The shards and who owns them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["id"]
    ))]
    pub shards: Vec<Shard>,
    /// Pod that takes writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub primary: Option<String>,
    /// The followers and whether they keep up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub followers: Vec<FollowerState>,
    /// Pods beside the primary.
    #[schemars(range(min = 0))]
    pub follower_count: i32,
    /// The last change of primary that nobody asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failover: Option<FailoverRecord>,
    /// What keeps acknowledged writes: `single-volume` (lost with the volume) or the name of the
    /// journal's backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub durability: Option<String>,
    /// How far a take-over is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt: Option<AdoptState>,
    /// What `spec.bootstrap.recovery` was found to be. It is kept, so that the Backup may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered_from: Option<RecoveredFrom>,
}

/// An address clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// What it is for: `rw`, or `ro` once there are followers.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Host and port.
    #[schemars(length(min = 1, max = 320))]
    pub address: String,
}

/// One shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    /// Number of the shard.
    #[schemars(range(min = 0, max = 65_535))]
    pub id: i32,
    /// Slots it holds, as ranges.
    #[schemars(length(max = 1024))]
    pub slots: String,
    /// Pod that owns it.
    #[schemars(length(max = 253))]
    pub owner: String,
    /// Fencing epoch of the owner.
    #[schemars(range(min = 0))]
    pub epoch: i64,
}

/// One follower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FollowerState {
    /// Pod of the follower.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// InSync, Copying, Behind or Disconnected.
    #[schemars(length(max = 63))]
    pub state: String,
}

/// A change of primary that nobody asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailoverRecord {
    /// Of which shard, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub shard: Option<i32>,
    /// Pod that was primary.
    #[schemars(length(max = 253))]
    pub from: String,
    /// Pod that took over.
    #[schemars(length(max = 253))]
    pub to: String,
    /// Epoch of the new primary.
    #[schemars(range(min = 0))]
    pub epoch: i64,
    /// Journal position the new primary went on from. Writes that only the old primary had lie
    /// above it.
    #[schemars(range(min = 0))]
    pub position: i64,
    /// Writes of the old primary that were lost; left out until it is back and tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub lost_records: Option<i64>,
}

/// How far a take-over is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptState {
    /// Copying, Following, Failing (the condition Degraded says why) or Disconnected.
    #[schemars(length(max = 63))]
    pub state: String,
    /// How far behind the service is, rounded up to a power of two bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub lag_bytes: Option<i64>,
}
