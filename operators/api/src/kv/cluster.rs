//! Kind `KVCluster`: a key-value service that speaks the Redis protocol.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::Class;
use super::config::{DATABASES_DEFAULT, MAX_CLIENTS_DEFAULT};
#[cfg(feature = "crd")]
use super::status::KVClusterStatus;
use crate::cel::rules;
use crate::spec::Journal;
use crate::spec::release::RELEASE_OR_IMAGE;
use crate::spec::{Archive, Bootstrap, EngineSpec, LocalRef, Quantity, SecretKeyRef, Storage, Tls};

/// A key-value service for everything that speaks the Redis protocol. `spec: {}` gives one pod
/// whose acknowledged writes are on disk.
#[cfg_attr(feature = "crd", derive(kube::CustomResource))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "orrery.dev",
        version = "v1alpha1",
        kind = "KVCluster",
        doc = "A key-value service for everything that speaks the Redis protocol.",
        plural = "kvclusters",
        singular = "kvcluster",
        shortname = "kv",
        category = "orrery",
        namespaced,
        status = "KVClusterStatus",
        derive = "PartialEq",
        derive = "Default",
        cel,
        scale(
            spec_replicas_path = ".spec.followers",
            status_replicas_path = ".status.followerCount",
            label_selector_path = ".status.selector"
        ),
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Ready\")].status"
        ),
        printcolumn(name = "Shards", type_ = "integer", json_path = ".status.shardCount"),
        printcolumn(name = "Durability", type_ = "string", json_path = ".status.durability"),
        printcolumn(
            name = "Endpoint",
            type_ = "string",
            json_path = ".status.endpoints[0].address"
        ),
        printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
        printcolumn(
            name = "Followers",
            type_ = "integer",
            json_path = ".spec.followers",
            priority = 1
        ),
        printcolumn(
            name = "Memory",
            type_ = "string",
            json_path = ".spec.memory.limit",
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
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "self.defaultClass != 'Session'",
        "defaultClass cannot be Session: its keys need a time to live, which only a KVNamespace can give",
    ),
    (
        "self.memcached.mode == 'Off' || self.memcached.port != self.resp.port",
        "memcached.port must differ from resp.port",
    ),
    (
        "self.http.mode == 'Off' || self.http.port != self.resp.port",
        "http.port must differ from resp.port",
    ),
    (
        "self.http.mode == 'Off' || self.memcached.mode == 'Off' || self.http.port != self.memcached.port",
        "http.port must differ from memcached.port",
    ),
    (
        "self.synchronousFollowers <= self.followers",
        "synchronousFollowers cannot be more than followers",
    ),
    (
        "self.followers > 0 || !has(self.storage.storageClassName) \
         || (has(oldSelf.storage.storageClassName) \
             && self.storage.storageClassName == oldSelf.storage.storageClassName)",
        "storage.storageClassName can change only with followers, which the volumes are replaced \
         from; set followers to 1 or more first",
    ),
    (
        "self.deletionPolicy != 'Snapshot' || has(self.archive)",
        "deletionPolicy Snapshot needs archive: the last snapshot goes there",
    ),
    (
        "!has(self.bootstrap) || (has(oldSelf.bootstrap) && self.bootstrap == oldSelf.bootstrap)",
        "bootstrap is for new objects: it can be removed later, and not be added or changed",
    ),
    (
        "self.replicas * self.shardsPerPod <= 64",
        "replicas times shardsPerPod cannot be more than 64",
    ),
    (
        "self.replicas == 1 || self.followers == oldSelf.followers",
        "followers can change only while replicas is 1: which pods have which shards depends on it",
    ),
    (
        "self.replicas * self.shardsPerPod == 1 || self.resp.clusterMode == oldSelf.resp.clusterMode",
        "resp.clusterMode can change only with one shard",
    ),
    RELEASE_OR_IMAGE,
])))]
pub struct KVClusterSpec {
    /// Number of pods that the shards are spread over; more than one needs `resp.clusterMode: Slots`.
    /// There are `replicas` times `shardsPerPod` shards, and as many pods as this says, or one more than
    /// `followers` if that is more: each shard is in one of them, and its followers in others.
    #[schemars(range(min = 1, max = 64), extend("x-kubernetes-validations" = rules(&[(
        "self == oldSelf",
        "replicas cannot change: keys are spread over the shards; make a new object and move the data",
    )])))]
    pub replicas: i32,
    /// Shards of each pod; more than one needs `resp.clusterMode: Slots`. A shard is one thread that
    /// owns its keys and its journal, with a port of its own.
    #[schemars(range(min = 1, max = 64), extend("x-kubernetes-validations" = rules(&[(
        "self == oldSelf",
        "shardsPerPod cannot change: keys are spread over the shards; make a new object and move the data",
    )])))]
    pub shards_per_pod: i32,
    /// The volume of each pod.
    pub storage: Storage,
    /// Where the journal is kept.
    pub journal: Journal,
    /// Memory for data.
    pub memory: Memory,
    /// Class of keys that match no KVNamespace: Store (durable), Cache, Config or Flag.
    pub default_class: Class,
    /// The Redis protocol.
    pub resp: Resp,
    /// The memcached protocol.
    pub memcached: Memcached,
    /// HTTP for clients: the stream of changes, at `/v1/watch`.
    pub http: Http,
    /// Number of read replicas. It is what `kubectl scale` and a HorizontalPodAutoscaler change.
    #[schemars(range(min = 0, max = 16))]
    pub followers: i32,
    /// Number of followers that must have a write on disk before it is acknowledged. 0 replicates
    /// asynchronously.
    #[schemars(range(min = 0, max = 16))]
    pub synchronous_followers: i32,
    /// What happens when the primary of a cluster with followers is lost.
    pub failover: Failover,
    /// A Redis to take over: the service follows it and refuses writes of its own clients. Once
    /// `status.adopt` says Following with a lag of 0 and nothing writes to that Redis any more, remove
    /// this field: the service goes on alone. All keys that were in the service before are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adopt_from: Option<Adopt>,
    /// Where every change is copied to beside the volume: for Backups, and for recovery to any moment.
    /// Left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// Where a new object takes its data from. Left out: it starts empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Fields every engine has.
    #[serde(flatten)]
    pub engine: EngineSpec,
}

