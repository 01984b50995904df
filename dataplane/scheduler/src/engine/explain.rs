//! A rule in words, its next times, and what a change of it changes.

use std::sync::Arc;

use orrery_api::scheduler::{self as api, DeclaredSchedule};
use orrery_recurrence::{Occurrences, Zone, ZoneNote, Zones};
use serde::Serialize;

use super::Engine;
use super::check::Refusal;
use super::details::shown;
use crate::machine::Definition;
use crate::machine::definition::{canonical, zone_name};

/// Times that are named at most.
const TIMES_MAX: usize = 1000;
/// How far changes of the clock are looked for: a year and a day.
const NOTES_SECONDS: i64 = 366 * 86_400;
/// Notes that are named at most.
const NOTES_MAX: usize = 20;

/// One time of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// RFC 3339, UTC.
    pub at: String,
    /// The same in the zone of the rule.
    pub local: String,
}

/// What a rule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    /// In words.
    pub text: String,
    pub time_zone: String,
    pub next_times: Vec<Moment>,
    /// What changes of the clock do to it within a year.
    pub notes: Vec<String>,
}

impl Engine {
    /// Explains the rule of a spec, as a job of this name would have it.
    pub fn explain(
        &self,
        name: &str,
        declared: DeclaredSchedule,
        after: i64,
        count: usize,
    ) -> Result<Explained, Refusal> {
        let follows = declared.spec.when.after.as_ref().map(follows_in_words);
        let (zone, times) = times_of(&self.zones, name, declared)?;
        let Some(times) = times else {
            return Ok(Explained {
                text: follows.unwrap_or_default(),
                time_zone: zone.name().to_owned(),
                next_times: vec![],
                notes: vec![],
            });
        };
        let mut next_times = vec![];
        let mut at = after;
        while next_times.len() < count.clamp(1, TIMES_MAX) {
            let Some(next) = times.next_after(at) else { break };
            next_times.push(Moment { at: shown(next), local: local(&zone, next) });
            at = next;
        }
        let notes = times.rule.zone_notes(after, after + NOTES_SECONDS);
        Ok(Explained {
            text: times.rule.explain(),
            time_zone: zone.name().to_owned(),
            next_times,
            notes: notes.iter().take(NOTES_MAX).map(|note| in_words(note, &zone)).collect(),
        })
    }

    /// A spec with a cron text alone, for those who only ask what it means.
    pub fn of_cron(cron: &str, time_zone: Option<&str>, dialect: api::Dialect) -> DeclaredSchedule {
        let mut when = api::When { cron: Some(cron.to_owned()), dialect, ..api::When::default() };
        if let Some(zone) = time_zone {
            zone.clone_into(&mut when.time_zone);
        }
        let spec = serde_json::json!({ "when": when, "action": {} });
        let spec: api::ScheduleSpec =
            serde_json::from_value(spec).expect("a schedule of its required fields");
        spec.into()
    }
}

/// The zone and the times of a spec, as a job of this name has them; no times where runs of another job
/// bring its runs about.
pub(super) fn times_of(
    zones: &Zones,
    name: &str,
    declared: DeclaredSchedule,
) -> Result<(Arc<Zone>, Option<Arc<Occurrences>>), Refusal> {
    let zone = zones.get(zone_name(&declared.spec))?;
    let (text, _) = canonical(declared);
    let definition = Definition::compile(&text, 0, &zone)?;
    let times = definition.times_of(name, &zone)?;
    Ok((zone, times))
}

/// When a job runs that has no times of its own.
pub(super) fn follows_in_words(after: &api::After) -> String {
    let leader = &after.schedule;
    match after.result {
        api::AfterResult::Succeeded => format!("after each run of {leader} that succeeded"),
        api::AfterResult::Failed => format!("after each run of {leader} that failed"),
        api::AfterResult::Finished => format!("after each run of {leader}"),
    }
}

pub(super) fn local(zone: &Zone, at: i64) -> String {
    let offset = zone.offset_at(at);
    let shifted = jiff::Timestamp::from_second(at)
        .ok()
        .zip(jiff::tz::Offset::from_seconds(offset).ok())
        .map(|(at, offset)| at.display_with_offset(offset).to_string());
    shifted.unwrap_or_else(|| shown(at))
}

pub(super) fn in_words(note: &ZoneNote, zone: &Zone) -> String {
    use orrery_recurrence::ZoneChange;
    let when = &note.local;
    match &note.kind {
        ZoneChange::Skipped => format!("{when} does not exist there and is left out"),
        ZoneChange::MovedTo(at) => {
            format!("{when} does not exist there and is run at {}", local(zone, *at))
        }
        ZoneChange::RunTwice => format!("{when} comes twice and is run both times"),
        ZoneChange::RunOnce => format!("{when} comes twice and is run the first time"),
    }
}
