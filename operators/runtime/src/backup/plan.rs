//! What a schedule of Backups does at a moment.
//!
//! Must not: read a clock. The same schedule, Backups and moment give the same plan, so that two
//! operators, or one that died in between, make the same Backup and never two.

use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use orrery_api::backup::BackupScheduleSpec;

/// The spec of a schedule that can be carried out.
#[derive(Debug, Clone)]
pub struct Clock {
    cron: Cron,
    zone: TimeZone,
}

/// A schedule that never comes due.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    #[error("{schedule:?} is no cron expression of five fields: {why}")]
    Schedule { schedule: String, why: String },
    #[error("there is no time zone {zone:?}; use an IANA name such as Europe/Paris")]
    Zone { zone: String },
}

impl Clock {
    /// Reads schedule and time zone.
    pub fn new(spec: &BackupScheduleSpec) -> Result<Self, ClockError> {
        let schedule = |why: String| ClockError::Schedule { schedule: spec.schedule.clone(), why };
        let fields = spec.schedule.split_whitespace().count();
        if fields != 5 {
            return Err(schedule(format!("it has {fields} fields")));
        }
        let cron = Cron::from_str(&spec.schedule).map_err(|error| schedule(error.to_string()))?;
        let zone = TimeZone::get(&spec.time_zone)
            .map_err(|_| ClockError::Zone { zone: spec.time_zone.clone() })?;
        Ok(Self { cron, zone })
    }

    /// The newest time of the schedule at or before `now`.
    fn newest(&self, now: Timestamp) -> Option<Timestamp> {
        let here: Zoned = now.to_zoned(self.zone.clone());
        let found = self.cron.find_previous_occurrence(&here, true).ok()?.timestamp();
        (found <= now).then_some(found)
    }

    /// The first time of the schedule after `now`.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let here: Zoned = now.to_zoned(self.zone.clone());
        let found = self.cron.find_next_occurrence(&here, false).ok()?.timestamp();
        (found > now).then_some(found)
    }

    /// The time a Backup is to be made for, if one is: the newest after `since`.
    pub fn due(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        self.newest(now).filter(|newest| *newest > since)
    }
}

/// Name of the Backup of a time of a schedule: `<schedule>-<YYYYMMDDhhmm>`, in UTC.
pub fn name(schedule: &str, at: Timestamp) -> String {
    format!("{schedule}-{}", at.strftime("%Y%m%d%H%M"))
}

/// A Backup that a schedule made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub name: String,
    pub uid: String,
    /// Whether it succeeded; none while it is under way.
    pub outcome: Option<bool>,
}

/// Whether one of them is under way: then no other is made.
pub fn is_running(made: &[Made]) -> bool {
    made.iter().any(|backup| backup.outcome.is_none())
}

/// Whether the newest that is over failed.
pub fn last_failed(made: &[Made]) -> Option<&Made> {
    let over = made.iter().filter(|backup| backup.outcome.is_some());
    over.max_by(|a, b| a.name.cmp(&b.name)).filter(|newest| newest.outcome == Some(false))
}

