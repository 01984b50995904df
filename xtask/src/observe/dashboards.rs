//! The dashboards: one for the operator, one per system.

use super::panel::{Panel, dashboard};

/// A metric of what the variables choose: job, label with the name of the object, name of the metric.
macro_rules! selected {
    ($job:literal, $object:literal, $metric:literal) => {
        concat!(
            $metric,
            r#"{job=""#,
            $job,
            r#"", namespace=~"$namespace", "#,
            $object,
            r#"=~"$"#,
            $object,
            r#""}"#
        )
    };
}

/// One of the key-value system.
macro_rules! kv {
    ($metric:literal) => {
        selected!("orrery-kv", "kvcluster", $metric)
    };
    (rate $metric:literal) => {
        concat!("rate(", selected!("orrery-kv", "kvcluster", $metric), "[5m])")
    };
}

mod scheduler;

/// Relative path and content.
pub(crate) fn files() -> Vec<(String, String)> {
    let operator = dashboard("orrery-operator", "Orrery / Operator", &[], OPERATOR);
    let kv = of_system("kv", "kvcluster", "Key-value", KV);
    let scheduler = of_system("scheduler", "scheduler", "Scheduler", scheduler::PANELS);
    [("operator", operator), ("kv", kv), ("scheduler", scheduler)]
        .into_iter()
        .map(|(name, dashboard)| {
            (format!("charts/orrery/files/dashboards/{name}.json"), format!("{dashboard:#}\n"))
        })
        .collect()
}

