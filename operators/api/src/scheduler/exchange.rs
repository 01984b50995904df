//! What operator and process tell each other of one `Schedule`, as JSON inside the management
//! protocol: the operator declares, the process answers with how the schedule is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::schedule::ScheduleSpec;
use super::state::{LastRun, ZoneChange};
use crate::Time;

/// What `Sync` carries for a Schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeclaredSchedule {
    /// Its spec.
    pub spec: ScheduleSpec,
    /// Texts with days on which it does not fire: the values of the ConfigMaps that
    /// `spec.calendars.exclude` names, in their order, the values of one by their keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclusions: Vec<String>,
    /// UID of the object, where its runs are carried out by the operator; then the spec has of its
    /// action no more than which one it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Texts of rows that jobs are made of, where the spec has a template: the values of the ConfigMap that
    /// `spec.template.dataRef` names, by their keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<BTreeMap<String, String>>,
}

impl From<ScheduleSpec> for DeclaredSchedule {
    fn from(spec: ScheduleSpec) -> Self {
        Self { spec, exclusions: vec![], uid: None, rows: None }
    }
}

/// What a process answers for each object it has. It holds nothing that changes while nothing
/// happens, so that statuses rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScheduleState {
    /// The next times it fires, [`super::state::NEXT_TIMES_MAX`] at most.
    pub next_times: Vec<Time>,
    /// The newest run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// Runs that failed for good since the last one that succeeded.
    pub consecutive_failures: i32,
    /// It fires no more because a run failed and `spec.pauseOnFailure` is true.
    pub suspended_by_failure: bool,
    /// A run is not over within `spec.finishWithinSeconds`.
    pub overdue: bool,
    /// There is no job that it is to run after.
    pub leader_missing: bool,
    /// Jobs that its rows make, where it has a template: then everything above is of all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<i32>,
    /// What the change that made this generation does to the runs, in words for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What new rules of its time zone did to it since its last change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone_change: Option<ZoneChange>,
}

/// Figures of a process, by their names in its report.
pub mod figures {
    /// Schedules it has, those of the API included.
    pub const SCHEDULES: &str = "schedules";
    /// 99 of 100 runs of the last minutes started within so many milliseconds of their time.
    pub const LATENESS_P99_MS: &str = "lateness_p99_milliseconds";
    /// Start of the time that the newest verification is about, in seconds since the Unix epoch.
    pub const VERIFY_FROM: &str = "verify_from_seconds";
    /// End of it.
    pub const VERIFY_TO: &str = "verify_to_seconds";
    /// Launches it missed in the ledger.
    pub const VERIFY_MISSED: &str = "verify_missed";
    /// Launches it found more than once.
    pub const VERIFY_DUPLICATED: &str = "verify_duplicated";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_spec_is_declared_and_reads_back_with_its_defaults() {
        let declared: DeclaredSchedule = serde_json::from_str(
            r#"{"spec": {"when": {"cron": "0 7 * * MON-FRI", "timeZone": "Europe/Paris"},
                "action": {"http": {"url": "http://billing/run"}}}}"#,
        )
        .unwrap();
        assert_eq!((declared.spec.priority, declared.spec.retry.max_attempts), (5, 1));
        let json = serde_json::to_string(&declared).unwrap();
        assert_eq!(serde_json::from_str::<DeclaredSchedule>(&json).unwrap(), declared);
    }

    #[test]
    fn times_of_a_state_are_in_rfc_3339() {
        let at = Time::new("2027-01-01T07:00:00Z".parse().unwrap());
        let state = ScheduleState { next_times: vec![at], ..ScheduleState::default() };
        let json = serde_json::to_string(&state).unwrap();
        assert!(json.contains(r#""nextTimes":["2027-01-01T07:00:00Z"]"#), "{json}");
    }
}
