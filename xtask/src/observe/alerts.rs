//! The alerts: one per failure that somebody must know about, each with a page in `docs/runbooks`.
//!
//! Must not: alert on a cause that hurts nobody. Every rule is tested in `e2e/tests`, firing and
//! silent, and every expression is written for the labels that the chart's PodMonitors set.

use std::fmt::Write as _;

/// Replaced by the chart with `monitoring.rules.runbooks`.
const RUNBOOKS: &str = "RUNBOOKS";

struct Alert {
    name: &'static str,
    /// critical (users are hurt now), warning (they soon will be) or info.
    severity: &'static str,
    /// How long the expression must hold.
    lasting: &'static str,
    summary: &'static str,
    expr: &'static str,
}

const OPERATOR: &[Alert] = &[
    Alert {
        name: "OrreryOperatorNoLeader",
        severity: "critical",
        lasting: "2m",
        summary: "No Orrery operator leads: nothing is reconciled",
        expr: r#"(sum(leader_election_master_status{job="orrery-operator"}) or vector(0)) < 1"#,
    },
    Alert {
        name: "OrreryReconcileErrors",
        severity: "warning",
        lasting: "15m",
        summary: "More than half of the rounds of {{ $labels.controller }} fail",
        expr: r#"sum by (controller) (rate(controller_runtime_reconcile_errors_total{job="orrery-operator"}[10m])) > 0.5 * sum by (controller) (rate(controller_runtime_reconcile_total{job="orrery-operator"}[10m]))"#,
    },
    Alert {
        name: "OrreryQueueStuck",
        severity: "warning",
        lasting: "5m",
        summary: "Objects of {{ $labels.name }} wait, and no round was made for ten minutes",
        expr: r#"(min by (namespace, pod, name) (min_over_time(workqueue_depth{job="orrery-operator"}[10m])) > 0) unless on (namespace, pod, name) label_replace(sum by (namespace, pod, controller) (increase(controller_runtime_reconcile_total{job="orrery-operator"}[10m])) > 0, "name", "$1", "controller", "(.*)")"#,
    },
    Alert {
        name: "OrreryWatchStale",
        severity: "warning",
        lasting: "5m",
        summary: "{{ $value }} watches of {{ $labels.pod }} hear nothing from the API server",
        expr: r#"sum by (namespace, pod) (orrery_watches{job="orrery-operator", state="deaf"}) > 0"#,
    },
    Alert {
        name: "OrreryApiServerErrors",
        severity: "warning",
        lasting: "15m",
        summary: "More than a tenth of the operator's calls to the API server fail",
        expr: r#"sum(rate(rest_client_requests_total{job="orrery-operator", code=~"5..|429|<error>"}[5m])) > 0.1 * sum(rate(rest_client_requests_total{job="orrery-operator"}[5m]))"#,
    },
    Alert {
        name: "OrreryObjectStalled",
        severity: "warning",
        lasting: "5m",
        summary: "{{ $value }} objects of kind {{ $labels.kind }} cannot be carried out as they are",
        expr: r#"sum by (kind) (orrery_objects{job="orrery-operator", condition="Stalled", status="True"}) > 0"#,
    },
    Alert {
        name: "OrreryObjectNotReady",
        severity: "warning",
        lasting: "15m",
        summary: "{{ $value }} objects of kind {{ $labels.kind }} are not ready",
        expr: r#"sum by (kind) (orrery_objects{job="orrery-operator", condition="Ready", status!="True"}) > 0"#,
    },
    Alert {
        name: "OrreryObjectDegraded",
        severity: "warning",
        lasting: "10m",
        summary: "{{ $value }} objects of kind {{ $labels.kind }} serve with less than was asked for",
        expr: r#"sum by (kind) (orrery_objects{job="orrery-operator", condition="Degraded", status="True"}) > 0"#,
    },
];

