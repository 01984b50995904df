//! Kind `KVNamespace`: what is true of a part of the keys of a KVCluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Class;
use crate::CommonStatus;
use crate::cel::rules;
use crate::spec::{LocalRef, Quantity};

/// A part of the keys of a KVCluster: how durable they are, how long they live, how much they may
/// take. Without `clusterRef` it belongs to the KVCluster `default`, which is made when absent.
#[cfg_attr(feature = "crd", derive(kube::CustomResource))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "orrery.dev",
        version = "v1alpha1",
        kind = "KVNamespace",
        doc = "A part of the keys of a KVCluster: durability, time to live, quota.",
        plural = "kvnamespaces",
        singular = "kvnamespace",
        shortname = "kvns",
        category = "orrery",
        namespaced,
        status = "KVNamespaceStatus",
        derive = "PartialEq",
        cel,
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Ready\")].status"
        ),
        printcolumn(name = "Class", type_ = "string", json_path = ".spec.class"),
        printcolumn(name = "Match", type_ = "string", json_path = ".status.match"),
        printcolumn(name = "Cluster", type_ = "string", json_path = ".status.boundTo"),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
        printcolumn(
            name = "Memory%",
            type_ = "integer",
            json_path = ".status.usedMemoryPercent",
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
    (
        "!has(self.eviction) || self.class == 'Cache'",
        "eviction is only for class Cache: keys of other classes are never evicted",
    ),
    (
        "!has(self.revisions) || self.class in ['Config', 'Flag']",
        "revisions are only for the classes Config and Flag",
    ),
    (
        "!has(self.entries) || self.class in ['Config', 'Flag']",
        "entries are only for the classes Config and Flag",
    ),
    (
        "self.class != 'Session' || (has(self.ttl) && has(self.ttl.defaultSeconds))",
        "class Session needs ttl.defaultSeconds: every session ends",
    ),
    (
        "has(self.clusterRef) == has(oldSelf.clusterRef) \
         && (!has(self.clusterRef) || self.clusterRef.name == oldSelf.clusterRef.name)",
        "clusterRef cannot change: the keys stay where they are; make a new object",
    ),
])))]
pub struct KVNamespaceSpec {
    /// The KVCluster, in the same namespace. Left out: the one named `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_ref: Option<LocalRef>,
    /// Which keys: exactly one of prefix, database or user. The longest prefix wins, then the
    /// database, then the user.
    #[serde(rename = "match")]
    pub match_: Match,
    /// Cache, Session, Store, Config or Flag.
    #[serde(default)]
    pub class: Class,
    /// How long keys live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// How much the keys and their clients may take. What is left out has no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Which keys go first when memory is short; only for class Cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction: Option<Eviction>,
    /// How many old versions of a key stay readable; only for Config and Flag, where it is 100 when
    /// left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub revisions: Option<i32>,
    /// Keys with values that live in this object; only for Config and Flag. Removing a line removes
    /// the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["key"]
    ))]
    pub entries: Vec<Entry>,
}

/// Which keys belong to the namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "[has(self.prefix), has(self.database), has(self.user)].filter(x, x).size() == 1",
    "match needs exactly one of prefix, database and user",
)])))]
pub struct Match {
    /// Keys that start with this text, in all databases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub prefix: Option<String>,
    /// All keys of the database with this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1023))]
    pub database: Option<i32>,
    /// All keys of connections of the user with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub user: Option<String>,
}

impl Match {
    /// One line for people: `prefix sess:`, `database 3`, `user shop`.
    pub fn summary(&self) -> String {
        match (&self.prefix, self.database, &self.user) {
            (Some(prefix), _, _) => format!("prefix {prefix}"),
            (None, Some(database), _) => format!("database {database}"),
            (None, None, Some(user)) => format!("user {user}"),
            (None, None, None) => "nothing".to_owned(),
        }
    }
}

/// How long keys live.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.defaultSeconds) || !has(self.maxSeconds) || self.defaultSeconds <= self.maxSeconds",
    "ttl.defaultSeconds must not be above ttl.maxSeconds",
)])))]
pub struct Ttl {
    /// Time to live of a key that is written without one, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_153_600_000_i64))]
    pub default_seconds: Option<i64>,
    /// Longest time to live; longer ones are cut, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3_153_600_000_i64))]
    pub max_seconds: Option<i64>,
}

/// How much the keys of a namespace and their clients may take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Memory of all keys; writes above it get a QUOTA error, or evict in class Cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("quantity(self).isGreaterThan(quantity('0'))", "quota.memory must be above 0"),
    ])))]
    pub memory: Option<Quantity>,
    /// Commands per second on these keys; more get a QUOTA error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub ops_per_second: Option<i32>,
    /// Connections that use these keys at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections: Option<i32>,
    /// Largest value of one key, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 536_870_912))]
    pub max_value_bytes: Option<i64>,
}

/// Which keys go first when memory is short.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Eviction {
    /// S3Fifo or WTinyLfu.
    pub policy: EvictionPolicy,
}

/// How the keys that go first are chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum EvictionPolicy {
    /// Three FIFO queues: quick to drop what is read once.
    #[default]
    S3Fifo,
    /// A frequency sketch that decides what may enter.
    WTinyLfu,
}

/// A key with its value, managed by this object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Name of the key.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,
    /// Its value.
    #[schemars(length(max = 65_536))]
    pub value: String,
}

/// What is true of a KVNamespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KVNamespaceStatus {
    /// Fields every status has.
    #[serde(flatten)]
    pub common: CommonStatus,
    /// Name of the KVCluster that carries it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub bound_to: Option<String>,
    /// Which keys, in one line.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub match_: Option<String>,
    /// Part of `quota.memory` in use, rounded to 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub used_memory_percent: Option<i32>,
}
