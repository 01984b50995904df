//! The status of a `Scheduler`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::RecoveredFrom;
use crate::{CommonStatus, Time};

/// What is true of a Scheduler.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SchedulerStatus {
    /// Fields every status has.
    #[serde(flatten)]
    pub common: CommonStatus,
    /// Where clients connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub endpoints: Vec<Endpoint>,
    /// Number of partitions that have an owner.
    #[schemars(range(min = 0))]
    pub partition_count: i32,
    /// The partitions and who owns them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["id"]
    ))]
    pub partitions: Vec<Partition>,
    /// How many schedules there are, about: `0`, `1-10`, `10-100`, `100-1k`, `1k-10k` and so on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub schedules: Option<String>,
    /// How late runs start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lateness: Option<Lateness>,
    /// What keeps launches: `single-volume` (lost with the volume) or the name of the journal's
    /// backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub durability: Option<String>,
    /// What the newest verification of the ledger found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<Verification>,
    /// What `spec.bootstrap.recovery` was found to be. It is kept, so that the Backup may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered_from: Option<RecoveredFrom>,
}

/// An address clients connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// What it is for: `http`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Host and port.
    #[schemars(length(min = 1, max = 320))]
    pub address: String,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Number of the partition.
    #[schemars(range(min = 0, max = 65_535))]
    pub id: i32,
    /// Pod that owns it.
    #[schemars(length(max = 253))]
    pub owner: String,
    /// Fencing epoch of the owner.
    #[schemars(range(min = 0))]
    pub epoch: i64,
}

/// How late runs start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lateness {
    /// 99 of 100 runs started within this of their time, such as `50ms`; in coarse steps.
    #[schemars(length(max = 63))]
    pub p99_bucket: String,
}

/// What a verification of the ledger found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// Start of the time it is about.
    pub from: Time,
    /// End of it.
    pub to: Time,
    /// Launches that the rules name and the ledger does not have.
    #[schemars(range(min = 0))]
    pub missed: i64,
    /// Launches that the ledger has more than once.
    #[schemars(range(min = 0))]
    pub duplicated: i64,
}