impl Default for KVClusterSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            shards_per_pod: 1,
            storage: Storage::default(),
            journal: Journal::default(),
            memory: Memory::default(),
            default_class: Class::Store,
            resp: Resp::default(),
            memcached: Memcached::default(),
            http: Http::default(),
            followers: 0,
            synchronous_followers: 0,
            failover: Failover::default(),
            adopt_from: None,
            archive: None,
            bootstrap: None,
            engine: EngineSpec::default(),
        }
    }
}

/// Memory for data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// Memory all keys of a pod may take. Above it Cache keys are evicted, and writes that need more
    /// get an OOM error. Left out: three quarters of `resources.limits.memory`, or no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rules(&[
        ("quantity(self).isGreaterThan(quantity('0'))", "memory.limit must be above 0"),
    ])))]
    pub limit: Option<Quantity>,
}

/// The Redis protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Resp {
    /// Port of the Services and of the pods. 9400 and 9401 are taken by management and metrics. With
    /// several shards, each has one of the ports behind it in the pods: the first shard the next one.
    #[schemars(range(min = 1024, max = 65_535), extend("x-kubernetes-validations" = rules(&[
        ("self != 9400 && self != 9401", "ports 9400 and 9401 are taken by management and metrics"),
    ])))]
    pub port: i32,
    /// Number of databases, for SELECT. It can grow, and cannot shrink.
    #[schemars(range(min = 1, max = 1024), extend("x-kubernetes-validations" = rules(&[(
        "self >= oldSelf",
        "databases cannot shrink: keys of the removed databases would be lost; keep at least the old number",
    )])))]
    pub databases: i32,
    /// Client connections of each pod at the same time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_clients: i32,
    /// Certificate of the listener: clients must speak TLS. Left out: no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Password of the `default` user. Left out: the operator makes one, under the key `password` of
    /// the Secret `<name>-kv`. On one machine without Kubernetes no password is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Users beside `default`, and what each may do. A change is taken over without a restart, within
    /// about two minutes, and so is a changed password; connections of a user that is removed end. In
    /// the list, `default` stands for clients that log in without a name. Left out: `default` alone,
    /// which may do everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub users: Vec<User>,
    /// "Off" (one endpoint), or Slots (Redis Cluster redirects). Write "Off" with its quotes: kubectl
    /// reads the bare word as a boolean.
    pub cluster_mode: ClusterMode,
}

impl Default for Resp {
    fn default() -> Self {
        Self {
            port: 6379,
            databases: DATABASES_DEFAULT,
            max_clients: MAX_CLIENTS_DEFAULT,
            tls: None,
            auth: None,
            users: Vec::new(),
            cluster_mode: ClusterMode::Off,
        }
    }
}

/// Password of the `default` user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Auth {
    /// Secret with the key `password`. It is read when a pod starts: after changing it, give
    /// `spec.restart` a new value.
    pub secret_ref: LocalRef,
}

