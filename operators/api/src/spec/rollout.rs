//! How a change reaches the pods.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a change that needs a restart reaches the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Immediate or Gated.
    pub strategy: RolloutStrategy,
}

/// When a change reaches the pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum RolloutStrategy {
    /// At once, one pod after the other.
    #[default]
    Immediate,
    /// After it was released by hand.
    Gated,
}
