//! Who may connect.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the NetworkPolicy of the pods lets in. Everything it does not name is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Network {
    /// Which pods may connect to the ports for clients: Namespace or Cluster. NetworkPolicies of
    /// your own can let in more.
    pub clients: Clients,
}

/// Which pods may connect as clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Clients {
    /// Pods of the same namespace.
    #[default]
    Namespace,
    /// Pods of all namespaces.
    Cluster,
}
