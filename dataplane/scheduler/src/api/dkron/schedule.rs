//! The texts of schedules: `@at`, `@every`, `@manually`, cron with seconds first.

use orrery_api::scheduler::{After, AfterResult, When};

/// A job that runs when it is asked to, and at no other time.
pub(super) const MANUALLY: &str = "@manually";
/// A rule for it, which is suspended.
const NEVER: &str = "0 0 1 1 *";

/// The rule of a schedule, and whether it is to be suspended.
pub(super) fn rule(schedule: &str, time_zone: &str) -> (When, bool) {
    let text = schedule.trim();
    let mut when = When::default();
    if !time_zone.is_empty() {
        time_zone.clone_into(&mut when.time_zone);
    }
    if text.eq_ignore_ascii_case(MANUALLY) {
        when.cron = Some(NEVER.to_owned());
        return (when, true);
    }
    match text.split_once(' ') {
        Some(("@at", at)) => when.at = Some(at.trim().to_owned()),
        Some(("@every", every)) => when.every = Some(every.trim().to_owned()),
        // What is hashed by the name of the job has another sign there.
        _ => when.cron = Some(text.replace('~', "H")),
    }
    (when, false)
}

/// The rule of a job that runs after each run of its parent that succeeded.
pub(super) fn following(parent: String, time_zone: &str) -> When {
    let mut when = When::default();
    if !time_zone.is_empty() {
        time_zone.clone_into(&mut when.time_zone);
    }
    when.after = Some(After { schedule: parent, result: AfterResult::Succeeded });
    when
}

/// The schedule of a rule, where Dkron has a text for it; a job with a parent needs none.
pub(super) fn text(when: &When) -> String {
    if when.after.is_some() {
        return String::new();
    }
    if let Some(at) = &when.at {
        return format!("@at {at}");
    }
    if let Some(every) = &when.every {
        return format!("@every {every}");
    }
    when.cron.clone().unwrap_or_else(|| when.summary())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_rules_and_texts_again() {
        for schedule in ["@every 1m30s", "@at 2030-01-02T15:04:00Z", "0 30 * * * *", "@hourly"] {
            let (when, is_suspended) = rule(schedule, "");
            assert_eq!((text(&when).as_str(), is_suspended), (schedule, false));
        }
        let (when, is_suspended) = rule("@manually", "Europe/Berlin");
        assert_eq!((when.time_zone.as_str(), is_suspended), ("Europe/Berlin", true));
        assert_eq!(rule("~ ~ * * * *", "").0.cron.as_deref(), Some("H H * * * *"));
    }
}
