//! Kind `Backup`: one snapshot, taken once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CommonStatus;
use crate::cel::rules;
use crate::condition::Time;
use crate::spec::LocalRef;
use crate::spec::archive::ArchiveOf;

/// What is backed up is named once.
pub(super) const OF_ONE: (&str, &str) =
    ("has(self.cluster) != has(self.scheduler)", "exactly one of cluster and scheduler is needed");

/// Seconds a Backup may take unless told otherwise: a day.
pub const DEADLINE_SECONDS_DEFAULT: i32 = 86_400;

/// One snapshot of a KVCluster or a Scheduler into its archive, taken once. Deleting the object removes
/// nothing from the archive; `spec.archive.retentionSeconds` of that object does.
#[cfg_attr(feature = "crd", derive(kube::CustomResource))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "orrery.dev",
        version = "v1alpha1",
        kind = "Backup",
        doc = "One snapshot of a KVCluster or a Scheduler into its archive, taken once.",
        plural = "backups",
        singular = "backup",
        shortname = "bak",
        category = "orrery",
        namespaced,
        status = "BackupStatus",
        derive = "PartialEq",
        cel,
        printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster.name"),
        printcolumn(name = "Scheduler", type_ = "string", json_path = ".spec.scheduler.name"),
        printcolumn(
            name = "Succeeded",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Succeeded\")].status"
        ),
        printcolumn(name = "Progress", type_ = "integer", json_path = ".status.percent"),
        printcolumn(name = "Position", type_ = "integer", json_path = ".status.position"),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
        printcolumn(
            name = "Location",
            type_ = "string",
            json_path = ".status.location",
            priority = 1
        ),
        printcolumn(
            name = "Reason",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
            priority = 1
        )
    )
)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    ("self == oldSelf", "a Backup cannot change: it is taken once; make a new object"),
    OF_ONE,
])))]
pub struct BackupSpec {
    /// The KVCluster, in the same namespace. It needs `spec.archive`, and is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<LocalRef>,
    /// The Scheduler, in the same namespace, instead of a KVCluster. It needs `spec.archive`, and is
    /// waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<LocalRef>,
    /// Time from the making of the object after which it fails if no snapshot was taken, in seconds.
    #[serde(default = "deadline_seconds")]
    #[schemars(range(min = 60, max = 604_800))]
    pub deadline_seconds: i32,
}

impl BackupSpec {
    /// The Backup of a cluster, with defaults.
    pub fn of(cluster: LocalRef) -> Self {
        Self::of_either(Some(cluster), None)
    }

    /// The Backup of a cluster or of a Scheduler, with defaults.
    pub fn of_either(cluster: Option<LocalRef>, scheduler: Option<LocalRef>) -> Self {
        Self { cluster, scheduler, deadline_seconds: DEADLINE_SECONDS_DEFAULT }
    }
}

fn deadline_seconds() -> i32 {
    DEADLINE_SECONDS_DEFAULT
}

/// What is true of a Backup. Once it has succeeded or failed it stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupStatus {
    /// Fields every status has, and the condition Succeeded; Ready follows it.
    #[serde(flatten)]
    pub common: CommonStatus,
    /// When the snapshot was first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// How far it is, in steps of ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// What is being done.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub step: Option<String>,
    /// Kind of the object that the snapshot is of. Left out: KVCluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub engine: Option<String>,
    /// What a recovery from this Backup ends at: the journal position of the snapshot of a KVCluster; of a
    /// Scheduler, whose partitions have a journal each, the moment in microseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub position: Option<i64>,
    /// Epoch of the primary that put it into the archive; 0 of a KVCluster that never had followers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub epoch: Option<i64>,
    /// Where the snapshot is, as the engine names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub location: Option<String>,
    /// The archive it is in: what a recovery needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveOf>,
}