const KV: &[Alert] = &[
    Alert {
        name: "OrreryKvDown",
        severity: "critical",
        lasting: "2m",
        summary: "No pod of {{ $labels.namespace }}/{{ $labels.kvcluster }} serves",
        expr: r#"max by (namespace, kvcluster) (orrery_kv_ready{job="orrery-kv"}) == 0 or max by (namespace, kvcluster) (up{job="orrery-kv"}) == 0"#,
    },
    Alert {
        name: "OrreryKvPodDown",
        severity: "warning",
        lasting: "10m",
        summary: "Pod {{ $labels.namespace }}/{{ $labels.pod }} does not answer",
        expr: r#"up{job="orrery-kv"} == 0"#,
    },
    Alert {
        name: "OrreryKvNotWritable",
        severity: "critical",
        lasting: "2m",
        summary: "No pod of {{ $labels.namespace }}/{{ $labels.kvcluster }} accepts writes{{ with $labels.shard }} to shard {{ . }}{{ end }}",
        expr: r#"max by (namespace, kvcluster, shard) (orrery_kv_writable{job="orrery-kv"}) == 0"#,
    },
    Alert {
        name: "OrreryKvFollowersLagging",
        severity: "warning",
        lasting: "10m",
        summary: "Followers of {{ $labels.namespace }}/{{ $labels.pod }} do not keep up",
        expr: r#"orrery_kv_followers_in_sync{job="orrery-kv"} < orrery_kv_followers{job="orrery-kv"}"#,
    },
    Alert {
        name: "OrreryKvVolumeFull",
        severity: "critical",
        lasting: "5m",
        summary: "The volume of {{ $labels.namespace }}/{{ $labels.pod }} has less than 5 % left",
        expr: r#"orrery_kv_volume_available_bytes{job="orrery-kv"} < 0.05 * orrery_kv_volume_size_bytes{job="orrery-kv"}"#,
    },
    Alert {
        name: "OrreryKvJournalFullSoon",
        severity: "warning",
        lasting: "15m",
        summary: "The volume of {{ $labels.namespace }}/{{ $labels.pod }} will be full within four hours",
        expr: r#"predict_linear(orrery_kv_volume_available_bytes{job="orrery-kv"}[1h], 4 * 3600) < 0 and orrery_kv_volume_available_bytes{job="orrery-kv"} < 0.4 * orrery_kv_volume_size_bytes{job="orrery-kv"}"#,
    },
    Alert {
        name: "OrreryKvMemoryNearLimit",
        severity: "warning",
        lasting: "10m",
        summary: "Keys of {{ $labels.namespace }}/{{ $labels.pod }} take more than nine tenths of their memory",
        expr: r#"orrery_kv_used_memory_bytes{job="orrery-kv"} > 0.9 * (orrery_kv_memory_limit_bytes{job="orrery-kv"} > 0)"#,
    },
    Alert {
        name: "OrreryKvEvictions",
        severity: "info",
        lasting: "15m",
        summary: "{{ $labels.namespace }}/{{ $labels.pod }} evicts keys all the time",
        expr: r#"rate(orrery_kv_evicted_keys_total{job="orrery-kv"}[5m]) > 0"#,
    },
    Alert {
        name: "OrreryKvRejectedConnections",
        severity: "warning",
        lasting: "5m",
        summary: "{{ $labels.namespace }}/{{ $labels.pod }} refuses connections",
        expr: r#"increase(orrery_kv_rejected_connections_total{job="orrery-kv"}[5m]) > 0"#,
    },
    Alert {
        name: "OrreryKvRestarting",
        severity: "warning",
        lasting: "0m",
        summary: "{{ $labels.namespace }}/{{ $labels.pod }} started {{ $value }} times within half an hour",
        expr: r#"max by (namespace, pod) (changes(orrery_kv_start_time_seconds{job="orrery-kv"}[30m])) >= 3"#,
    },
];

