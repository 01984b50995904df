//! Conditions in the shape of metav1, and the set that is written into a status.
//!
//! The types and their polarity are one contract for all kinds:
//!
//! | type | polarity | meaning |
//! |---|---|---|
//! | `Ready` | normal-true | the one summary: spec carried out and serving |
//! | `Reconciling` | abnormal-true | work is under way, or something expected is awaited |
//! | `Stalled` | abnormal-true | no progress without a human |
//! | `Available` | normal-true | clients are served, perhaps by an older generation |
//! | `Degraded` | abnormal-true | serving, but with less than asked |
//!
//! Objects that are done once, such as a Backup, have a sixth, and their Ready follows it:
//!
//! | type | polarity | meaning |
//! |---|---|---|
//! | `Succeeded` | normal-true | Unknown while under way, then True or False for good |
//!
//! Must not: read a clock. The time of a transition is an argument, and it is used only where a
//! status really changed, so that writing the same set again changes nothing.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Reason;

/// Longest message Kubernetes takes, in bytes.
const MESSAGE_BYTES_MAX: usize = 32_768;

/// One condition; serialises as metav1 `Condition`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Type of the condition: Ready, Reconciling, Stalled, Available, Degraded or Succeeded.
    #[serde(rename = "type")]
    #[schemars(length(max = 316))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// Generation of the spec this condition was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// When the status last changed from one value to another.
    pub last_transition_time: Time,
    /// Why, in one CamelCase word; all words are listed in the documentation.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
    /// Why, in a sentence for people.
    #[schemars(length(max = 32768))]
    pub message: String,
}

/// Value of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ConditionStatus {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// It cannot be told.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// The types of condition our kinds use; Succeeded only those that are done once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    Available,
    Degraded,
    Succeeded,
}

impl ConditionType {
    /// All of them, in the order they are written.
    pub const ALL: [Self; 6] = [
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::Available,
        Self::Degraded,
        Self::Succeeded,
    ];

    /// The word as it stands in `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Available => "Available",
            Self::Degraded => "Degraded",
            Self::Succeeded => "Succeeded",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A moment in UTC, written in RFC 3339 with whole seconds as metav1 `Time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Timestamp);

impl Time {
    /// The moment, cut to whole seconds.
    pub fn new(at: Timestamp) -> Self {
        Self(Timestamp::from_second(at.as_second()).expect("a part of a valid time is valid"))
    }

    /// The moment as a timestamp.
    pub fn timestamp(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self::new).map_err(de::Error::custom)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time", "maxLength": 64 })
    }
}

/// The conditions one round has found; what is not in it is not known or not worth saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionSet {
    generation: i64,
    found: BTreeMap<ConditionType, Finding>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

impl ConditionSet {
    /// An empty set for a spec of this generation.
    pub fn new(generation: i64) -> Self {
        Self { generation, found: BTreeMap::new() }
    }

    /// Adds a condition, or replaces the one of the same type.
    #[must_use]
    pub fn with(
        mut self,
        type_: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
    ) -> Self {
        self.set(type_, status, reason, message);
        self
    }

    /// As [`ConditionSet::with`], in place.
    pub fn set(
        &mut self,
        type_: ConditionType,
        status: impl Into<ConditionStatus>,
        reason: Reason,
        message: impl Into<String>,
    ) {
        let finding = Finding { status: status.into(), reason, message: bounded(message.into()) };
        self.found.insert(type_, finding);
    }

    /// Status of a type in this set.
    pub fn status(&self, type_: ConditionType) -> Option<ConditionStatus> {
        self.found.get(&type_).map(|finding| finding.status)
    }

    /// Reason of a type in this set.
    pub fn reason(&self, type_: ConditionType) -> Option<Reason> {
        self.found.get(&type_).map(|finding| finding.reason)
    }

    /// The list to store: this set, with the transition times of `stored` wherever a status stays
    /// the same. Types of ours that are not in the set are dropped; types of others are kept.
    pub fn merge(&self, stored: &[Condition], now: Time) -> Vec<Condition> {
        let ours = self.found.iter().map(|(type_, finding)| {
            let before = find(stored, *type_).filter(|old| old.status == finding.status);
            Condition {
                type_: type_.as_str().to_owned(),
                status: finding.status,
                observed_generation: Some(self.generation),
                last_transition_time: before.map_or(now, |old| old.last_transition_time),
                reason: finding.reason.as_str().to_owned(),
                message: finding.message.clone(),
            }
        });
        let is_ours = |type_: &str| ConditionType::ALL.iter().any(|t| t.as_str() == type_);
        let theirs = stored.iter().filter(|old| !is_ours(&old.type_)).cloned();
        ours.chain(theirs).collect()
    }
}

/// The condition of a type in a list.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == type_.as_str())
}

/// Whether a list says that a type is true.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(|c| c.status == ConditionStatus::True)
}

fn bounded(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX;
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time::new(Timestamp::from_second(second).unwrap())
    }

    fn ready(status: bool, generation: i64) -> ConditionSet {
        ConditionSet::new(generation).with(ConditionType::Ready, status, Reason::Progressing, "m")
    }

    #[test]
    fn the_transition_time_moves_only_with_the_status() {
        let first = ready(false, 1).merge(&[], at(100));
        let second = ready(false, 2).merge(&first, at(200));
        assert_eq!(second[0].last_transition_time, at(100));
        assert_eq!(second[0].observed_generation, Some(2));
        let third = ready(true, 2).merge(&second, at(300));
        assert_eq!(third[0].last_transition_time, at(300));
    }

    #[test]
    fn merging_the_same_set_again_changes_nothing() {
        let once = ready(true, 1).merge(&[], at(1));
        assert_eq!(ready(true, 1).merge(&once, at(99)), once);
    }

    #[test]
    fn a_type_no_longer_found_is_dropped_and_foreign_types_stay() {
        let foreign = Condition {
            type_: "example.org/Audited".into(),
            status: ConditionStatus::True,
            observed_generation: None,
            last_transition_time: at(5),
            reason: "ByHand".into(),
            message: String::new(),
        };
        let with_stalled = ready(false, 1)
            .with(ConditionType::Stalled, true, Reason::InvalidSpec, "x")
            .merge(&[foreign], at(1));
        assert_eq!(with_stalled.len(), 3);
        let healed = ready(true, 2).merge(&with_stalled, at(2));
        let types: Vec<&str> = healed.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(types, ["Ready", "example.org/Audited"]);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let set = ConditionSet::new(1).with(
            ConditionType::Ready,
            false,
            Reason::InvalidSpec,
            "é".repeat(20_000),
        );
        assert_eq!(set.merge(&[], at(1))[0].message.len(), MESSAGE_BYTES_MAX);
    }

    #[cfg(feature = "crd")]
    #[test]
    fn a_condition_serialises_as_metav1() {
        use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
        let ours = &ready(true, 7).merge(&[], at(1_700_000_000))[0];
        let theirs = meta::Condition {
            type_: "Ready".into(),
            status: "True".into(),
            observed_generation: Some(7),
            last_transition_time: meta::Time(Timestamp::from_second(1_700_000_000).unwrap()),
            reason: "Progressing".into(),
            message: "m".into(),
        };
        let json = serde_json::to_value(ours).unwrap();
        assert_eq!(json, serde_json::to_value(&theirs).unwrap());
        assert_eq!(serde_json::from_value::<Condition>(json).unwrap(), *ours);
    }
}
