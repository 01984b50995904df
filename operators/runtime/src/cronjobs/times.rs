//! The times of a CronJob's rule, as far as a hand-over looks at them: the newest and the next.
//!
//! Must not: decide what runs; its controller and the engine do, each by its own reading of the rule.

use croner::Cron;
use croner::parser::CronParser;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::kind::CronJobSeen;

/// A rule whose times can be told.
#[derive(Debug, Clone)]
pub(super) struct Times {
    cron: Cron,
    zone: TimeZone,
}

impl Times {
    /// The times of a CronJob; a sentence where they cannot be told.
    pub(super) fn of(cron_job: &CronJobSeen) -> Result<Self, String> {
        let rule = cron_job.spec.schedule.trim();
        let words = rule.split_whitespace().count();
        if rule.starts_with("@every") {
            let why = "@every counts from the run before, and a run in a pool leaves no Job to \
                       count from: write a rule of five fields";
            return Err(why.to_owned());
        }
        if words != 5 && !rule.starts_with('@') {
            return Err(format!("{rule:?} is no rule of five fields"));
        }
        // `5/7`, as its controller reads it.
        let parser = CronParser::builder().sloppy_ranges(true).build();
        let cron = parser.parse(rule).map_err(|error| format!("{rule:?}: {error}"))?;
        let zone = cron_job.spec.time_zone.as_deref().unwrap_or("Etc/UTC");
        let zone = TimeZone::get(zone).map_err(|_| format!("there is no time zone {zone:?}"))?;
        Ok(Self { cron, zone })
    }

    /// The newest time at or before a second.
    pub(super) fn newest(&self, now: i64) -> Option<i64> {
        let found = self.cron.find_previous_occurrence(&self.here(now)?, true).ok()?;
        Some(found.timestamp().as_second()).filter(|found| *found <= now)
    }

    /// The first time after a second.
    pub(super) fn next(&self, now: i64) -> Option<i64> {
        let found = self.cron.find_next_occurrence(&self.here(now)?, false).ok()?;
        Some(found.timestamp().as_second()).filter(|found| *found > now)
    }

    fn here(&self, second: i64) -> Option<Zoned> {
        Some(Timestamp::from_second(second).ok()?.to_zoned(self.zone.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn times(schedule: &str, zone: Option<&str>) -> Result<Times, String> {
        let spec = json!({"schedule": schedule, "timeZone": zone});
        Times::of(&serde_json::from_value(json!({ "spec": spec })).expect("a CronJob"))
    }

    #[test]
    fn the_times_around_a_second_are_told() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time").as_second();
        let now = at("2026-11-27T10:00:00Z");
        for (schedule, zone, newest, next) in [
            ("* * * * *", None, "2026-11-27T10:00:00Z", "2026-11-27T10:01:00Z"),
            ("5/7 * * * *", None, "2026-11-27T09:54:00Z", "2026-11-27T10:05:00Z"),
            ("@daily", None, "2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"),
            ("30 9 * * *", Some("Europe/Paris"), "2026-11-27T08:30:00Z", "2026-11-28T08:30:00Z"),
            // Day of the month or of the week.
            ("0 0 1 * FRI", None, "2026-11-27T00:00:00Z", "2026-12-01T00:00:00Z"),
        ] {
            let times = times(schedule, zone).expect("a rule");
            assert_eq!((times.newest(now), times.next(now)), (Some(at(newest)), Some(at(next))));
        }
    }

    #[test]
    fn a_rule_without_times_of_its_own_is_refused() {
        for (schedule, zone) in [
            ("@every 5m", None),
            ("* * * * * *", None),
            ("never", None),
            ("61 * * * *", None),
            ("* * * * *", Some("Mars/Base")),
        ] {
            times(schedule, zone).expect_err(schedule);
        }
        let never = times("0 0 31 2 *", None).expect("a rule");
        assert_eq!((never.newest(0), never.next(0)), (None, None));
    }
}
