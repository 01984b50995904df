//! How a change reaches the pods.

use schemars::JsonSchema;
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
