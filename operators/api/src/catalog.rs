//! Kind `ReleaseCatalog`: which image a version is, for all objects of a cluster.
//!
//! Must not: choose a version. Objects name the one they run in `spec.release`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::release::VERSION_PATTERN;

/// The images of the releases that objects of this cluster may run. An object names a catalog and a
/// version in `spec.release`; a new image of that version replaces its pods as a new release does: in
/// its maintenance windows, a few objects at a time. While a catalog or a version is missing, pods
/// that run are left alone.
#[cfg_attr(feature = "crd", derive(kube::CustomResource))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "orrery.dev",
        version = "v1alpha1",
        kind = "ReleaseCatalog",
        doc = "The images of the releases that objects of this cluster may run.",
        plural = "releasecatalogs",
        singular = "releasecatalog",
        shortname = "relcat",
        category = "orrery",
        derive = "PartialEq",
        derive = "Default",
        cel,
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
    )
)]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReleaseCatalogSpec {
    /// The releases, each version once.
    #[schemars(length(max = 128), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["version"]
    ))]
    pub releases: Vec<CatalogRelease>,
}

/// A version and its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CatalogRelease {
    /// Version of the data planes in the image, such as `0.1.0`.
    #[schemars(length(min = 5, max = 63), regex(pattern = VERSION_PATTERN))]
    pub version: String,
    /// Full name of the image, with a digest or a tag. A digest is always the same image; with a tag
    /// nobody can tell which one runs.
    #[schemars(length(min = 1, max = 512), regex(pattern = IMAGE_PATTERN))]
    pub image: String,
}

/// `registry:port/path:tag@sha256:digest`: the registry may be left out, and one of tag and digest.
const IMAGE_PATTERN: &str = concat!(
    r"^(([a-zA-Z0-9]([a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?/)?",
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*",
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[a-f0-9]{64})?|@sha256:[a-f0-9]{64})$"
);

impl ReleaseCatalogSpec {
    /// The image of a version.
    pub fn image(&self, version: &str) -> Option<&str> {
        let release = self.releases.iter().find(|release| release.version == version);
        release.map(|release| release.image.as_str())
    }
}