/// The dashboard of a system, where people pick namespaces and objects. `label` has the object's name.
fn of_system(system: &str, label: &str, title: &str, panels: &[Panel]) -> serde_json::Value {
    let job = format!("orrery-{system}");
    let ready = format!("orrery_{system}_ready");
    let namespaces = format!(r#"label_values({ready}{{job="{job}"}}, namespace)"#);
    let objects =
        format!(r#"label_values({ready}{{job="{job}", namespace=~"$namespace"}}, {label})"#);
    let picks = [("namespace", &*namespaces), (label, &*objects)];
    dashboard(&job, &format!("Orrery / {title}"), &picks, panels)
}

const OPERATOR: &[Panel] = &[
    Panel {
        title: "Leader",
        unit: "none",
        what: "1 for the process that works; the sum must be 1.",
        queries: &[(r#"leader_election_master_status{job="orrery-operator"}"#, "{{pod}}")],
    },
    Panel {
        title: "Objects not ready",
        unit: "none",
        what: "Objects whose Ready condition is not True.",
        queries: &[(
            r#"sum by (kind) (orrery_objects{job="orrery-operator", condition="Ready", status!="True"})"#,
            "{{kind}}",
        )],
    },
    Panel {
        title: "Objects",
        unit: "none",
        what: "All objects, by kind.",
        queries: &[(
            r#"sum by (kind) (orrery_objects{job="orrery-operator", condition="Ready"})"#,
            "{{kind}}",
        )],
    },
    Panel {
        title: "Rounds",
        unit: "ops",
        what: "Rounds per second by result.",
        queries: &[(
            r#"sum by (controller, result) (rate(controller_runtime_reconcile_total{job="orrery-operator"}[5m]))"#,
            "{{controller}} {{result}}",
        )],
    },
    Panel {
        title: "Errors",
        unit: "ops",
        what: "Failed rounds per second by kind of error.",
        queries: &[(
            r#"sum by (controller, error) (rate(orrery_reconcile_errors_by_kind_total{job="orrery-operator"}[5m]))"#,
            "{{controller}} {{error}}",
        )],
    },
    Panel {
        title: "Length of a round",
        unit: "s",
        what: "Half of the rounds, and all but one in a hundred, are shorter.",
        queries: &[
            (
                r#"histogram_quantile(0.5, sum by (controller, le) (rate(controller_runtime_reconcile_time_seconds_bucket{job="orrery-operator"}[5m])))"#,
                "{{controller}} p50",
            ),
            (
                r#"histogram_quantile(0.99, sum by (controller, le) (rate(controller_runtime_reconcile_time_seconds_bucket{job="orrery-operator"}[5m])))"#,
                "{{controller}} p99",
            ),
        ],
    },
    Panel {
        title: "Queue",
        unit: "none",
        what: "Objects triggered and not yet started, and rounds running of those that may.",
        queries: &[
            (r#"sum by (name) (workqueue_depth{job="orrery-operator"})"#, "{{name}} waiting"),
            (
                r#"sum by (controller) (controller_runtime_active_workers{job="orrery-operator"})"#,
                "{{controller}} running",
            ),
            (
                r#"sum by (controller) (controller_runtime_max_concurrent_reconciles{job="orrery-operator"})"#,
                "{{controller}} at most",
            ),
        ],
    },
    Panel {
        title: "Triggers and retries",
        unit: "ops",
        what: "What calls for rounds.",
        queries: &[
            (
                r#"sum by (name) (rate(workqueue_adds_total{job="orrery-operator"}[5m]))"#,
                "{{name}} triggers",
            ),
            (
                r#"sum by (name) (rate(workqueue_retries_total{job="orrery-operator"}[5m]))"#,
                "{{name}} retries",
            ),
        ],
    },
    Panel {
        title: "Calls to the API server",
        unit: "reqps",
        what: "By method and code.",
        queries: &[(
            r#"sum by (method, code) (rate(rest_client_requests_total{job="orrery-operator"}[5m]))"#,
            "{{method}} {{code}}",
        )],
    },
    Panel {
        title: "Watches",
        unit: "none",
        what: "Deaf: nothing was heard lately. Stuck: it does not even ask any more.",
        queries: &[(
            r#"sum by (pod, state) (orrery_watches{job="orrery-operator"})"#,
            "{{pod}} {{state}}",
        )],
    },
];

const POD: &str = "{{namespace}}/{{pod}}";

const KV: &[Panel] = &[
    Panel {
        title: "Serving",
        unit: "none",
        what: "1 while clients are served, and while writes are accepted.",
        queries: &[
            (kv!("orrery_kv_ready"), "{{namespace}}/{{pod}} ready"),
            (kv!("orrery_kv_writable"), "{{namespace}}/{{pod}} writable"),
        ],
    },
    Panel {
        title: "Commands",
        unit: "ops",
        what: "Commands per second.",
        queries: &[(kv!(rate "orrery_kv_commands_total"), POD)],
    },
    Panel {
        title: "Errors and refusals",
        unit: "ops",
        what: "Replies that were errors, and connections that were refused.",
        queries: &[
            (kv!(rate "orrery_kv_error_replies_total"), "{{namespace}}/{{pod}} error replies"),
            (kv!(rate "orrery_kv_rejected_connections_total"), "{{namespace}}/{{pod}} refused"),
        ],
    },
    Panel {
        title: "Clients",
        unit: "none",
        what: "Connected clients.",
        queries: &[(kv!("orrery_kv_connected_clients"), POD)],
    },
    Panel {
        title: "Traffic",
        unit: "Bps",
        what: "Bytes received and sent.",
        queries: &[
            (kv!(rate "orrery_kv_input_bytes_total"), "{{namespace}}/{{pod}} in"),
            (kv!(rate "orrery_kv_output_bytes_total"), "{{namespace}}/{{pod}} out"),
        ],
    },
    Panel {
        title: "Hits",
        unit: "percentunit",
        what: "Share of reads that found their key.",
        queries: &[(
            concat!(
                kv!(rate "orrery_kv_keyspace_hits_total"),
                " / (",
                kv!(rate "orrery_kv_keyspace_hits_total"),
                " + ",
                kv!(rate "orrery_kv_keyspace_misses_total"),
                ")"
            ),
            POD,
        )],
    },
    Panel {
        title: "Memory",
        unit: "bytes",
        what: "Memory of keys, its limit, and memory of the whole process.",
        queries: &[
            (kv!("orrery_kv_used_memory_bytes"), "{{namespace}}/{{pod}} keys"),
            (kv!("orrery_kv_memory_limit_bytes"), "{{namespace}}/{{pod}} limit"),
            (kv!("orrery_kv_resident_memory_bytes"), "{{namespace}}/{{pod}} process"),
        ],
    },
    Panel {
        title: "Keys",
        unit: "none",
        what: "Keys in all databases.",
        queries: &[(kv!("orrery_kv_keys"), POD)],
    },
    Panel {
        title: "Keys that went by themselves",
        unit: "ops",
        what: "Expired after their deadline, evicted for memory.",
        queries: &[
            (kv!(rate "orrery_kv_expired_keys_total"), "{{namespace}}/{{pod}} expired"),
            (kv!(rate "orrery_kv_evicted_keys_total"), "{{namespace}}/{{pod}} evicted"),
        ],
    },
    Panel {
        title: "Journal",
        unit: "ops",
        what: "Records appended per second, and replies per second that waited for the disk.",
        queries: &[
            (
                concat!("deriv(", kv!("orrery_kv_journal_position"), "[5m])"),
                "{{namespace}}/{{pod}} records",
            ),
            (kv!(rate "orrery_kv_gated_replies_total"), "{{namespace}}/{{pod}} held replies"),
        ],
    },
    Panel {
        title: "Not on disk yet",
        unit: "none",
        what: "Records appended and not yet on disk, and records since the newest snapshot.",
        queries: &[
            (
                concat!(
                    kv!("orrery_kv_journal_position"),
                    " - ",
                    kv!("orrery_kv_journal_durable_position")
                ),
                "{{namespace}}/{{pod}} in flight",
            ),
            (
                concat!(
                    kv!("orrery_kv_journal_position"),
                    " - ",
                    kv!("orrery_kv_snapshot_position")
                ),
                "{{namespace}}/{{pod}} to replay",
            ),
        ],
    },
    Panel {
        title: "Followers",
        unit: "none",
        what: "Links of followers at the primary, those in sync, and records a follower is behind.",
        queries: &[
            (kv!("orrery_kv_followers"), "{{namespace}}/{{pod}} links"),
            (kv!("orrery_kv_followers_in_sync"), "{{namespace}}/{{pod}} in sync"),
            (kv!("orrery_kv_lag_records"), "{{namespace}}/{{pod}} behind"),
        ],
    },
    Panel {
        title: "Volume",
        unit: "percentunit",
        what: "Share of the data volume that is free.",
        queries: &[(
            concat!(
                kv!("orrery_kv_volume_available_bytes"),
                " / ",
                kv!("orrery_kv_volume_size_bytes")
            ),
            POD,
        )],
    },
    Panel {
        title: "Uptime",
        unit: "s",
        what: "Time since the process started, and the fencing epoch it writes under.",
        queries: &[
            (
                concat!("time() - ", kv!("orrery_kv_start_time_seconds")),
                "{{namespace}}/{{pod}} uptime",
            ),
            (kv!("orrery_kv_journal_epoch"), "{{namespace}}/{{pod}} epoch"),
        ],
    },
];
