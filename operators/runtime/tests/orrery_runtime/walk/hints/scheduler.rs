//! What the schemas of the scheduler cannot say about their fields.

use serde_json::{Value, json};

use super::{BESIDE, Hints, NONE, ROWS, cluster};

pub(in super::super) const SCHEDULER: Hints = Hints {
    kind: "Scheduler",
    base: || json!({}),
    good: engine,
    refused: || {
        vec![
            ("spec.replicas", json!(2)),
            ("spec.deletionPolicy", json!("Snapshot")),
            (
                "spec.targets",
                json!([{ "name": "a", "host": "a", "authRef": { "name": "nowhere" } }]),
            ),
            ("spec.podTemplate", json!({ "spec": { "hostNetwork": true } })),
            ("spec.metadata.labels", json!({ "app.kubernetes.io/name": "other" })),
        ]
    },
    unseen: &[
        ("spec.adoptCronJobs.mode", "it is about CronJobs"),
        ("spec.rollout.strategy", "it is about the next change"),
        ("spec.rollout.released", "it is about a gated change"),
        ("spec.rollout.skipHealthChecks", "it is about pods that do not serve"),
        ("spec.maintenanceWindows", "they are about the next release"),
    ],
    // What is on the volume stays as it is, and a recovery is for new objects.
    dependent: &[
        "spec.archive.intervalSeconds",
        "spec.archive.retentionSeconds",
        "spec.bootstrap.recovery.archive",
        "spec.bootstrap.recovery.backup",
        "spec.bootstrap.recovery.targetTime",
        "spec.journal.ref",
        "spec.storage.storageClassName",
        // A target that is there.
        "spec.overdue.target",
        "spec.overdue.path",
    ],
    ..NONE
};

fn engine(field: &str) -> Option<Vec<Value>> {
    Some(match field {
        "spec.partitions" => vec![json!(16)],
        // More of them need a journal elsewhere.
        "spec.replicas" => vec![json!(1)],
        "spec.targets" => vec![
            json!([{ "name": "a", "host": "a.example" }]),
            json!([{ "name": "a", "host": "a", "tls": "On", "authRef": { "name": BESIDE },
                     "caSecretRef": { "name": BESIDE }, "maxInFlight": 7 }]),
        ],
        "spec.pools" => vec![
            json!([{ "name": "a", "image": "a.example/b:1", "size": 2 }]),
            json!([{ "name": "b", "image": "b", "size": 1, "runsPerPod": 3, "env": [{ "name": "A" }] }]),
        ],
        _ => return cluster(field),
    })
}

pub(in super::super) const SCHEDULE: Hints = Hints {
    kind: "Schedule",
    base: || {
        json!({
            "when": { "cron": "0 4 29 2 *" },
            "action": { "http": { "url": "http://walk.example/" } },
        })
    },
    good: |field| {
        Some(match field {
            "spec.when.cron" => vec![json!("30 5 29 2 *"), json!("@yearly")],
            "spec.when.timeZone" => vec![json!("Asia/Tokyo"), json!("America/New_York")],
            "spec.start" | "spec.end" => {
                vec![json!("2030-01-01T00:00:00Z"), json!("2031-01-01T00:00:00.5+01:00")]
            }
            "spec.calendars.exclude" => vec![json!([{ "name": BESIDE }]), json!([])],
            "spec.template.dataRef" => vec![json!({ "name": ROWS })],
            "spec.action.http.url" => vec![json!("https://a.example"), json!("http://b:81/c?d=e")],
            "spec.action.http.statusPath" => vec![json!("/runs/{key}"), json!("/b")],
            _ => return None,
        })
    },
    refused: || {
        vec![
            ("spec.calendars.exclude", json!([{ "name": "nowhere" }])),
            ("spec.template", json!({ "dataRef": { "name": BESIDE } })),
        ]
    },
    // One rule and one address at a time; a reference is never changed.
    dependent: &[
        "spec.schedulerRef",
        "spec.when.every",
        "spec.when.rrule",
        "spec.when.at",
        "spec.when.calendar",
        "spec.when.after",
        "spec.when.anchor",
        "spec.action.http.target",
        "spec.action.http.path",
        "spec.action.grpc.target",
        "spec.action.grpc.method",
        "spec.action.grpc.body",
    ],
    ..NONE
};
