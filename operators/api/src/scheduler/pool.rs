//! Pools: pods that are warm already, in which runs are commands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::EnvVar;
use crate::spec::{PullPolicy, ResourceRequirements};

/// Longest name of a pool, in characters: with the name of the Scheduler it becomes that of a Service.
pub const POOL_NAME_CHARS_MAX: usize = 20;
/// Seconds a run may take unless told otherwise.
pub const POOL_TIMEOUT_SECONDS_DEFAULT: i64 = 3_600;

/// Pods of one image that wait for runs. A pod runs one command at a time unless told otherwise; the
/// next one finds the files that it left. All runs of a pool trust each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// What actions name it by.
    #[schemars(length(min = 1, max = 20), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Image of the pods. It must be for the same processor architecture as Orrery's image; what it
    /// has of libraries does not matter.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// Number of pods.
    #[schemars(range(min = 1, max = 100))]
    pub size: i32,
    /// Runs that one pod may have at the same time.
    #[serde(default = "runs_per_pod")]
    #[schemars(range(min = 1, max = 100))]
    pub runs_per_pod: i32,
    /// The longest a run may take, in seconds, where the schedule says nothing.
    #[serde(default = "timeout_seconds")]
    #[schemars(range(min = 1, max = 86_400))]
    pub timeout_seconds: i64,
    /// CPU, memory and the like of each pod.
    #[serde(default)]
    pub resources: ResourceRequirements,
    /// Variables of every command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub env: Vec<EnvVar>,
    /// Service account of the pods, of the same namespace. Its token is not mounted. Left out: the
    /// `default` one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
    /// When the image is pulled. Left out: as Kubernetes does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
}

fn runs_per_pod() -> i32 {
    1
}

fn timeout_seconds() -> i64 {
    POOL_TIMEOUT_SECONDS_DEFAULT
}
