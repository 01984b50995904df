//! Fields that are part of the API and whose work is not done yet.
//!
//! Each is refused with reason `NotYetSupported`, never ignored. The refusals themselves live with
//! the systems; a test there holds them against this table, and the documentation is made from it.

/// A field, or some of its values, that is refused for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotYet {
    /// Kind the field belongs to.
    pub kind: &'static str,
    /// Path of the field, such as `spec.journal.backend`.
    pub field: &'static str,
    /// Which values are refused.
    pub values: &'static str,
    /// What to do until then.
    pub instead: &'static str,
}

const fn cluster(field: &'static str, values: &'static str, instead: &'static str) -> NotYet {
    NotYet { kind: "KVCluster", field, values, instead }
}

const fn namespace(field: &'static str, values: &'static str, instead: &'static str) -> NotYet {
    NotYet { kind: "KVNamespace", field, values, instead }
}

const fn scheduler(field: &'static str, values: &'static str, instead: &'static str) -> NotYet {
    NotYet { kind: "Scheduler", field, values, instead }
}

const fn schedule(field: &'static str, values: &'static str, instead: &'static str) -> NotYet {
    NotYet { kind: "Schedule", field, values, instead }
}

/// All of them, by kind and in the order of the fields.
pub const NOT_YET: &[NotYet] = &[
    cluster("spec.defaultClass", "Config, Flag", "use Store, which is as durable"),
    cluster(
        "spec.resp.clusterMode",
        "\"Off\" together with more than one shard",
        "use Slots, with clients that speak Redis Cluster",
    ),
    cluster("spec.memcached.mode", "On", "use the Redis protocol"),
    cluster("spec.http.mode", "On together with more than one shard", "use one shard"),
    cluster(
        "spec.failover.primary",
        "any together with more than one shard",
        "leave it out: primaries are spread over the pods",
    ),
    cluster(
        "spec.adoptFrom",
        "together with followers, more than one shard, or a journal that is not Local",
        "take over without followers, with one shard and a Local journal, then add followers",
    ),
    cluster(
        "spec.archive",
        "together with more than one shard or a journal that is not Local",
        "back up the engine that has the journal",
    ),
    cluster(
        "spec.bootstrap",
        "together with more than one shard or a journal that is not Local",
        "use one shard and a Local journal",
    ),
    cluster(
        "spec.synchronousFollowers",
        "together with a journal that is not Local",
        "use 0: the engine that has the journal has every acknowledged write",
    ),
    namespace("spec.match.user", "any", "match by prefix or database"),
    namespace("spec.class", "Config, Flag", "use Store, which is as durable"),
    namespace("spec.revisions", "any", "keep versions under keys of their own"),
    namespace("spec.entries", "any", "write the keys with a client"),
    namespace("spec.eviction.policy", "WTinyLfu", "use S3Fifo"),
    namespace(
        "spec.quota.connections",
        "any",
        "limit all clients by resp.maxClients of the KVCluster",
    ),
    scheduler(
        "spec.archive",
        "together with a journal that is not Local",
        "back up the engine that has the journal",
    ),
    scheduler("spec.bootstrap", "together with a journal that is not Local", "use a Local journal"),
    schedule("spec.action.taskQueue", "any", "use http"),
    schedule("spec.action.workflow", "any", "use http"),
    schedule(
        "spec.template",
        "together with action.kubernetesJob",
        "use http, grpc or pooledPod, or an object for each Job",
    ),
];

/// The entry of a field, if it has one.
pub fn of(kind: &str, field: &str) -> Option<&'static NotYet> {
    NOT_YET.iter().find(|entry| entry.kind == kind && entry.field == field)
}
