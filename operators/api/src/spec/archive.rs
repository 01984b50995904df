//! Where archives lie: a folder of a volume, or a bucket that speaks S3.
//!
//! Shared by every engine that archives its journal, by Backups, and by what is recovered from
//! them. A store holds the archives of many objects, each below `<namespace>/<name>`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LocalRef, Moment};
use crate::cel::rules;

/// Path of a folder below a volume, or a prefix of a bucket: no part begins with a dot.
const PATH_PATTERN: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$";

/// Seconds between two additions to an archive unless told otherwise.
pub const INTERVAL_SECONDS_DEFAULT: i32 = 10;

/// An archive of the journal: every change is copied there, so that a volume that is lost, and
/// a change that should never have been made, can be recovered from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "has(self.folder) != has(self.bucket)",
    "archive needs exactly one of folder and bucket",
)])))]
pub struct Archive {
    /// A folder of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// A bucket of an object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// Longest time a change waits before it is in the archive, in seconds: what is lost when the
    /// volume is.
    #[serde(default = "interval_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: i32,
    /// How far back a recovery can reach, in seconds; what only older moments need is removed. Left
    /// out: everything is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3600, max = 315_360_000))]
    pub retention_seconds: Option<i32>,
}

fn interval_seconds() -> i32 {
    INTERVAL_SECONDS_DEFAULT
}

/// A folder of a volume that the pods mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Folder {
    /// PersistentVolumeClaim in the same namespace. On one machine without Kubernetes it is a folder
    /// of the data folder that has this name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub claim_name: String,
    /// Folder below the volume's own. Left out: the volume's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = PATH_PATTERN))]
    pub path: Option<String>,
}

/// A bucket of an object store that speaks S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bucket {
    /// Name of the bucket, which must exist.
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    pub name: String,
    /// What the names of all objects begin with, without a slash at the ends. Left out: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = PATH_PATTERN))]
    pub prefix: Option<String>,
    /// Address of the store, such as `https://s3.example.org`. Left out: what the Secret says under
    /// `AWS_ENDPOINT_URL`, or that of AWS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 8, max = 253),
        regex(pattern = r"^https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?$")
    )]
    pub endpoint: Option<String>,
    /// Region of the bucket. Left out: what the Secret says under `AWS_REGION`, or `us-east-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9-]+$"))]
    pub region: Option<String>,
    /// Secret with the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and where they are
    /// needed `AWS_SESSION_TOKEN` and `ca.crt`. A changed Secret is taken over by itself.
    pub secret_ref: LocalRef,
}

/// Namespace and name of an object, which need not exist any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// Namespace of the object.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// Name of the object.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// The archive of one object: all that a recovery from it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "has(self.folder) != has(self.bucket)",
    "recovery.archive needs exactly one of folder and bucket",
)])))]
pub struct ArchiveOf {
    /// A folder of a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<Folder>,
    /// A bucket of an object store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Bucket>,
    /// The object whose archive it is.
    pub object: ObjectRef,
}

impl Archive {
    /// The part of the archive that belongs to one object.
    pub fn of(&self, namespace: &str, name: &str) -> ArchiveOf {
        let object = ObjectRef { namespace: namespace.to_owned(), name: name.to_owned() };
        ArchiveOf { folder: self.folder.clone(), bucket: self.bucket.clone(), object }
    }
}

/// How an object comes to its first data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Bootstrap {
    /// From an archive. Left out: it starts empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// An archive to recover from. It is only read, and only while the volume is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "has(self.backup) != has(self.archive)",
    "recovery needs exactly one of backup and archive",
)])))]
pub struct Recovery {
    /// A Backup in the same namespace: its archive up to its position, or to `targetTime`. It is
    /// waited for until it has succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<LocalRef>,
    /// The archive of an object, which need not exist any more: all of it, or up to `targetTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveOf>,
    /// The moment to go back to: every change acknowledged before it, and none after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_time: Option<Moment>,
}

/// Where an object was recovered from, as it was found when it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecoveredFrom {
    /// The archive.
    pub archive: ArchiveOf,
    /// Journal position that was asked for; left out: as far as the archive reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub position: Option<i64>,
    /// Epoch of the primary whose archive leads there; left out: of the newest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,
    /// Moment that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_time: Option<Moment>,
}
