//! When restarts nobody asked for may happen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A span of time in which pods may be restarted for upgrades of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// Name of the window.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// When it opens, as a cron expression of five fields.
    #[schemars(length(min = 9, max = 64))]
    pub schedule: String,
    /// Time zone of the schedule, by IANA name.
    #[serde(default = "utc")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// How long it stays open, in seconds.
    #[serde(default = "one_hour")]
    #[schemars(range(min = 60, max = 604_800))]
    pub duration_seconds: i32,
}

fn utc() -> String {
    "UTC".to_owned()
}

const fn one_hour() -> i32 {
    3600
}