/// Those that are dropped: of those that succeeded, and of those that failed, all but the newest.
pub fn superfluous(made: &[Made], retain_last: usize) -> Vec<&Made> {
    let mut all: Vec<&Made> = Vec::new();
    for outcome in [true, false] {
        let mut same: Vec<&Made> =
            made.iter().filter(|backup| backup.outcome == Some(outcome)).collect();
        // The time is in the name, and its digits sort as the times do.
        same.sort_by(|a, b| b.name.cmp(&a.name));
        all.extend(same.into_iter().skip(retain_last));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn clock(schedule: &str, zone: &str) -> Result<Clock, ClockError> {
        let spec = json!({"cluster": {"name": "a"}, "schedule": schedule, "timeZone": zone});
        Clock::new(&serde_json::from_value(spec).unwrap())
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn of_missed_times_only_the_newest_is_due_and_only_once() {
        let nightly = clock("0 2 * * *", "UTC").unwrap();
        let (made, now) = (at("2026-11-20T12:00:00Z"), at("2026-11-26T12:00:00Z"));
        let due = nightly.due(made, now).expect("six were missed");
        assert_eq!(due, at("2026-11-26T02:00:00Z"));
        assert_eq!(nightly.due(due, now), None, "it was made");
        assert_eq!(nightly.next(now), Some(at("2026-11-27T02:00:00Z")));
        assert_eq!(nightly.due(due, at("2026-11-27T01:59:59Z")), None);
        assert_eq!(nightly.due(due, at("2026-11-27T02:00:00Z")), nightly.next(now));
    }

    #[test]
    fn nothing_is_due_for_times_before_the_schedule_was_made() {
        let nightly = clock("0 2 * * *", "UTC").unwrap();
        assert_eq!(nightly.due(at("2026-11-26T02:00:01Z"), at("2026-11-26T12:00:00Z")), None);
    }

    #[test]
    fn names_stay_different_when_the_clocks_are_set_back() {
        // On that night two o'clock comes twice in Paris; the name is of UTC.
        let hourly = clock("30 * * * *", "Europe/Paris").unwrap();
        let first = hourly.newest(at("2026-10-25T00:45:00Z")).unwrap();
        let second = hourly.newest(at("2026-10-25T01:45:00Z")).unwrap();
        assert_eq!(name("a", first), "a-202610250030");
        assert_eq!(name("a", second), "a-202610250130");
        let nightly = clock("0 2 * * *", "Europe/Paris").unwrap();
        assert_eq!(nightly.next(at("2026-12-01T12:00:00Z")), Some(at("2026-12-02T01:00:00Z")));
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_twice() {
        let hourly = clock("0 * * * *", "UTC").unwrap();
        let made = at("2026-11-26T05:00:00Z");
        assert_eq!(hourly.due(made, at("2026-11-26T03:30:00Z")), None);
        assert_eq!(hourly.due(made, at("2026-11-26T05:30:00Z")), None);
        assert_eq!(hourly.due(made, at("2026-11-26T06:00:00Z")), Some(at("2026-11-26T06:00:00Z")));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for (schedule, zone, part) in [
            ("0 2 * * * *", "UTC", "6 fields"),
            ("61 2 * * *", "UTC", "no cron expression"),
            ("0 2 * * *", "Mars/Olympus", "no time zone"),
        ] {
            let error = clock(schedule, zone).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    fn made(name: &str, outcome: Option<bool>) -> Made {
        Made { name: name.into(), uid: String::new(), outcome }
    }

    #[test]
    fn failures_do_not_push_out_what_can_be_recovered_from() {
        let all = [
            made("a-1", Some(true)),
            made("a-2", Some(true)),
            made("a-3", Some(false)),
            made("a-4", Some(false)),
            made("a-5", Some(false)),
            made("a-6", None),
        ];
        let dropped: Vec<&str> = superfluous(&all, 2).iter().map(|b| b.name.as_str()).collect();
        assert_eq!(dropped, ["a-3"]);
        assert!(is_running(&all));
        assert_eq!(last_failed(&all).map(|b| b.name.as_str()), Some("a-5"));
        assert_eq!(last_failed(&all[..2]), None);
    }

    proptest! {
        #[test]
        fn a_time_is_due_once_however_often_it_is_looked(
            steps in prop::collection::vec(0_i64..4000, 1..200)
        ) {
            let clock = clock("*/20 * * * *", "UTC").unwrap();
            let (mut now, mut since) = (at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
            let mut names = std::collections::HashSet::new();
            for step in steps {
                now = now.checked_add(jiff::SignedDuration::from_secs(step)).unwrap();
                if let Some(due) = clock.due(since, now) {
                    prop_assert!(due > since && due <= now);
                    prop_assert!(names.insert(name("a", due)));
                    since = due;
                }
                let next = clock.next(now).unwrap();
                prop_assert!(next > now && clock.due(since, next) == Some(next));
            }
        }
    }
}
