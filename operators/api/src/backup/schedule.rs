//! Kind `BackupSchedule`: makes Backups by the clock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::once::OF_ONE;
use crate::CommonStatus;
use crate::cel::rules;
use crate::condition::Time;
use crate::spec::LocalRef;

/// Ended Backups a schedule keeps unless told otherwise.
pub const RETAIN_LAST_DEFAULT: i32 = 7;

/// Makes Backups of a KVCluster or a Scheduler by the clock, named `<schedule>-<YYYYMMDDhhmm>` after the time in
/// UTC. Of runs that were missed only the newest is made up for.
#[cfg_attr(feature = "crd", derive(kube::CustomResource))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "orrery.dev",
        version = "v1alpha1",
        kind = "BackupSchedule",
        doc = "Makes Backups of a KVCluster or a Scheduler by the clock.",
        plural = "backupschedules",
        singular = "backupschedule",
        shortname = "baks",
        category = "orrery",
        namespaced,
        status = "BackupScheduleStatus",
        derive = "PartialEq",
        cel,
        printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster.name"),
        printcolumn(name = "Scheduler", type_ = "string", json_path = ".spec.scheduler.name"),
        printcolumn(name = "Schedule", type_ = "string", json_path = ".spec.schedule"),
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Ready\")].status"
        ),
        printcolumn(name = "Last", type_ = "date", json_path = ".status.lastScheduleTime"),
        printcolumn(name = "Next", type_ = "string", json_path = ".status.nextScheduleTime"),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
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
#[schemars(extend("x-kubernetes-validations" = rules(&[OF_ONE])))]
pub struct BackupScheduleSpec {
    /// The KVCluster, in the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<LocalRef>,
    /// The Scheduler, in the same namespace, instead of a KVCluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<LocalRef>,
    /// When to make a Backup, as a cron expression of five fields.
    #[schemars(length(min = 9, max = 64), regex(pattern = r"^\s*\S+(\s+\S+){4}\s*$"))]
    pub schedule: String,
    /// Time zone of the schedule, by IANA name.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// While true, no Backups are made and none are removed.
    #[serde(default)]
    pub suspend: bool,
    /// How many Backups that succeeded, and how many that failed, are kept as objects; older ones
    /// are deleted. What is in the archive stays.
    #[serde(default = "retain_last")]
    #[schemars(range(min = 1, max = 1000))]
    pub retain_last: i32,
}

fn utc() -> String {
    "UTC".to_owned()
}

fn retain_last() -> i32 {
    RETAIN_LAST_DEFAULT
}

/// What is true of a BackupSchedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupScheduleStatus {
    /// Fields every status has. Degraded: the newest Backup failed.
    #[serde(flatten)]
    pub common: CommonStatus,
    /// Time of the schedule that the newest Backup was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,
    /// When the next one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
    /// Name of the newest Backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub last_backup: Option<String>,
}
