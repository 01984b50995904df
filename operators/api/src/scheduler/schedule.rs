//! Kind `Schedule`: one job of a Scheduler, with its rule, its policies and what a run does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::Action;
use super::bounds;
use super::policy::{CatchUp, Concurrency, Dst, KeepRuns, Retry};
#[cfg(feature = "crd")]
use super::state::ScheduleStatus;
use super::template::Template;
use super::when::When;
use crate::cel::rules;
use crate::spec::{LocalRef, Moment};

/// Priority of a schedule that names none.
pub const PRIORITY_DEFAULT: i32 = 5;

/// A job that a Scheduler starts at the times of a rule, each time exactly once. Without
/// `schedulerRef` it belongs to the Scheduler `default`, which is made when absent.
#[cfg_attr(feature = "crd", derive(kube::CustomResource))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "orrery.dev",
        version = "v1alpha1",
        kind = "Schedule",
        doc = "A job that is started at the times of a rule, each time exactly once.",
        plural = "schedules",
        singular = "schedule",
        shortname = "sched",
        category = "orrery",
        namespaced,
        status = "ScheduleStatus",
        derive = "PartialEq",
        cel,
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Ready\")].status"
        ),
        printcolumn(name = "When", type_ = "string", json_path = ".status.when"),
        printcolumn(name = "Zone", type_ = "string", json_path = ".status.zone"),
        printcolumn(name = "Next", type_ = "string", json_path = ".status.nextTimes[0]"),
        printcolumn(name = "Last", type_ = "string", json_path = ".status.lastRun.result"),
        printcolumn(name = "Suspend", type_ = "boolean", json_path = ".spec.suspend"),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
        printcolumn(
            name = "Scheduler",
            type_ = "string",
            json_path = ".status.boundTo",
            priority = 1
        ),
        printcolumn(
            name = "Failures",
            type_ = "integer",
            json_path = ".status.consecutiveFailures",
            priority = 1
        ),
        printcolumn(name = "Jobs", type_ = "integer", json_path = ".status.jobs", priority = 1),
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
        "has(self.schedulerRef) == has(oldSelf.schedulerRef) \
         && (!has(self.schedulerRef) || self.schedulerRef.name == oldSelf.schedulerRef.name)",
        "schedulerRef cannot change: the runs are in the ledger of its Scheduler; make a new object",
    ),
    (
        "!has(self.start) || !has(self.end) || self.start < self.end",
        "end must be after start",
    ),
])))]
pub struct ScheduleSpec {
    /// The Scheduler, in the same namespace. Left out: the one named `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_ref: Option<LocalRef>,
    /// When it fires: exactly one of cron, every, rrule, at, calendar or after, and the zone.
    pub when: When,
    /// Days on which it does not fire.
    #[serde(default, skip_serializing_if = "Calendars::is_empty")]
    pub calendars: Calendars,
    /// What becomes of times that a change of the clocks skips or repeats.
    #[serde(default)]
    pub dst: Dst,
    /// It does not fire before this moment. Left out: from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Moment>,
    /// It does not fire after this moment. Left out: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Moment>,
    /// Each run is moved by a random part of so many seconds.
    #[serde(default)]
    #[schemars(range(min = 0, max = bounds::MOVED_SECONDS_MAX))]
    pub jitter_seconds: i64,
    /// The engine may start a run up to so many seconds later, so that not all start at once.
    #[serde(default)]
    #[schemars(range(min = 0, max = bounds::MOVED_SECONDS_MAX))]
    pub flex_window_seconds: i64,
    /// What happens when a run is due and the one before is not over: Allow, Forbid, Replace,
    /// BufferOne, BufferAll, CancelOther or TerminateOther.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// What happens to runs that were missed. Left out: as the Scheduler says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUp>,
    /// A run that could not start within so many seconds is dropped. Left out: it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::LATE_SECONDS_MAX))]
    pub starting_deadline_seconds: Option<i64>,
    /// What a run does: exactly one of http, grpc, kubernetesJob, pooledPod, taskQueue or workflow.
    pub action: Action,
    /// How often a run is tried.
    #[serde(default)]
    pub retry: Retry,
    /// The longest an attempt may take, in seconds. Left out: as the target says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::TIMEOUT_SECONDS_MAX))]
    pub timeout_seconds: Option<i64>,
    /// A run that is not over so many seconds after its time is Overdue. Left out: none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::LATE_SECONDS_MAX))]
    pub finish_within_seconds: Option<i64>,
    /// 9 goes first, 0 last, among the runs that wait for the same target.
    #[serde(default = "priority")]
    #[schemars(range(min = 0, max = bounds::PRIORITY_MAX))]
    pub priority: i32,
    /// Whose job it is: targets are shared fairly between tenants, and quotas count by it. Left out:
    /// the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub tenant: Option<String>,
    /// After a run that failed for good it fires no more until it is edited or resumed.
    #[serde(default)]
    pub pause_on_failure: bool,
    /// It fires so many times, then no more. Left out: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = bounds::LIMIT_RUNS_MAX))]
    pub limit_runs: Option<i64>,
    /// It does not fire while this is true.
    #[serde(default)]
    pub suspend: bool,
    /// Any text for people, such as why it is suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub note: Option<String>,
    /// How many of its runs its history shows. Left out: as the Scheduler says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<KeepRuns>,
    /// Makes one job of each row of a file: texts of the rule and the action may have columns in them,
    /// as `{{column}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

impl ScheduleSpec {
    /// A rule and what a run does, with the defaults of everything else.
    pub fn new(when: When, action: Action) -> Self {
        Self {
            scheduler_ref: None,
            when,
            calendars: Calendars::default(),
            dst: Dst::default(),
            start: None,
            end: None,
            jitter_seconds: 0,
            flex_window_seconds: 0,
            concurrency: Concurrency::default(),
            catch_up: None,
            starting_deadline_seconds: None,
            action,
            retry: Retry::default(),
            timeout_seconds: None,
            finish_within_seconds: None,
            priority: PRIORITY_DEFAULT,
            tenant: None,
            pause_on_failure: false,
            limit_runs: None,
            suspend: false,
            note: None,
            history: None,
            template: None,
        }
    }
}

fn priority() -> i32 {
    PRIORITY_DEFAULT
}

/// Days on which a schedule does not fire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Calendars {
    /// ConfigMaps in the same namespace. Each line of each value is a day (`2027-12-25`, or `12-25` of
    /// every year), a range of days (`2027-12-24..2027-12-26`), an `RRULE:` or a comment with `#`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub exclude: Vec<LocalRef>,
}

impl Calendars {
    /// Whether it excludes nothing.
    pub fn is_empty(&self) -> bool {
        self.exclude.is_empty()
    }
}
