//! Kind `Scheduler`: the engine that starts jobs at their times.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::CatchUpPolicy;
use super::pool::Pool;
#[cfg(feature = "crd")]
use super::status::SchedulerStatus;
use super::target::Target;
use crate::cel::rules;
use crate::spec::release::RELEASE_OR_IMAGE;
use crate::spec::{Archive, Bootstrap, EngineSpec, Journal, Storage, Tls};

/// Partitions of a Scheduler that names no number.
pub const PARTITIONS_DEFAULT: i32 = 16;

/// Starts millions of recurring and one-off jobs at the right second, exactly once each, and proves
/// it. `spec: {}` gives one pod whose launches are on disk before they are sent.
#[cfg_attr(feature = "crd", derive(kube::CustomResource))]
#[cfg_attr(
    feature = "crd",
    kube(
        group = "orrery.dev",
        version = "v1alpha1",
        kind = "Scheduler",
        doc = "Starts recurring and one-off jobs at the right second, exactly once each.",
        plural = "schedulers",
        singular = "scheduler",
        shortname = "schr",
        category = "orrery",
        namespaced,
        status = "SchedulerStatus",
        derive = "PartialEq",
        derive = "Default",
        cel,
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = ".status.conditions[?(@.type==\"Ready\")].status"
        ),
        printcolumn(name = "Schedules", type_ = "string", json_path = ".status.schedules"),
        printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitionCount"),
        printcolumn(name = "Durability", type_ = "string", json_path = ".status.durability"),
        printcolumn(
            name = "Owner",
            type_ = "string",
            json_path = ".status.partitions[0].owner",
            priority = 1
        ),
        printcolumn(
            name = "Endpoint",
            type_ = "string",
            json_path = ".status.endpoints[0].address"
        ),
        printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
        printcolumn(
            name = "Lateness",
            type_ = "string",
            json_path = ".status.lateness.p99Bucket",
            priority = 1
        ),
        printcolumn(
            name = "Version",
            type_ = "string",
            json_path = ".status.version",
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
    RELEASE_OR_IMAGE,
    (
        "!has(self.replicas) || self.replicas <= 1 || (has(self.journal) && has(self.journal.backend) \
         && self.journal.backend != 'Local')",
        "replicas above 1 need a journal that outlives a pod: set journal.backend to Postgres, ObjectStore or Kafka",
    ),
    (
        "!has(self.overdue) || (has(self.targets) \
         && self.targets.exists(target, target.name == self.overdue.target))",
        "overdue.target must be the name of one of targets",
    ),
    (
        "has(self.storage.storageClassName) == has(oldSelf.storage.storageClassName) \
         && (!has(self.storage.storageClassName) \
             || self.storage.storageClassName == oldSelf.storage.storageClassName)",
        "storage.storageClassName cannot change: the ledger is on the volume; make a new object and move the schedules",
    ),
    (
        "!has(self.deletionPolicy) || self.deletionPolicy != 'Snapshot' || has(self.archive)",
        "deletionPolicy Snapshot needs archive: the last snapshot goes there",
    ),
    (
        "!has(self.bootstrap) || (has(oldSelf.bootstrap) && self.bootstrap == oldSelf.bootstrap)",
        "bootstrap is for new objects: it can be removed later, and not be added or changed",
    ),
])))]
pub struct SchedulerSpec {
    /// Number of pods: one owns all partitions, the others stand by and take its place. Above 1 the
    /// journal must be kept by Postgres, ObjectStore or Kafka.
    #[schemars(range(min = 1, max = 64))]
    pub replicas: i32,
    /// Number of partitions, a power of two. Each has a journal of its own, and a schedule belongs to
    /// one of them by its name.
    #[schemars(range(min = 1, max = 256), extend("x-kubernetes-validations" = rules(&[
        (
            "self in [1, 2, 4, 8, 16, 32, 64, 128, 256]",
            "partitions must be a power of two, up to 256",
        ),
        (
            "self == oldSelf",
            "partitions cannot change: schedules are spread over them; make a new object and move them",
        ),
    ])))]
    pub partitions: i32,
    /// The volume of each pod.
    pub storage: Storage,
    /// Where the journal is kept.
    pub journal: Journal,
    /// What clients speak.
    pub api: Api,
    /// Services that runs are sent to, by name. A change restarts the pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub targets: Vec<Target>,
    /// Pods that are warm already, by name, in which actions `pooledPod` run commands. A change restarts
    /// the pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub pools: Vec<Pool>,
    /// Who is told of a run that is not over within `finishWithinSeconds`. Left out: nobody, beside events,
    /// statuses and metrics. A change restarts the pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Overdue>,
    /// CronJobs that are taken over.
    pub adopt_cron_jobs: AdoptCronJobs,
    /// What happens to missed runs of schedules that do not say.
    pub catch_up_default: CatchUpDefault,
    /// What is promised.
    pub objective: Objective,
    /// How much of the past is remembered.
    pub history: History,
    /// How many jobs there may be. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// Where every launch and every change of a job is copied to beside the volume: for Backups, and for
    /// recovery to any moment. Left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// Where a new object takes its jobs and its ledger from. Left out: it starts empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Fields every engine has.
    #[serde(flatten)]
    pub engine: EngineSpec,
}

