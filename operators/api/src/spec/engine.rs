//! Fields every engine kind has: what runs, with how much, and how the operator treats it.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    DeletionPolicy, ExtraMetadata, Image, MaintenanceWindow, Network, Operation, Release,
    ResourceRequirements, Rollout,
};

/// Flattened into the spec of every kind whose objects become pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EngineSpec {
    /// Container image of the data plane. Left out: the image of the operator itself.
    pub image: Image,
    /// The release to run, from a ReleaseCatalog. Its image takes the place of `image.name`; a change
    /// of this field replaces the pods at once, and another image in the catalog as a new release does.
    /// Left out: the release of the operator. On one machine it does nothing: this program itself runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// CPU and memory of each pod.
    pub resources: ResourceRequirements,
    /// Labels and annotations added to every child object and pod.
    pub metadata: ExtraMetadata,
    /// Changes to the pods, merged strategically into the built PodTemplateSpec: nodeSelector,
    /// tolerations, affinity, topologySpreadConstraints, priorityClassName, sidecars and anything
    /// else a pod may have. What the restricted pod security profile forbids is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "pod_template")]
    pub pod_template: Option<Value>,
    /// Who may connect to the pods.
    pub network: Network,
    /// What the operator does with the object: Run, Pause (change nothing), Hibernate (no pods,
    /// everything else kept) or Fence (pods run and refuse writes; reads and backups go on, no pod is
    /// replaced and nobody takes over from a lost primary).
    pub operation: Operation,
    /// What becomes of the volumes when the object is deleted: Retain, Delete or Snapshot.
    pub deletion_policy: DeletionPolicy,
    /// Any text, such as a time: a new value restarts the pods once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub restart: Option<String>,
    /// How a change that needs a restart reaches the pods.
    pub rollout: Rollout,
    /// When restarts nobody asked for may happen. Empty: at any time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub maintenance_windows: Vec<MaintenanceWindow>,
}

fn pod_template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
