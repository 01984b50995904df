//! The part of a status that every kind has.
//!
//! Must not: hold a clock or a counter that changes every round, or the controller would spin.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Condition;

/// Embedded (flattened) in the status of every kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CommonStatus {
    /// The last generation of the spec that was carried out. While paused it stays behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// What is true of the object: Ready, Reconciling, Stalled, Available, Degraded.
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"]
    ))]
    pub conditions: Vec<Condition>,
    /// Pods that exist.
    #[schemars(range(min = 0))]
    pub replicas: i32,
    /// Pods that are ready.
    #[schemars(range(min = 0))]
    pub ready_replicas: i32,
    /// Label selector of the pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub selector: Option<String>,
    /// Version of the software that really runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
    /// Release of the operator that carried the spec out last; an older one changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub operator_version: Option<String>,
    /// Newest revision of the pods' template.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub update_revision: Option<String>,
    /// Content hash of everything the spec asks for; pods still to be rolled carry another.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub desired_hash: Option<String>,
}
