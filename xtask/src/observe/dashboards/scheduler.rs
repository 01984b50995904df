//! The dashboard of the scheduler.

use super::POD;
use crate::observe::panel::Panel;

/// A metric of the scheduler.
macro_rules! jobs {
    ($metric:literal) => {
        selected!("orrery-scheduler", "scheduler", $metric)
    };
    (rate $metric:literal) => {
        concat!("rate(", selected!("orrery-scheduler", "scheduler", $metric), "[5m])")
    };
}

pub(super) const PANELS: &[Panel] = &[
    Panel {
        title: "Launching",
        unit: "none",
        what: "1 while jobs are launched.",
        queries: &[(jobs!("orrery_scheduler_ready"), POD)],
    },
    Panel {
        title: "Jobs",
        unit: "none",
        what: "All jobs, those declared by Schedules, and those that are due and wait for room.",
        queries: &[
            (jobs!("orrery_scheduler_jobs"), "{{namespace}}/{{pod}} all"),
            (jobs!("orrery_scheduler_jobs_declared"), "{{namespace}}/{{pod}} declared"),
            (jobs!("orrery_scheduler_jobs_waiting"), "{{namespace}}/{{pod}} waiting"),
        ],
    },
    Panel {
        title: "Launches",
        unit: "ops",
        what: "Launches per second.",
        queries: &[(jobs!(rate "orrery_scheduler_launch_lateness_seconds_count"), POD)],
    },
    Panel {
        title: "Lateness",
        unit: "s",
        what: "Half of the launches, and all but one in a hundred, were less late than this.",
        queries: &[
            (
                concat!(
                    "histogram_quantile(0.5, sum by (namespace, scheduler, le) (",
                    jobs!(rate "orrery_scheduler_launch_lateness_seconds_bucket"),
                    "))"
                ),
                "{{namespace}}/{{scheduler}} p50",
            ),
            (
                concat!(
                    "histogram_quantile(0.99, sum by (namespace, scheduler, le) (",
                    jobs!(rate "orrery_scheduler_launch_lateness_seconds_bucket"),
                    "))"
                ),
                "{{namespace}}/{{scheduler}} p99",
            ),
        ],
    },
    Panel {
        title: "How runs end",
        unit: "ops",
        what: "Runs per second by how they ended.",
        queries: &[(
            concat!(
                "sum by (namespace, scheduler, result) (",
                jobs!(rate "orrery_scheduler_runs_ended_total"),
                ")"
            ),
            "{{namespace}}/{{scheduler}} {{result}}",
        )],
    },
    Panel {
        title: "Runs in flight",
        unit: "none",
        what: "Runs launched and not over.",
        queries: &[(jobs!("orrery_scheduler_runs_in_flight"), POD)],
    },
    Panel {
        title: "Overdue",
        unit: "none",
        what: "Runs that were not over within finishWithinSeconds, in the last ten minutes.",
        queries: &[(
            concat!("increase(", jobs!("orrery_scheduler_runs_overdue_total"), "[10m])"),
            POD,
        )],
    },
    Panel {
        title: "Calls to targets",
        unit: "reqps",
        what: "Calls per second by target and how they ended.",
        queries: &[(
            concat!(
                "sum by (target, result) (",
                jobs!(rate "orrery_scheduler_target_calls_total"),
                ")"
            ),
            "{{target}} {{result}}",
        )],
    },
    Panel {
        title: "Time of a call",
        unit: "s",
        what: "All but one in a hundred calls to a target took less than this.",
        queries: &[(
            concat!(
                "histogram_quantile(0.99, sum by (target, le) (",
                jobs!(rate "orrery_scheduler_target_call_seconds_bucket"),
                "))"
            ),
            "{{target}}",
        )],
    },
    Panel {
        title: "Queues of targets",
        unit: "none",
        what: "Calls that wait for their target, and calls that were sent and not answered.",
        queries: &[
            (jobs!("orrery_scheduler_target_queued"), "{{target}} waiting"),
            (jobs!("orrery_scheduler_target_in_flight"), "{{target}} sent"),
        ],
    },
    Panel {
        title: "Held back",
        unit: "none",
        what: "1 while calls wait because of the rate of their target or because it asked for a pause.",
        queries: &[(jobs!("orrery_scheduler_target_throttled"), "{{target}}")],
    },
    Panel {
        title: "Memory",
        unit: "bytes",
        what: "Memory of the process.",
        queries: &[(jobs!("orrery_scheduler_resident_memory_bytes"), POD)],
    },
    Panel {
        title: "Volume",
        unit: "percentunit",
        what: "Share of the data volume that is free.",
        queries: &[(
            concat!(
                jobs!("orrery_scheduler_volume_available_bytes"),
                " / ",
                jobs!("orrery_scheduler_volume_size_bytes")
            ),
            POD,
        )],
    },
    Panel {
        title: "Uptime",
        unit: "s",
        what: "Time since the process started.",
        queries: &[(concat!("time() - ", jobs!("orrery_scheduler_start_time_seconds")), POD)],
    },
];
