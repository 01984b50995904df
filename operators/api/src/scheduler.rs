//! The scheduler: engine `Scheduler`, declared object `Schedule`, the configuration file a process of
//! the engine starts with, and what operator and process tell each other of a `Schedule`.

pub mod action;
pub mod bounds;
pub mod config;
pub mod engine;
pub mod exchange;
pub mod policy;
pub mod pool;
pub mod runner;
pub mod schedule;
pub mod state;
pub mod status;
pub mod target;
pub mod template;
pub mod when;

pub use action::{
    Action, EnvVar, GrpcAction, Header, HttpAction, HttpMethod, KubernetesJobAction,
    PooledPodAction, TaskQueueAction, WorkflowAction,
};
pub use config::{PoolFile, SchedulerConfig, TargetFile};
#[cfg(feature = "crd")]
pub use engine::Scheduler;
pub use engine::{
    AdoptCronJobs, AdoptMode, Api, CatchUpDefault, DkronCompat, GrpcApi, History, HttpApi,
    Objective, Overdue, Quota, SchedulerSpec,
};
pub use exchange::{DeclaredSchedule, ScheduleState, figures};
pub use policy::{CatchUp, CatchUpPolicy, Concurrency, Dst, KeepRuns, Retry};
pub use pool::Pool;
#[cfg(feature = "crd")]
pub use schedule::Schedule;
pub use schedule::{Calendars, ScheduleSpec};
pub use state::{LastRun, RunResult, ScheduleStatus, ZoneChange};
pub use status::{Endpoint, Lateness, Partition, SchedulerStatus, Verification};
pub use target::{Target, TargetTls, TargetType};
pub use template::Template;
pub use when::{After, AfterResult, CalendarSpec, Dialect, Range, When};
