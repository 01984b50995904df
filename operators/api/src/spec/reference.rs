//! References to other objects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Points to an object by name, in the namespace of the object that holds the reference.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct LocalRef {
    /// Name of the object, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