/// A user and what it may do, in the language of the ACLs of Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "(self.name == 'default') != has(self.passwordSecret)",
        "every user needs a passwordSecret, but default: its password is that of resp.auth",
    ),
    (
        "self.name != 'orrery-replication'",
        "orrery-replication is the user of followers: take another name",
    ),
])))]
pub struct User {
    /// Name the clients give with AUTH or HELLO.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_.@:+-]+$"))]
    pub name: String,
    /// Where its password is; one line of text. Not for `default`, whose password is that of
    /// `resp.auth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKeyRef>,
    /// What it may do, one word each: `+@read`, `-@dangerous`, `+client|list`, `~orders:*`,
    /// `%R~stock:*` (read alone), `&news`, `allkeys`, `off`, or a further set of permissions in
    /// parentheses, such as `(+set ~cart:*)`. A user begins without any.
    #[schemars(schema_with = "rule_words")]
    pub rules: Vec<String>,
}

fn rule_words(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 64,
        "items": {
            "type": "string",
            "description": "One word, or several in parentheses.",
            "minLength": 1,
            "maxLength": 512,
            "pattern": r"^(\S+|\([^()]*\))$",
        },
    })
}

/// Whether cluster clients are redirected to the owner of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ClusterMode {
    /// One endpoint for all keys.
    #[default]
    Off,
    /// Redis Cluster: 16,384 slots, MOVED and ASK.
    Slots,
}

/// The memcached protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Memcached {
    /// "Off" or "On". Write the quotes: kubectl reads the bare words as booleans.
    pub mode: MemcachedMode,
    /// Port of the Services and of the pods.
    #[schemars(range(min = 1024, max = 65_535), extend("x-kubernetes-validations" = rules(&[
        ("self != 9400 && self != 9401", "ports 9400 and 9401 are taken by management and metrics"),
    ])))]
    pub port: i32,
}

impl Default for Memcached {
    fn default() -> Self {
        Self { mode: MemcachedMode::Off, port: 11_211 }
    }
}

/// Whether the memcached protocol is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum MemcachedMode {
    /// No listener.
    #[default]
    Off,
    /// Text and meta protocol.
    On,
}

/// HTTP for clients: what was changed, in order, as server-sent events. With TLS and the users of the
/// Redis protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Http {
    /// "Off" or "On". Write the quotes: kubectl reads the bare words as booleans.
    pub mode: HttpMode,
    /// Port of the Service for writing and of the pods.
    #[schemars(range(min = 1024, max = 65_535), extend("x-kubernetes-validations" = rules(&[
        (
            "self != 9400 && self != 9401 && self != 9402",
            "ports 9400 to 9402 are taken by management, metrics and replication",
        ),
    ])))]
    pub port: i32,
}

impl Default for Http {
    fn default() -> Self {
        Self { mode: HttpMode::Off, port: 8080 }
    }
}

impl Http {
    /// The port, if there is a listener.
    pub fn open_port(&self) -> Option<i32> {
        (self.mode == HttpMode::On).then_some(self.port)
    }
}

/// Whether HTTP is spoken with clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum HttpMode {
    /// No listener.
    #[default]
    Off,
    /// The primary serves the stream of changes.
    On,
}

/// What happens when the primary is lost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// NoLoss (a follower takes over only when it has every acknowledged write), AllowLoss (the most
    /// advanced follower takes over; what only the old primary had is lost) or Manual (nobody takes
    /// over unless `primary` asks for it).
    pub policy: FailoverPolicy,
    /// Name of the pod that should be primary, such as `default-kv-1`. A new value moves the primary
    /// there, without loss; left out, the operator chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub primary: Option<String>,
}

/// Who may take over from a lost primary.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum FailoverPolicy {
    /// A follower that provably has every acknowledged write.
    #[default]
    NoLoss,
    /// The most advanced follower.
    AllowLoss,
    /// Nobody by itself.
    Manual,
}

/// A Redis to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Adopt {
    /// Secret with the key `address` (`host:port`) of the Redis to follow, and where it asks for them
    /// `username` and `password`.
    pub secret_ref: LocalRef,
    /// That Redis speaks TLS. Left out: it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<AdoptTls>,
}

/// What its certificate is checked with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdoptTls {
    /// Secret with the authority of its certificate under the key ca.crt, and where it asks for a
    /// certificate tls.crt and tls.key. A changed Secret is read at the next attempt to connect.
    pub secret_ref: LocalRef,
    /// The name its certificate must have, or its IP address. Left out: the host of `address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
}
