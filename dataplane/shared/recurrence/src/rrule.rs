//! Texts of RFC 5545 recurrences: `FREQ=…`, or lines of DTSTART, RRULE, RDATE and EXDATE.

mod build;
pub(crate) mod moment;
pub(crate) mod parts;

use crate::civil::{DAY, LOCAL_END};
use crate::error::check_text;
use crate::recur::{Dates, Freq, Recur};
use crate::wall::LocalTimes;
use crate::{RuleError, Seconds, Zone};

use moment::{Moment, moment};
use parts::Parts;

/// The zone that a DTSTART of the text names.
pub(crate) fn zone_of(text: &str) -> Option<&str> {
    let begin = text.find("DTSTART;TZID=")? + "DTSTART;TZID=".len();
    let end = text[begin..].find([':', ';']).map(|at| begin + at)?;
    Some(&text[begin..end])
}

/// Compiles the text; `start` is DTSTART when it has none.
pub(crate) fn parse(text: &str, start: Seconds, zone: &Zone) -> Result<Dates, RuleError> {
    check_text(text, "text")?;
    let mut rule: Option<Parts> = None;
    let mut begin: Option<i64> = None;
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    let mut at = 0;
    for line in text.split('\n') {
        let (line_at, entry) = (at + line.len() - line.trim_start().len(), line.trim());
        at += line.len() + 1;
        if entry.is_empty() {
            continue;
        }
        let (head, value) = entry.split_once(':').unwrap_or(("RRULE", entry));
        let value_at = line_at + entry.len() - value.len();
        let (name, attributes) = head.split_once(';').unwrap_or((head, ""));
        match name.to_ascii_uppercase().as_str() {
            "RRULE" if rule.is_some() => {
                return Err(RuleError::syntax("RRULE", line_at, "one RRULE is the most"));
            }
            "RRULE" => rule = Some(parts::parse(value, value_at)?),
            "DTSTART" => {
                check_zone(attributes, zone, line_at)?;
                begin = Some(moment("DTSTART", value, value_at)?.local(zone));
            }
            "RDATE" => {
                check_zone(attributes, zone, line_at)?;
                added.extend(dates("RDATE", value, value_at)?);
            }
            "EXDATE" => {
                check_zone(attributes, zone, line_at)?;
                removed.extend(dates("EXDATE", value, value_at)?);
            }
            _ => {
                let message = "DTSTART, RRULE, RDATE and EXDATE are known";
                return Err(RuleError::syntax("text", line_at, message));
            }
        }
    }
    let begin = begin.unwrap_or_else(|| zone.local(start.clamp(-DAY, LOCAL_END + DAY)));
    if !(0..LOCAL_END).contains(&begin) {
        return Err(RuleError::never("DTSTART lies outside of the years 1970 to 2199"));
    }
    if rule.is_none() && added.is_empty() {
        return Err(RuleError::syntax("RRULE", 0, "a recurrence needs an RRULE or an RDATE"));
    }
    let rule = rule.map(|parts| build::build(&parts, begin, zone)).transpose()?;
    // A day alone is at the time of DTSTART when it is added, and whole when it is taken away.
    let added = added.into_iter().map(|moment| match moment {
        Moment::Day(day) => i64::from(day) * DAY + begin % DAY,
        other => other.local(zone),
    });
    let removed = removed.into_iter().map(|moment| {
        let from = moment.local(zone);
        (from, from + if matches!(moment, Moment::Day(_)) { DAY } else { 1 })
    });
    let all = Dates::new(rule, added.collect(), removed.collect());
    if all.first(0, LOCAL_END).is_none() {
        return Err(RuleError::never("no instance of it lies in the years 1970 to 2199"));
    }
    Ok(all)
}

/// A recurrence of whole days, for lists of holidays; it begins in 1970 unless it says otherwise.
pub(crate) fn parse_days(text: &str) -> Result<Recur, RuleError> {
    check_text(text, "RRULE")?;
    let parts = parts::parse(text, 0)?;
    if parts.freq < Some(Freq::Daily) {
        return Err(RuleError::syntax("FREQ", 0, "whole days recur daily or more rarely"));
    }
    if [&parts.hours, &parts.minutes, &parts.seconds].iter().any(|list| !list.is_empty()) {
        return Err(RuleError::syntax("RRULE", 0, "whole days have no BYHOUR and finer parts"));
    }
    build::build(&parts, 0, &Zone::utc())
}

/// Refuses a TZID that is not the zone the rule is compiled in.
fn check_zone(attributes: &str, zone: &Zone, at: usize) -> Result<(), RuleError> {
    for attribute in attributes.split(';').filter(|attribute| !attribute.is_empty()) {
        let (name, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        match name.to_ascii_uppercase().as_str() {
            "TZID" if value.eq_ignore_ascii_case(zone.name()) => {}
            "TZID" => {
                let name = zone.name();
                let message = format!("TZID is `{value}`, but the rule's zone is `{name}`");
                return Err(RuleError::syntax("TZID", at, message));
            }
            "VALUE" if ["DATE", "DATE-TIME"].contains(&value) => {}
            _ => {
                let message = format!("unknown attribute `{attribute}`");
                return Err(RuleError::syntax("text", at, message));
            }
        }
    }
    Ok(())
}

fn dates(field: &'static str, value: &str, at: usize) -> Result<Vec<Moment>, RuleError> {
    let mut place = at;
    let mut all = Vec::new();
    for item in value.split(',') {
        all.push(moment(field, item, place)?);
        place += item.len() + 1;
    }
    Ok(all)
}
