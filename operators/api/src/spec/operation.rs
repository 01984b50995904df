//! What the operator does with an object, and what is left when it is deleted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator does with the object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Operation {
    /// Carries the spec out.
    #[default]
    Run,
    /// Changes nothing; the pods go on, status is still reported.
    Pause,
    /// Stops all pods; volumes, addresses and configuration are kept.
    Hibernate,
    /// Pods run and refuse writes; no pod is replaced, and nobody takes over from a lost primary.
    Fence,
}

/// What becomes of the volumes when the object is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DeletionPolicy {
    /// They stay; an object of the same name takes them up again.
    #[default]
    Retain,
    /// They are deleted with all data.
    Delete,
    /// A snapshot is taken, then they are deleted.
    Snapshot,
}
