//! The configuration of one engine, as the operator writes it.

use serde::Deserialize;

/// Every field has a default: an empty file is a working engine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KvConfig {
    /// The resource this engine belongs to.
    pub object: ObjectRef,
    /// Numbered databases of the RESP protocol.
    pub databases: u16,
    /// Class of keys that match no KVNamespace: `Cache`, `Session`, `Store`.
    pub default_class: String,
    /// Bytes of keys and values; 0 = no limit.
    pub memory_limit_bytes: i64,
    /// Threads, each with its own part of the keys. This version runs 1.
    pub shards: u32,
    /// Where the journal is. This version knows `Local`.
    pub journal: String,
    /// Connections at the same time.
    pub max_clients: u32,
    /// Journal bytes after which a snapshot is written.
    pub snapshot_after_bytes: i64,
    /// Path of a Unix socket to listen on besides TCP; empty = none.
    pub unix_socket: String,
    /// Allows the harmless part of `DEBUG`, for test suites.
    pub debug_commands: bool,
}

/// Namespace and name of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ObjectRef {
    pub namespace: String,
    pub name: String,
}

impl Default for KvConfig {
    fn default() -> Self {
        Self {
            object: ObjectRef::default(),
            databases: 16,
            default_class: "Store".into(),
            memory_limit_bytes: 0,
            shards: 1,
            journal: "Local".into(),
            max_clients: 10_000,
            snapshot_after_bytes: 256 << 20,
            unix_socket: String::new(),
            debug_commands: false,
        }
    }
}
