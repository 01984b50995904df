//! The configuration file of a key-value process: written by the operator into a ConfigMap, read by
//! `orrery serve kv --config`.
//!
//! Must not: name anything of Kubernetes. Listen addresses, folders and secrets come from
//! environment and command line, because they differ between a pod and a child process.

use serde::{Deserialize, Serialize};

use super::{Class, JournalBackend, Layout};

/// Databases a process has unless told otherwise.
pub const DATABASES_DEFAULT: i32 = 16;
/// Client connections a process takes at the same time unless told otherwise.
pub const MAX_CLIENTS_DEFAULT: i32 = 10_000;
/// Bytes of journal after which a process writes a snapshot unless told otherwise: about a second
/// of replay at the next start.
pub const SNAPSHOT_AFTER_BYTES_DEFAULT: i64 = 256 << 20;
/// The fewest such bytes: below one page a process would do nothing but write snapshots.
pub const SNAPSHOT_AFTER_BYTES_MIN: i64 = 4096;
/// The most such bytes: 1 TiB is more than a volume of one process holds.
pub const SNAPSHOT_AFTER_BYTES_MAX: i64 = 1 << 40;
/// Longest path of a Unix socket in bytes; the system's own bound, without its closing zero.
pub const UNIX_SOCKET_BYTES_MAX: usize = 107;

/// File of the live folder that says whether the owner wants no writes: `true` or `false`.
pub const FENCED_FILE: &str = "fenced";

/// Environment variable: folder of the Secret for the archive.
pub const ARCHIVE_SECRET: &str = "ORRERY_ARCHIVE_SECRET";
/// Environment variable: folder of the Secret for the recovery.
pub const RECOVERY_SECRET: &str = "ORRERY_RECOVERY_SECRET";
/// Seconds a record waits at most before it is archived unless told otherwise: what is lost when
/// the data folder is.
pub const ARCHIVE_INTERVAL_SECONDS_DEFAULT: i64 = 10;
/// The most such seconds.
pub const ARCHIVE_INTERVAL_SECONDS_MAX: i64 = 3600;
/// The most seconds an archive is kept for: a hundred years.
pub const ARCHIVE_RETENTION_SECONDS_MAX: i64 = 100 * 365 * 86_400;

/// What a key-value process does. Every field may be left out; an unknown field is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KvConfig {
    /// The KVCluster this process belongs to.
    pub object: ObjectName,
    /// Number of databases, for SELECT.
    pub databases: i32,
    /// Class of keys that match no KVNamespace.
    pub default_class: Class,
    /// Bytes all data may take in memory; 0 sets no limit.
    pub memory_limit_bytes: i64,
    /// Shards of a process without `cluster`: 1. Earlier releases write and read it.
    pub shards: i32,
    /// How the keys are spread over shards, each with one thread and one journal, and those over the
    /// processes of the object; clients are sent to the shard of a key by Redis Cluster. Left out: one
    /// shard has all keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Layout>,
    /// Where the journal is kept.
    pub journal: JournalBackend,
    /// Client connections at the same time.
    pub max_clients: i32,
    /// Whether the process belongs to a group of a primary and followers: then it waits to be told
    /// its role, see `docs/decisions/0006-followers-and-failover.md`; left out: it is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<bool>,
    /// Bytes of journal after which a snapshot is written, from [`SNAPSHOT_AFTER_BYTES_MIN`] to
    /// [`SNAPSHOT_AFTER_BYTES_MAX`]; left out: [`SNAPSHOT_AFTER_BYTES_DEFAULT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot_after_bytes: Option<i64>,
    /// Path of a Unix socket to serve besides TCP, at most [`UNIX_SOCKET_BYTES_MAX`] bytes; left
    /// out or empty: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<String>,
    /// Where the journal is archived; left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveFile>,
    /// What an empty data folder is filled from; left out: it stays empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<RecoveryFile>,
    /// Allows the harmless part of `DEBUG`, which test suites need; left out: refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug_commands: Option<bool>,
}

/// Where a journal is archived. Credentials of buckets come from a folder that the environment
/// names, see [`ARCHIVE_SECRET`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveFile {
    /// `file:///folder` or `s3://bucket/prefix`; belongs to this object alone.
    pub to: String,
    /// What this object has and no other, such as its UID: with it every member of a group may go
    /// on with the archive. Left out: the first data folder that writes it is the only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Longest time a record waits before it is put, 1 to [`ARCHIVE_INTERVAL_SECONDS_MAX`]; left
    /// out: [`ARCHIVE_INTERVAL_SECONDS_DEFAULT`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<i64>,
    /// Every moment of the last so many seconds can be recovered, older ones are removed, 1 to
    /// [`ARCHIVE_RETENTION_SECONDS_MAX`]; left out: all are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_seconds: Option<i64>,
    /// `http://…` or `https://…` of a server that speaks S3; left out: as the Secret says
    /// (`AWS_ENDPOINT_URL`), or Amazon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region of the bucket; left out: as the Secret says (`AWS_REGION`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// What an empty data folder is filled from. Credentials as with [`ArchiveFile`], see
/// [`RECOVERY_SECRET`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RecoveryFile {
    /// The archive to read, `file:///folder` or `s3://bucket/prefix`.
    pub from: String,
    /// The moment to reach, in microseconds since the Unix epoch; left out: the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_time_us: Option<i64>,
    /// The record to reach, exactly; not together with a moment. Left out: the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_position: Option<u64>,
    /// The epoch whose writer made the archive that leads there, 0: of a time without epochs. Left
    /// out: the newest one that there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_epoch: Option<u64>,
    /// Name of the one process of a group that is filled; the others copy from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// As [`ArchiveFile::endpoint`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// As [`ArchiveFile::region`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// Namespace and name of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ObjectName {
    /// Kubernetes namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl Default for KvConfig {
    fn default() -> Self {
        Self {
            object: ObjectName::default(),
            databases: DATABASES_DEFAULT,
            default_class: Class::Store,
            memory_limit_bytes: 0,
            shards: 1,
            cluster: None,
            journal: JournalBackend::Local,
            max_clients: MAX_CLIENTS_DEFAULT,
            group: None,
            snapshot_after_bytes: None,
            unix_socket: None,
            archive: None,
            recovery: None,
            debug_commands: None,
        }
    }
}

impl Class {
    /// Whether a process journals changes of such keys, so that they survive it.
    pub const fn is_durable(self) -> bool {
        !matches!(self, Self::Cache)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config: KvConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, KvConfig::default());
        assert_eq!((config.databases, config.default_class), (16, Class::Store));
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        assert!(serde_json::from_str::<KvConfig>(r#"{"databasis": 3}"#).is_err());
        assert!(serde_json::from_str::<KvConfig>(r#"{"object": {"nam": "a"}}"#).is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        let config = KvConfig {
            memory_limit_bytes: 4 << 30,
            default_class: Class::Cache,
            ..KvConfig::default()
        };
        let json = serde_json::to_string(&config).unwrap();
        assert!(json.contains("\"memoryLimitBytes\":4294967296"), "{json}");
        assert!(!json.contains("unixSocket"), "what is left out stays out: {json}");
        assert_eq!(serde_json::from_str::<KvConfig>(&json).unwrap(), config);
    }
}
