//! When a schedule fires: exactly one rule, and the zone it is read in.
//!
//! Must not: read the texts. `orrery-recurrence` compiles them, and the engine refuses what it cannot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cel::rules;
use crate::spec::Moment;

/// Zone of a schedule that names none.
pub const TIME_ZONE_DEFAULT: &str = "Etc/UTC";
/// Longest text of a rule, in characters.
pub const RULE_CHARS_MAX: usize = 4096;

/// When it fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[
    (
        "[has(self.cron), has(self.every), has(self.rrule), has(self.at), has(self.calendar), \
         has(self.after)].filter(x, x).size() == 1",
        "when needs exactly one of cron, every, rrule, at, calendar and after",
    ),
    (
        "self.dialect == 'Vixie' || has(self.cron)",
        "dialect is only for cron",
    ),
    ("!has(self.anchor) || has(self.every)", "anchor is only for every"),
])))]
pub struct When {
    /// A cron expression in the language of `dialect`: five fields, six with seconds first, or seven
    /// with the year last, or `@hourly` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = RULE_CHARS_MAX))]
    pub cron: Option<String>,
    /// Time between two runs, such as `90s`, `1h30m` or `PT90S`. It is time that passes: a change of
    /// the clocks does not move it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 2, max = 64),
        regex(pattern = r"^([0-9]+(ns|us|ms|s|m|h|d|w))+$|^[Pp][0-9A-Za-z.,]+$")
    )]
    pub every: Option<String>,
    /// A recurrence of RFC 5545, such as `FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = RULE_CHARS_MAX))]
    pub rrule: Option<String>,
    /// One moment, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), extend("format" = "date-time"))]
    pub at: Option<String>,
    /// Calendars: it fires at every second that one of them names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub calendar: Vec<CalendarSpec>,
    /// After each run of another schedule of the same Scheduler. The run has the same nominal time as
    /// the one it follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// Zone the rule is read in, by its IANA name.
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: String,
    /// Vixie, Quartz (seconds first, 1 is Sunday) or Systemd (OnCalendar texts); only with cron.
    pub dialect: Dialect,
    /// A moment that a run falls on, for every. Left out: 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<Moment>,
}

impl Default for When {
    fn default() -> Self {
        Self {
            cron: None,
            every: None,
            rrule: None,
            at: None,
            calendar: Vec::new(),
            after: None,
            time_zone: TIME_ZONE_DEFAULT.to_owned(),
            dialect: Dialect::default(),
            anchor: None,
        }
    }
}

impl When {
    /// The rule in one line for people: `0 7 * * MON-FRI`, `every 90s`, `after nightly`.
    pub fn summary(&self) -> String {
        if let Some(cron) = &self.cron {
            return cron.clone();
        }
        if let Some(every) = &self.every {
            return format!("every {every}");
        }
        if let Some(rrule) = &self.rrule {
            return rrule.clone();
        }
        if let Some(at) = &self.at {
            return format!("at {at}");
        }
        if let Some(after) = &self.after {
            return format!("after {}", after.schedule);
        }
        match self.calendar.len() {
            0 => "never".to_owned(),
            1 => "1 calendar".to_owned(),
            count => format!("{count} calendars"),
        }
    }
}

/// Language of a cron expression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Dialect {
    /// Minutes first, or seconds first where there are six or seven fields; 0 and 7 are Sunday.
    #[default]
    Vixie,
    /// Seconds first, 1 is Sunday.
    Quartz,
    /// Texts of OnCalendar.
    Systemd,
}

/// Seconds by their fields. A field that is left out takes 0 for second, minute and hour, and
/// everything for the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CalendarSpec {
    /// Seconds, 0 to 59.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 60), extend("x-kubernetes-list-type" = "atomic"))]
    pub second: Vec<Range>,
    /// Minutes, 0 to 59.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 60), extend("x-kubernetes-list-type" = "atomic"))]
    pub minute: Vec<Range>,
    /// Hours, 0 to 23.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 60), extend("x-kubernetes-list-type" = "atomic"))]
    pub hour: Vec<Range>,
    /// Days of the month, 1 to 31.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 60), extend("x-kubernetes-list-type" = "atomic"))]
    pub day_of_month: Vec<Range>,
    /// Months, 1 to 12.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 60), extend("x-kubernetes-list-type" = "atomic"))]
    pub month: Vec<Range>,
    /// Days of the week, 0 (Sunday) to 6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 60), extend("x-kubernetes-list-type" = "atomic"))]
    pub day_of_week: Vec<Range>,
    /// Years, 1970 to 2199.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 60), extend("x-kubernetes-list-type" = "atomic"))]
    pub year: Vec<Range>,
}

/// Numbers from `start` to `end` in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// The first number.
    #[schemars(range(min = 0, max = 2199))]
    pub start: i32,
    /// The last number. Left out: the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2199))]
    pub end: Option<i32>,
    /// From one number to the next. Left out: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2199))]
    pub step: Option<i32>,
}

/// After each run of another schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct After {
    /// Name of the other Schedule, in the same namespace and of the same Scheduler.
    #[schemars(length(min = 1, max = 253))]
    pub schedule: String,
    /// Succeeded, Failed or Finished (either).
    #[serde(default)]
    pub result: AfterResult,
}

/// After which runs.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[schemars(inline)]
pub enum AfterResult {
    /// Those that succeeded.
    #[default]
    Succeeded,
    /// Those that failed for good, were refused, or did not answer in time.
    Failed,
    /// All that are over, those that were cancelled included.
    Finished,
}

impl AfterResult {
    /// The word as it stands in a spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Finished => "Finished",
        }
    }
}
