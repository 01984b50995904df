//! How a change reaches the pods.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How a change that needs a restart reaches the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Immediate or Gated.
    pub strategy: RolloutStrategy,
    /// With Gated: the revision that may replace the pods, as `status.updateRevision` names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub released: Option<String>,
    /// Pods that a change does not wait for: the next pod is replaced although these do not serve. All
    /// others are waited for, and volumes never move meanwhile. Take them out when they serve again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "pod_names")]
    pub skip_health_checks: Vec<String>,
}

fn pod_names(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "x-kubernetes-list-type": "set",
        "items": {
            "type": "string",
            "description": "Name of a pod.",
            "minLength": 1,
            "maxLength": 253,
        },
    })
}

/// When a change reaches the pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RolloutStrategy {
    /// At once, one pod after the other.
    #[default]
    Immediate,
    /// Once `released` names the new revision. Pods that do not serve are replaced at once.
    Gated,
}