const SCHEDULER: &[Alert] = &[
    Alert {
        name: "OrrerySchedulerDown",
        severity: "critical",
        lasting: "2m",
        summary: "No pod of {{ $labels.namespace }}/{{ $labels.scheduler }} launches jobs",
        expr: r#"max by (namespace, scheduler) (orrery_scheduler_ready{job="orrery-scheduler"}) == 0 or max by (namespace, scheduler) (up{job="orrery-scheduler"}) == 0"#,
    },
    Alert {
        name: "OrrerySchedulerLate",
        severity: "warning",
        lasting: "5m",
        summary: "More than one in a hundred launches of {{ $labels.namespace }}/{{ $labels.scheduler }} is more than a second late",
        expr: r#"sum by (namespace, scheduler) (rate(orrery_scheduler_launch_lateness_seconds_bucket{job="orrery-scheduler", le="1.0"}[5m])) < 0.99 * sum by (namespace, scheduler) (rate(orrery_scheduler_launch_lateness_seconds_count{job="orrery-scheduler"}[5m]))"#,
    },
    Alert {
        name: "OrrerySchedulerJobsWaiting",
        severity: "warning",
        lasting: "5m",
        summary: "{{ $value }} jobs of {{ $labels.namespace }}/{{ $labels.pod }} are due and wait for room at their targets",
        expr: r#"orrery_scheduler_jobs_waiting{job="orrery-scheduler"} > 0"#,
    },
    Alert {
        name: "OrrerySchedulerRunsOverdue",
        severity: "warning",
        lasting: "0m",
        summary: "{{ $value }} runs of {{ $labels.namespace }}/{{ $labels.scheduler }} were not over within finishWithinSeconds in the last ten minutes",
        expr: r#"sum by (namespace, scheduler) (increase(orrery_scheduler_runs_overdue_total{job="orrery-scheduler"}[10m])) > 0"#,
    },
    Alert {
        name: "OrrerySchedulerRunsFailing",
        severity: "warning",
        lasting: "10m",
        summary: "More than a tenth of the runs of {{ $labels.namespace }}/{{ $labels.scheduler }} fail",
        expr: r#"sum by (namespace, scheduler) (rate(orrery_scheduler_runs_ended_total{job="orrery-scheduler", result=~"Failed|Refused|TimedOut"}[10m])) > 0.1 * sum by (namespace, scheduler) (rate(orrery_scheduler_runs_ended_total{job="orrery-scheduler"}[10m]))"#,
    },
    Alert {
        name: "OrrerySchedulerTargetThrottled",
        severity: "info",
        lasting: "15m",
        summary: "Calls of {{ $labels.namespace }}/{{ $labels.pod }} to {{ $labels.target }} wait for its rate",
        expr: r#"min_over_time(orrery_scheduler_target_throttled{job="orrery-scheduler"}[10m]) > 0"#,
    },
    Alert {
        name: "OrrerySchedulerVolumeFull",
        severity: "critical",
        lasting: "5m",
        summary: "The volume of {{ $labels.namespace }}/{{ $labels.pod }} has less than 5 % left: nothing is launched once it is full",
        expr: r#"orrery_scheduler_volume_available_bytes{job="orrery-scheduler"} < 0.05 * orrery_scheduler_volume_size_bytes{job="orrery-scheduler"}"#,
    },
    Alert {
        name: "OrrerySchedulerRestarting",
        severity: "warning",
        lasting: "0m",
        summary: "{{ $labels.namespace }}/{{ $labels.pod }} started {{ $value }} times within half an hour",
        expr: r#"max by (namespace, pod) (changes(orrery_scheduler_start_time_seconds{job="orrery-scheduler"}[30m])) >= 3"#,
    },
];

const GROUPS: [(&str, &[Alert]); 3] =
    [("orrery-operator", OPERATOR), ("orrery-kv", KV), ("orrery-scheduler", SCHEDULER)];

/// The `spec` of the PrometheusRule, which is also a rule file of Prometheus. Strings are written
/// as JSON, which is YAML too.
pub(crate) fn rules() -> String {
    let mut text =
        "# Made by `make generate` from xtask/src/observe/alerts.rs.\ngroups:\n".to_owned();
    for (group, alerts) in GROUPS {
        let _ = write!(text, "  - name: {group}\n    rules:\n");
        for alert in alerts {
            let Alert { name, severity, lasting, summary, expr } = alert;
            let (summary, expr) = (quoted(summary), quoted(expr));
            let _ = write!(
                text,
                "      - alert: {name}\n        expr: {expr}\n        for: {lasting}\n        \
                 labels:\n          severity: {severity}\n        annotations:\n          \
                 summary: {summary}\n          runbook_url: {RUNBOOKS}/{name}.md\n"
            );
        }
    }
    text
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The list of alerts with their pages.
pub(crate) fn index() -> String {
    let mut page = "<!-- Made by `make generate`. -->\n\n# Runbooks\n\nEach alert of the chart, and the page that says what to do.\n\n\
        | alert | severity | after | it says |\n|---|---|---|---|\n"
        .to_owned();
    for alert in GROUPS.iter().flat_map(|(_, alerts)| *alerts) {
        let Alert { name, severity, lasting, summary, .. } = alert;
        let summary =
            summary.replace("{{ $labels.", "‹").replace("{{ $value", "‹n").replace(" }}", "›");
        let _ = writeln!(page, "| [{name}]({name}.md) | {severity} | {lasting} | {summary} |");
    }
    page
}