impl Default for SchedulerSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            partitions: PARTITIONS_DEFAULT,
            storage: Storage::default(),
            journal: Journal::default(),
            api: Api::default(),
            targets: Vec::new(),
            pools: Vec::new(),
            overdue: None,
            adopt_cron_jobs: AdoptCronJobs::default(),
            catch_up_default: CatchUpDefault::default(),
            objective: Objective::default(),
            history: History::default(),
            quota: None,
            archive: None,
            bootstrap: None,
            engine: EngineSpec::default(),
        }
    }
}

/// Who is told of overdue runs: a POST for each, with `type` `schedule.overdue` and what run it is as JSON, at
/// least once, until it is answered with 2xx, for a day at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Overdue {
    /// Name of a target, whose limits, credentials and signature hold.
    #[schemars(length(min = 1, max = 63))]
    pub target: String,
    /// Path and query at the target. Left out: the path of the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^/\S*$"))]
    pub path: Option<String>,
}

/// What clients speak.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "!has(self.grpc) || self.grpc.port != self.http.port",
    "grpc and http need ports of their own",
)])))]
pub struct Api {
    /// REST, at `/v1`. Clients send the token under the key `api-token` of the Secret
    /// `<name>-scheduler` as Bearer. On one machine without Kubernetes no token is made.
    pub http: HttpApi,
    /// TLS with a certificate from a Secret, for all that clients speak. Left out: clients speak plain
    /// text, and the token is for networks that nobody listens on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// gRPC: `orrery.scheduler.v1`, the same API with types. Left out: it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcApi>,
}

/// REST for clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpApi {
    /// Port of the Services and of the pods.
    #[schemars(range(min = 1024, max = 65_535), extend("x-kubernetes-validations" = rules(&[
        ("self != 9400 && self != 9401", "ports 9400 and 9401 are taken by management and metrics"),
    ])))]
    pub port: i32,
    /// "On" (clients of Dkron find its routes) or "Off". Write the quotes: kubectl reads the bare
    /// words as booleans.
    pub dkron_compat: DkronCompat,
}

impl Default for HttpApi {
    fn default() -> Self {
        Self { port: 8080, dkron_compat: DkronCompat::Off }
    }
}

/// Whether the routes of Dkron are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DkronCompat {
    /// They are not.
    #[default]
    Off,
    /// They are.
    On,
}

/// gRPC for clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcApi {
    /// Port of the Services and of the pods.
    #[schemars(range(min = 1024, max = 65_535), extend("x-kubernetes-validations" = rules(&[
        ("self != 9400 && self != 9401", "ports 9400 and 9401 are taken by management and metrics"),
    ])))]
    pub port: i32,
}

impl Default for GrpcApi {
    fn default() -> Self {
        Self { port: 9090 }
    }
}

/// CronJobs of the namespace that are taken over: each gets a Schedule and is suspended, and is given back
/// as it was when this says so no more or the Scheduler is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AdoptCronJobs {
    /// "Off", Annotated (those whose annotation `orrery.dev/adopt` names this Scheduler, or is `true` for
    /// the one called default) or Namespace (all but those whose annotation says otherwise). Write
    /// "Off" with its quotes: kubectl reads the bare word as a boolean.
    pub mode: AdoptMode,
}

/// Which CronJobs are taken over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum AdoptMode {
    /// None.
    #[default]
    Off,
    /// Those that ask for it by an annotation.
    Annotated,
    /// All of the namespace.
    Namespace,
}

/// What happens to missed runs of schedules that do not say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CatchUpDefault {
    /// Skip, FireOnce (the newest alone) or FireAll.
    pub policy: CatchUpPolicy,
    /// Runs older than this are not made up for, in seconds.
    #[schemars(range(min = 0, max = 31_536_000))]
    pub max_seconds: i64,
    /// The most runs of a schedule that are made up for, for FireAll.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_runs: i32,
}

impl Default for CatchUpDefault {
    fn default() -> Self {
        Self { policy: CatchUpPolicy::FireOnce, max_seconds: 3600, max_runs: 100 }
    }
}

/// What is promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Objective {
    /// 99 of 100 runs start within so many milliseconds of their time; while they do not, the object
    /// is Degraded with reason LateFiring.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub lateness_p99_milliseconds: i64,
}

impl Default for Objective {
    fn default() -> Self {
        Self { lateness_p99_milliseconds: 50 }
    }
}

/// How much of the past is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// Runs that the history of each schedule shows, the newest ones; those that are not over are shown
    /// beside them. The ledger, which proves that no run was missed, has all runs of keepSeconds.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub keep_runs: i32,
    /// What is older than this leaves the ledger, and with it every history, in seconds.
    #[schemars(range(min = 60, max = 315_360_000))]
    pub keep_seconds: i64,
}

impl Default for History {
    fn default() -> Self {
        Self { keep_runs: 100, keep_seconds: 604_800 }
    }
}

/// How many jobs there may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Quota {
    /// Jobs of one tenant. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_jobs_per_tenant: Option<i64>,
    /// All jobs. Left out: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_jobs: Option<i64>,
}
