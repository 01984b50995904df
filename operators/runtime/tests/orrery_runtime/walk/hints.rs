//! What the schema of a kind cannot say about its fields.

#[path = "hints/scheduler.rs"]
pub(super) mod scheduler;

use orrery_api::not_yet;
use serde_json::{Value, json};

/// Hints for one kind.
#[derive(Debug, Clone)]
pub(super) struct Hints {
    pub(super) kind: &'static str,
    /// The smallest spec that works.
    pub(super) base: fn() -> Value,
    /// Values to try instead of those from the schema.
    good: fn(&str) -> Option<Vec<Value>>,
    /// Values that the schema takes and the operator must refuse with a reason.
    pub(super) refused: fn() -> Vec<(&'static str, Value)>,
    /// Fields whose value shows nowhere by itself, and why.
    unseen: &'static [(&'static str, &'static str)],
    /// Fields after which the object is not what it was, on purpose.
    remembered: &'static [&'static str],
    /// Fields that only work with others, which random walks find.
    pub(super) dependent: &'static [&'static str],
    /// Fields of the status that show what became of the spec.
    pub(super) tells: &'static [&'static str],
    /// The KVCluster it is about, which is made before it.
    pub(super) about: Option<fn() -> Value>,
    /// Its spec never changes: each value is tried on a new object.
    pub(super) is_fixed: bool,
}

/// Of a kind that needs none.
pub(super) const NONE: Hints = Hints {
    kind: "",
    base: || json!({}),
    good: |_| None,
    refused: Vec::new,
    unseen: &[],
    remembered: &[],
    dependent: &[],
    tells: &[],
    about: None,
    is_fixed: false,
};

impl Hints {
    pub(super) fn good(&self, field: &str) -> Option<Vec<Value>> {
        (self.good)(field)
    }

    /// Whether a new value must be seen in the children or in what the processes were told.
    pub(super) fn must_be_seen(&self, field: &str) -> bool {
        !self.unseen.iter().any(|(name, _)| *name == field)
    }

    /// Whether an object that had the field is another one for good.
    pub(super) fn is_remembered(&self, field: &str) -> bool {
        self.remembered.contains(&field)
    }

    /// Whether some value of the field must be carried out when set alone.
    pub(super) fn must_work(&self, field: &str) -> bool {
        let later = not_yet::NOT_YET.iter().any(|entry| {
            entry.kind == self.kind && entry.values == "any" && field.starts_with(entry.field)
        });
        !later && !self.dependent.contains(&field)
    }
}

/// Name of what a spec may point to: a Secret that has every key, a claim, a KVCluster, a catalog.
pub(super) const BESIDE: &str = "walk";
/// Name of a ConfigMap that has rows.
pub(super) const ROWS: &str = "rows";

pub(super) const KVCLUSTER: Hints = Hints {
    kind: "KVCluster",
    base: || json!({}),
    good: cluster,
    refused: || {
        vec![
            ("spec.memcached.mode", json!("On")),
            ("spec.defaultClass", json!("Config")),
            ("spec.deletionPolicy", json!("Snapshot")),
            ("spec.failover.primary", json!("nobody")),
            ("spec.resources.limits", json!({ "memory": "nonsense" })),
            (
                "spec.maintenanceWindows",
                json!([{ "name": "never", "schedule": "99 99 * * *", "timeZone": "UTC" }]),
            ),
            (
                "spec.maintenanceWindows",
                json!([{ "name": "nowhere", "schedule": "0 3 * * *", "timeZone": "Nowhere/At" }]),
            ),
            ("spec.podTemplate", json!({ "spec": { "hostNetwork": true } })),
            ("spec.podTemplate", json!({ "spec": { "containers": "none" } })),
            ("spec.metadata.labels", json!({ "app.kubernetes.io/name": "other" })),
            ("spec.release", json!({ "catalog": "nowhere", "version": "1.0.0" })),
            ("spec.release", json!({ "catalog": BESIDE, "version": "0.8.0" })),
            ("spec.release", json!({ "catalog": BESIDE, "version": "9.0.0" })),
            ("spec.resp.auth", json!({ "secretRef": { "name": "nowhere" } })),
            ("spec.resp.users", json!([{ "name": "default", "rules": ["+@nosuch"] }])),
        ]
    },
    unseen: &[
        ("spec.resp.users", "they are in a Secret, whose content is compared nowhere"),
        ("spec.rollout.strategy", "it is about the next change"),
        ("spec.rollout.released", "it is about a gated change"),
        ("spec.rollout.skipHealthChecks", "it is about pods that do not serve"),
        ("spec.maintenanceWindows", "they are about the next release"),
        ("spec.memcached.port", "it counts once spec.memcached.mode is On"),
        ("spec.http.port", "it counts once spec.http.mode is On"),
        ("spec.failover.policy", "it is about the loss of a primary"),
        ("spec.failover.primary", "without followers there is one to be it"),
        ("spec.synchronousFollowers", "0 is all there may be without followers"),
    ],
    // Who had followers keeps knowing which of its pods has the data.
    remembered: &["spec.followers"],
    // A recovery is for new objects, which the tests of backups make.
    // A recovery is for new objects, which the tests of backups make; the tests of groups move
    // volumes.
    dependent: &[
        "spec.failover.primary",
        "spec.archive.intervalSeconds",
        "spec.archive.retentionSeconds",
        "spec.bootstrap.recovery.archive",
        "spec.bootstrap.recovery.backup",
        "spec.bootstrap.recovery.targetTime",
        "spec.journal.ref",
        "spec.storage.storageClassName",
    ],
    ..NONE
};

