//! Which release runs, by the version in a catalog.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::Rule;

/// Numbers as semantic versioning writes them: which of two is older can always be said.
pub(crate) const VERSION_PATTERN: &str =
    r"^[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$";

/// For the spec of every engine.
pub(crate) const RELEASE_OR_IMAGE: Rule = (
    "!has(self.release) || !has(self.image.name)",
    "release and image.name exclude each other: the catalog says which image the release is",
);

/// A release, whose image a ReleaseCatalog says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Name of the ReleaseCatalog.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"))]
    pub catalog: String,
    /// A version in it: no newer than the operator, and no older than the one that ran last.
    #[schemars(length(min = 5, max = 63), regex(pattern = VERSION_PATTERN))]
    pub version: String,
}
