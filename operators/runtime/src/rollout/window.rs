//! Maintenance windows: when restarts that nobody asked for may happen.
//!
//! A window opens at every instant of its cron expression (five fields, civil time of its zone) and
//! stays open for its duration of real time; across a change to daylight saving time the opening
//! follows the wall clock.
//!
//! Must not: read a clock.

use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use orrery_api::spec::MaintenanceWindow;

/// A window that can never open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("window {window}: {schedule:?} is no cron expression of five fields: {why}")]
    Schedule { window: String, schedule: String, why: String },
    #[error(
        "window {window}: there is no time zone {zone:?}; use an IANA name such as Europe/Paris"
    )]
    Zone { window: String, zone: String },
}

/// Refuses the first window that cannot be understood.
pub fn check(windows: &[MaintenanceWindow]) -> Result<(), WindowError> {
    windows.iter().try_for_each(|window| parse(window).map(|_| ()))
}

/// Whether one of the windows is open. Without windows it always is.
pub fn is_open(windows: &[MaintenanceWindow], now: Timestamp) -> Result<bool, WindowError> {
    if windows.is_empty() {
        return Ok(true);
    }
    for window in windows {
        let (cron, zone) = parse(window)?;
        let here: Zoned = now.to_zoned(zone);
        let Ok(opened) = cron.find_previous_occurrence(&here, true) else { continue };
        let open_for = Duration::from_secs(window.duration_seconds.max(0) as u64);
        if now.duration_since(opened.timestamp()).unsigned_abs() < open_for {
            return Ok(true);
        }
    }
    Ok(false)
}

fn parse(window: &MaintenanceWindow) -> Result<(Cron, TimeZone), WindowError> {
    let schedule = |why: String| WindowError::Schedule {
        window: window.name.clone(),
        schedule: window.schedule.clone(),
        why,
    };
    let fields = window.schedule.split_whitespace().count();
    if fields != 5 {
        return Err(schedule(format!("it has {fields} fields")));
    }
    let cron = Cron::from_str(&window.schedule).map_err(|error| schedule(error.to_string()))?;
    let zone = TimeZone::get(&window.time_zone).map_err(|_| WindowError::Zone {
        window: window.name.clone(),
        zone: window.time_zone.clone(),
    })?;
    Ok((cron, zone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(schedule: &str, zone: &str, duration_seconds: i32) -> MaintenanceWindow {
        MaintenanceWindow {
            name: "night".into(),
            schedule: schedule.into(),
            time_zone: zone.into(),
            duration_seconds,
        }
    }

    fn open(window: &MaintenanceWindow, at: &str) -> bool {
        is_open(std::slice::from_ref(window), at.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_window_is_open_for_its_duration_and_no_longer() {
        let sunday = window("0 2 * * SUN", "UTC", 7200);
        assert!(!open(&sunday, "2026-11-29T01:59:59Z"));
        assert!(open(&sunday, "2026-11-29T02:00:00Z"));
        assert!(open(&sunday, "2026-11-29T03:59:59Z"));
        assert!(!open(&sunday, "2026-11-29T04:00:00Z"));
        assert!(!open(&sunday, "2026-11-30T02:30:00Z"), "a Monday");
    }

    #[test]
    fn the_opening_follows_the_wall_clock_of_the_zone() {
        let night = window("30 3 * * *", "Europe/Paris", 3600);
        assert!(open(&night, "2026-07-01T01:45:00Z"), "summer time is two hours ahead");
        assert!(!open(&night, "2026-12-01T01:45:00Z"));
        assert!(open(&night, "2026-12-01T02:45:00Z"), "winter time is one hour ahead");
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        let cases = [
            (window("0 2 * * SUN *", "UTC", 60), "6 fields"),
            (window("61 2 * * *", "UTC", 60), "no cron expression"),
            (window("0 2 * * *", "Mars/Olympus", 60), "no time zone \"Mars/Olympus\""),
        ];
        for (window, part) in cases {
            let error = check(&[window]).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("night"), "{error}");
        }
        assert!(is_open(&[], Timestamp::UNIX_EPOCH).unwrap());
    }
}