fn cluster(field: &str) -> Option<Vec<Value>> {
    Some(match field {
        // No older than what the processes say they are, and no newer than the operator.
        "spec.release" => vec![json!({ "catalog": BESIDE, "version": "1.0.0" })],
        "spec.followers" => vec![json!(1), json!(2)],
        "spec.synchronousFollowers" => vec![json!(0), json!(1)],
        "spec.failover.primary" => vec![json!("a-kv-0"), json!("a-kv-1")],
        "spec.http.port" => vec![json!(7001), json!(8081)],
        "spec.resp.port" | "spec.memcached.port" => vec![json!(7000), json!(6379)],
        "spec.resp.databases" => vec![json!(16), json!(32)],
        "spec.resp.users" => vec![
            json!([{ "name": "walk", "passwordSecret": { "name": BESIDE }, "rules": ["+@read"] }]),
            json!([{ "name": "default", "rules": ["on", "+@all", "allkeys"] }]),
        ],
        "spec.storage.size" => vec![json!("20Gi"), json!("30Gi")],
        "spec.storage.storageClassName" => vec![json!("standard")],
        "spec.resources.limits" => vec![json!({ "memory": "2Gi" }), json!({ "cpu": "1" })],
        "spec.resources.requests" => vec![json!({ "cpu": "10m" }), json!({ "memory": "64Mi" })],
        "spec.metadata.labels" => vec![json!({ "walk": "a" }), json!({ "walk": "b" })],
        "spec.maintenanceWindows" => vec![
            json!([{ "name": "night", "schedule": "0 3 * * *", "timeZone": "Europe/Berlin" }]),
            json!([]),
        ],
        "spec.podTemplate" => vec![
            json!({ "spec": { "priorityClassName": "system-cluster-critical" } }),
            json!({ "metadata": { "annotations": { "walk": "a" } } }),
            json!({ "spec": { "tolerations": [{ "key": "walk", "operator": "Exists" }] } }),
        ],
        // A gated change waits until it is released: random walks give both values.
        "spec.rollout.released" => vec![json!("walk")],
        "spec.rollout.skipHealthChecks" => vec![json!(["a-kv-0"]), json!(["a-kv-1", "other"])],
        "spec.archive.folder" => vec![json!({ "claimName": BESIDE })],
        _ => return None,
    })
}

pub(super) const KVNAMESPACE: Hints = Hints {
    kind: "KVNamespace",
    base: || json!({ "match": { "prefix": "walk:" } }),
    good: |field| {
        Some(match field {
            "spec.match.prefix" => vec![json!("a:"), json!("b:")],
            _ => return None,
        })
    },
    refused: || vec![("spec.class", json!("Config"))],
    unseen: &[],
    remembered: &[],
    // One way to match at a time; eviction is for one class; a reference is never changed.
    dependent: &[
        "spec.match.database",
        "spec.match.user",
        "spec.eviction.policy",
        "spec.clusterRef",
    ],
    ..NONE
};

fn archived() -> Value {
    json!({ "archive": { "folder": { "claimName": BESIDE } } })
}

pub(super) const BACKUP: Hints = Hints {
    kind: "Backup",
    base: || json!({ "cluster": { "name": BESIDE } }),
    good: |field| (field == "spec.cluster").then(|| vec![json!({ "name": BESIDE })]),
    refused: || vec![("spec.cluster", json!({ "name": "nowhere" }))],
    unseen: &[("spec.deadlineSeconds", "it is about a Backup that is not taken in time")],
    // Of one thing at a time.
    dependent: &["spec.scheduler"],
    about: Some(archived),
    is_fixed: true,
    ..NONE
};

pub(super) const BACKUPSCHEDULE: Hints = Hints {
    kind: "BackupSchedule",
    // A time that does not come while the test runs.
    base: || json!({ "cluster": { "name": BESIDE }, "schedule": "0 4 29 2 *" }),
    good: |field| {
        Some(match field {
            "spec.cluster" => vec![json!({ "name": BESIDE }), json!({ "name": "other" })],
            "spec.schedule" => {
                vec![json!("30 5 29 2 *"), json!("H 4 29 2 *"), json!("0 4 29 2 1-5")]
            }
            "spec.timeZone" => vec![json!("Asia/Tokyo"), json!("America/New_York")],
            _ => return None,
        })
    },
    refused: || {
        vec![
            ("spec.schedule", json!("99 99 * * *")),
            ("spec.schedule", json!("every day at noon sharp")),
            ("spec.timeZone", json!("Nowhere/At")),
        ]
    },
    unseen: &[
        ("spec.cluster", "it is about the Backups that will be made"),
        ("spec.retainLast", "it is about Backups that are there"),
    ],
    dependent: &["spec.scheduler"],
    tells: &["nextScheduleTime"],
    about: Some(archived),
    ..NONE
};

/// Hints of all kinds that are walked.
pub(super) const ALL: [Hints; 6] =
    [KVCLUSTER, KVNAMESPACE, scheduler::SCHEDULER, scheduler::SCHEDULE, BACKUP, BACKUPSCHEDULE];
