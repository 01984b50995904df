//! The configuration file of a scheduler process: written by the operator into a ConfigMap, read by
//! `orrery serve scheduler --config`.
//!
//! Must not: name anything of Kubernetes. Listen addresses, folders and secrets come from
//! environment and command line, because they differ between a pod and a child process.

use serde::{Deserialize, Serialize};

use super::engine::{CatchUpDefault, History, Objective, Overdue, PARTITIONS_DEFAULT, Quota};
use super::target::{
    MAX_IN_FLIGHT_DEFAULT, TIMEOUT_SECONDS_DEFAULT, Target, TargetTls, TargetType,
};
use crate::kv::config::{ArchiveFile, ObjectName, RecoveryFile};
use crate::spec::JournalBackend;

/// Name of the file.
pub const CONFIG_FILE: &str = "scheduler.yaml";
/// Key of the generated Secret: what clients of the API send as Bearer. Without it the API asks for
/// nothing.
pub const API_TOKEN_KEY: &str = "api-token";
/// Folder of a target with its credentials, below the folder of targets and the target's name: a file
/// `token`, or `username` and `password`, or `header` and `value`.
pub const TARGET_AUTH: &str = "auth";
/// Folder of a target with what its calls are signed with: a file `secret`.
pub const TARGET_SIGNING: &str = "signing";
/// Folder of a target with the authority of its certificate: a file `ca.crt`.
pub const TARGET_CA: &str = "ca";
/// Folder below the folder of targets with a folder for each pool, which has a file `token`. No target
/// has this name.
pub const POOLS: &str = "_pools";

/// What a scheduler process does. Every field may be left out; an unknown field is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SchedulerConfig {
    /// The Scheduler this process belongs to.
    pub object: ObjectName,
    /// Number of partitions, a power of two.
    pub partitions: i32,
    /// Where the journal is kept.
    pub journal: JournalBackend,
    /// Services that runs are sent to.
    pub targets: Vec<TargetFile>,
    /// Pods that are warm already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolFile>,
    /// What happens to missed runs of schedules that do not say.
    pub catch_up_default: CatchUpDefault,
    /// Who is told of overdue runs; left out: nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Overdue>,
    /// How much of the past is remembered.
    pub history: History,
    /// What is promised.
    pub objective: Objective,
    /// How many jobs there may be; left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Whether the routes of Dkron are served.
    pub dkron_compat: bool,
    /// Whether gRPC is served.
    pub grpc: bool,
    /// Bytes of journal after which a snapshot of a partition is written; left out: the process
    /// chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_after_bytes: Option<i64>,
    /// Where the journals are archived; left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveFile>,
    /// What an empty data folder is filled from; left out: it stays empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryFile>,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            object: ObjectName::default(),
            partitions: PARTITIONS_DEFAULT,
            journal: JournalBackend::Local,
            targets: Vec::new(),
            pools: Vec::new(),
            catch_up_default: CatchUpDefault::default(),
            overdue: None,
            history: History::default(),
            objective: Objective::default(),
            quota: None,
            dkron_compat: false,
            grpc: false,
            snapshot_after_bytes: None,
            archive: None,
            recovery: None,
        }
    }
}

/// A service that runs are sent to. Its Secrets are files below the folder of targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetFile {
    /// What actions name it by.
    pub name: String,
    /// What it speaks.
    #[serde(rename = "type", default)]
    pub type_: TargetType,
    /// Host name or IP address.
    pub host: String,
    /// Its port; left out: 80, or 443 with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Path of actions that name none; left out: `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it speaks TLS.
    #[serde(default)]
    pub tls: TargetTls,
    /// The most calls at the same time.
    #[serde(default = "max_in_flight")]
    pub max_in_flight: i32,
    /// The most calls in a second; left out: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_per_second: Option<i32>,
    /// The longest a call may take, in seconds, where the schedule says nothing.
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: i64,
    /// There is a folder [`TARGET_AUTH`].
    #[serde(default)]
    pub has_auth: bool,
    /// There is a folder [`TARGET_SIGNING`].
    #[serde(default)]
    pub has_signing: bool,
    /// There is a folder [`TARGET_CA`].
    #[serde(default)]
    pub has_ca: bool,
}

/// Pods that runs are sent to, each with a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolFile {
    /// What actions name it by.
    pub name: String,
    /// `host:port` of each pod, or of several under one name.
    pub addresses: Vec<String>,
    /// Number of pods.
    pub pods: i32,
    /// Runs that each may have at the same time.
    pub runs_per_pod: i32,
    /// The longest a run may take, in seconds, where the schedule says nothing.
    pub timeout_seconds: i64,
    /// There is a folder of it below [`POOLS`].
    #[serde(default)]
    pub has_token: bool,
}

fn max_in_flight() -> i32 {
    MAX_IN_FLIGHT_DEFAULT
}

fn timeout_seconds() -> i64 {
    TIMEOUT_SECONDS_DEFAULT
}

impl From<&Target> for TargetFile {
    fn from(target: &Target) -> Self {
        Self {
            name: target.name.clone(),
            type_: target.type_,
            host: target.host.clone(),
            port: target.port,
            path: target.path.clone(),
            tls: target.tls,
            max_in_flight: target.max_in_flight,
            rate_per_second: target.rate_per_second,
            timeout_seconds: target.timeout_seconds,
            has_auth: target.auth_ref.is_some(),
            has_signing: target.signing_ref.is_some(),
            has_ca: target.ca_secret_ref.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_defaults_and_an_unknown_field_is_an_error() {
        let config: SchedulerConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, SchedulerConfig::default());
        assert_eq!((config.partitions, config.history.keep_runs), (16, 100));
        assert!(serde_json::from_str::<SchedulerConfig>(r#"{"partition": 3}"#).is_err());
    }

    #[test]
    fn a_target_is_written_without_the_names_of_its_secrets() {
        let target: Target = serde_json::from_str(
            r#"{"name": "billing", "host": "billing", "tls": "On", "authRef": {"name": "token"}}"#,
        )
        .unwrap();
        let file = TargetFile::from(&target);
        let json = serde_json::to_string(&file).unwrap();
        assert!(json.contains(r#""hasAuth":true"#) && !json.contains("token"), "{json}");
        assert_eq!(serde_json::from_str::<TargetFile>(&json).unwrap(), file);
    }
}
