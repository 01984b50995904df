//! The volume of a pod.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Quantity;
use crate::cel::rules;

/// The volume each pod gets. Volumes outlive the object unless `deletionPolicy` says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Storage {
    /// Size of the volume of each pod. It may grow, if the StorageClass allows it, while the pods
    /// run; it cannot shrink.
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("quantity(self).isGreaterThan(quantity('0'))", "size must be above 0"),
        (
            "quantity(self).compareTo(quantity(oldSelf)) >= 0",
            "size cannot shrink: a volume never gives back space; make a new object and move the data",
        ),
    ])))]
    pub size: Quantity,
    /// StorageClass of the volume. Left out: the default class of the cluster. Another class can be
    /// given to a service with followers: the volumes are replaced one by one, the primary's last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: Quantity::new("20Gi"), storage_class_name: None }
    }
}
