//! What happens to a cluster, in series of samples a minute apart, and which alerts are to fire.

use std::fmt::Write as _;

struct Scenario {
    name: &'static str,
    /// Series that replace those of the healthy cluster or are added to them.
    series: &'static [(&'static str, &'static str)],
    /// Minutes after which is looked.
    minutes: u32,
    firing: &'static [&'static str],
}

/// A cluster where all is well. `0+60x90` begins at 0 and grows by 60 each minute.
const HEALTHY: &[(&str, &str)] = &[
    (r#"leader_election_master_status{job="orrery-operator", pod="o-1", name="orrery"}"#, "1x90"),
    (r#"leader_election_master_status{job="orrery-operator", pod="o-2", name="orrery"}"#, "0x90"),
    (
        r#"controller_runtime_reconcile_total{job="orrery-operator", namespace="n", pod="o-1", controller="kvcluster", result="success"}"#,
        "0+60x90",
    ),
    (
        r#"controller_runtime_reconcile_errors_total{job="orrery-operator", namespace="n", pod="o-1", controller="kvcluster"}"#,
        "0x90",
    ),
    (
        r#"workqueue_depth{job="orrery-operator", namespace="n", pod="o-1", name="kvcluster"}"#,
        "3x90",
    ),
    (r#"orrery_watches{job="orrery-operator", namespace="n", pod="o-1", state="deaf"}"#, "0x90"),
    (r#"rest_client_requests_total{job="orrery-operator", method="GET", code="200"}"#, "0+600x90"),
    (
        r#"orrery_objects{job="orrery-operator", kind="KVCluster", condition="Ready", status="True"}"#,
        "5x90",
    ),
    (r#"up{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#, "1x90"),
    (r#"up{job="orrery-kv", namespace="shop", pod="a-kv-1", kvcluster="a"}"#, "1x90"),
    (r#"orrery_kv_ready{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#, "1x90"),
    (r#"orrery_kv_ready{job="orrery-kv", namespace="shop", pod="a-kv-1", kvcluster="a"}"#, "1x90"),
    (
        r#"orrery_kv_writable{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#,
        "1x90",
    ),
    (
        r#"orrery_kv_writable{job="orrery-kv", namespace="shop", pod="a-kv-1", kvcluster="a"}"#,
        "0x90",
    ),
    (
        r#"orrery_kv_volume_size_bytes{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#,
        "1000000x90",
    ),
    (
        r#"orrery_kv_volume_available_bytes{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#,
        "500000x90",
    ),
    (
        r#"orrery_kv_used_memory_bytes{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#,
        "95x90",
    ),
    (
        r#"orrery_kv_memory_limit_bytes{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#,
        "0x90",
    ),
    (
        r#"orrery_kv_evicted_keys_total{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#,
        "7x90",
    ),
    (
        r#"orrery_kv_rejected_connections_total{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#,
        "7x90",
    ),
    (
        r#"orrery_kv_start_time_seconds{job="orrery-kv", namespace="shop", pod="a-kv-0", kvcluster="a"}"#,
        "100x40 200x50",
    ),
    (r#"up{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d"}"#, "1x90"),
    (
        r#"orrery_scheduler_ready{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d"}"#,
        "1x90",
    ),
    (
        r#"orrery_scheduler_launch_lateness_seconds_bucket{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d", le="1.0"}"#,
        "0+600x90",
    ),
    (
        r#"orrery_scheduler_launch_lateness_seconds_count{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d"}"#,
        "0+600x90",
    ),
    (
        r#"orrery_scheduler_jobs_waiting{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d"}"#,
        "0x90",
    ),
    (
        r#"orrery_scheduler_runs_overdue_total{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d"}"#,
        "3x90",
    ),
    (
        r#"orrery_scheduler_runs_ended_total{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d", result="Succeeded"}"#,
        "0+600x90",
    ),
    (
        r#"orrery_scheduler_runs_ended_total{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d", result="Failed"}"#,
        "0+6x90",
    ),
    (
        r#"orrery_scheduler_target_throttled{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d", target="billing"}"#,
        "0x90",
    ),
    (
        r#"orrery_scheduler_volume_size_bytes{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d"}"#,
        "1000000x90",
    ),
    (
        r#"orrery_scheduler_volume_available_bytes{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d"}"#,
        "500000x90",
    ),
    (
        r#"orrery_scheduler_start_time_seconds{job="orrery-scheduler", namespace="shop", pod="d-scheduler-0", scheduler="d"}"#,
        "100x40 200x50",
    ),
];

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "all is well, one restart included", series: &[], minutes: 80, firing: &[] },
    Scenario {
        name: "the only leader is gone",
        series: &[(HEALTHY[0].0, "1x10 stale")],
        minutes: 14,
        firing: &["OrreryOperatorNoLeader"],
    },
    Scenario {
        name: "another operator of the cluster leads, ours does not",
        series: &[
            (HEALTHY[0].0, "0x90"),
            (r#"leader_election_master_status{job="cert-manager", name="x"}"#, "1x90"),
        ],
        minutes: 14,
        firing: &["OrreryOperatorNoLeader"],
    },
    Scenario {
        name: "rounds fail, and so do calls",
        series: &[
            (HEALTHY[3].0, "0+40x90"),
            (
                r#"rest_client_requests_total{job="orrery-operator", method="PATCH", code="503"}"#,
                "0+100x90",
            ),
        ],
        minutes: 40,
        firing: &["OrreryApiServerErrors", "OrreryReconcileErrors"],
    },
    Scenario {
        name: "objects wait and no round is made",
        series: &[(HEALTHY[2].0, "60x90")],
        minutes: 40,
        firing: &["OrreryQueueStuck"],
    },
    Scenario {
        name: "a watch hears nothing",
        series: &[(HEALTHY[5].0, "2x90")],
        minutes: 10,
        firing: &["OrreryWatchStale"],
    },
    Scenario {
        name: "objects that cannot be, are not ready, and serve with less",
        series: &[
            (
                r#"orrery_objects{job="orrery-operator", kind="KVCluster", condition="Stalled", status="True"}"#,
                "1x90",
            ),
            (
                r#"orrery_objects{job="orrery-operator", kind="KVCluster", condition="Ready", status="False"}"#,
                "1x90",
            ),
            (
                r#"orrery_objects{job="orrery-operator", kind="KVCluster", condition="Degraded", status="True"}"#,
                "1x90",
            ),
        ],
        minutes: 30,
        firing: &["OrreryObjectDegraded", "OrreryObjectNotReady", "OrreryObjectStalled"],
    },
    Scenario {
        name: "one of two pods is gone: less redundancy, nobody is hurt",
        series: &[(HEALTHY[9].0, "0x90"), (HEALTHY[11].0, "_x90"), (HEALTHY[13].0, "_x90")],
        minutes: 20,
        firing: &["OrreryKvPodDown"],
    },
    Scenario {
        name: "no pod serves",
        series: &[
            (HEALTHY[8].0, "0x90"),
            (HEALTHY[9].0, "0x90"),
            (HEALTHY[10].0, "_x90"),
            (HEALTHY[11].0, "_x90"),
            (HEALTHY[12].0, "_x90"),
            (HEALTHY[13].0, "_x90"),
        ],
        minutes: 5,
        firing: &["OrreryKvDown"],
    },
    Scenario {
        name: "pods answer and do not serve, and the volume is full",
        series: &[
            (HEALTHY[10].0, "0x90"),
            (HEALTHY[11].0, "0x90"),
            (HEALTHY[12].0, "0x90"),
            (HEALTHY[15].0, "10000x90"),
        ],
        minutes: 10,
        firing: &["OrreryKvDown", "OrreryKvNotWritable", "OrreryKvVolumeFull"],
    },
    Scenario {
        name: "one of two followers does not keep up",
        series: &[
            (r#"orrery_kv_followers{job="orrery-kv", namespace="shop", pod="a-kv-0"}"#, "2x90"),
            (
                r#"orrery_kv_followers_in_sync{job="orrery-kv", namespace="shop", pod="a-kv-0"}"#,
                "2x10 1x80",
            ),
        ],
        minutes: 25,
        firing: &["OrreryKvFollowersLagging"],
    },
    Scenario {
        name: "the volume fills within hours",
        series: &[(HEALTHY[15].0, "500000-2500x90")],
        minutes: 80,
        firing: &["OrreryKvJournalFullSoon"],
    },
    Scenario {
        name: "memory is short, keys are evicted, connections refused",
        series: &[(HEALTHY[17].0, "100x90"), (HEALTHY[18].0, "0+5x90"), (HEALTHY[19].0, "0+5x90")],
        minutes: 40,
        firing: &["OrreryKvEvictions", "OrreryKvMemoryNearLimit", "OrreryKvRejectedConnections"],
    },
    Scenario {
        name: "a process starts again and again",
        series: &[(HEALTHY[20].0, "100x30 200x4 300x4 400x4 500x40")],
        minutes: 45,
        firing: &["OrreryKvRestarting"],
    },
    Scenario {
        name: "no pod launches jobs",
        series: &[(HEALTHY[22].0, "0x90")],
        minutes: 5,
        firing: &["OrrerySchedulerDown"],
    },
    Scenario {
        name: "a pod of a scheduler does not answer",
        series: &[(HEALTHY[21].0, "0x90"), (HEALTHY[22].0, "_x90")],
        minutes: 5,
        firing: &["OrrerySchedulerDown"],
    },
    Scenario {
        name: "one in fifty launches is more than a second late",
        series: &[(HEALTHY[23].0, "0+588x90")],
        minutes: 20,
        firing: &["OrrerySchedulerLate"],
    },
    Scenario {
        name: "jobs wait for a target that is slow and held back",
        series: &[(HEALTHY[25].0, "5x90"), (HEALTHY[29].0, "1x90")],
        minutes: 40,
        firing: &["OrrerySchedulerJobsWaiting", "OrrerySchedulerTargetThrottled"],
    },
    Scenario {
        name: "a run does not end in time, and many fail",
        series: &[(HEALTHY[26].0, "3x20 4x70"), (HEALTHY[28].0, "0+100x90")],
        minutes: 25,
        firing: &["OrrerySchedulerRunsFailing", "OrrerySchedulerRunsOverdue"],
    },
    Scenario {
        name: "what was overdue an hour ago is over",
        series: &[(HEALTHY[26].0, "3x20 4x70")],
        minutes: 80,
        firing: &[],
    },
    Scenario {
        name: "the volume of a scheduler is full",
        series: &[(HEALTHY[31].0, "10000x90")],
        minutes: 10,
        firing: &["OrrerySchedulerVolumeFull"],
    },
    Scenario {
        name: "a scheduler starts again and again",
        series: &[(HEALTHY[32].0, "100x30 200x4 300x4 400x4 500x40")],
        minutes: 45,
        firing: &["OrrerySchedulerRestarting"],
    },
];

/// Alerts that some scenario makes fire.
pub(super) fn firing() -> impl Iterator<Item = &'static str> {
    SCENARIOS.iter().flat_map(|scenario| scenario.firing.iter().copied())
}

/// All scenarios as `promtool test rules` reads them: at its time, exactly these alerts fire.
pub(super) fn promtool_file(rules: &str) -> String {
    let mut text = format!("rule_files: [{rules}]\nevaluation_interval: 1m\ntests:\n");
    for scenario in SCENARIOS {
        let _ = write!(text, "- name: \"{}\"\n  interval: 1m\n  input_series:\n", scenario.name);
        let replaced = |name: &str| scenario.series.iter().any(|(other, _)| *other == name);
        let kept = HEALTHY.iter().filter(|(name, _)| !replaced(name));
        for (name, values) in kept.chain(scenario.series) {
            let _ = write!(text, "  - series: '{name}'\n    values: '{values}'\n");
        }
        let _ = write!(
            text,
            "  promql_expr_test:\n  - expr: count by (alertname) (ALERTS{{alertstate=\"firing\"}})\n    \
             eval_time: {}m\n    exp_samples:\n",
            scenario.minutes
        );
        for alert in scenario.firing {
            let _ = write!(text, "    - labels: '{{alertname=\"{alert}\"}}'\n      value: 1\n");
        }
    }
    text
}
