//! iCalendar text of a schedule (RFC 5545): an RRULE where one can say it, else a list of dates.
//!
//! A recurrence of iCalendar knows no choice for clock changes and no elapsed time in a zone, so
//! what would come out differently there is written as single instances instead.

use std::fmt::Write as _;

use crate::civil::{DAY, Date, LOCAL_END};
use crate::days::{DATES_ALL, Days, Join, WEEKDAYS_ALL, bits};
use crate::fields::{Fields, HOURS_ALL, MONTHS_ALL, SIXTY_ALL};
use crate::rule::Kind;
use crate::span::Span;
use crate::wall::LocalTimes;
use crate::{Occurrences, Seconds};

/// A line is folded before it has more bytes than that.
const LINE_BYTES_MAX: usize = 75;
/// Instances of a list.
pub const INSTANCES_MAX: usize = 1000;
const WEEKDAYS: [&str; 7] = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];

/// One schedule as an event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Stays the same for the schedule, for ever: `billing.prod@orrery`.
    pub uid: &'a str,
    /// What a calendar shows.
    pub summary: &'a str,
    pub occurrences: &'a Occurrences,
    /// When this text is made; instances are those after it.
    pub now: Seconds,
    /// How many instances a list has, up to [`INSTANCES_MAX`].
    pub instances: usize,
}

/// A calendar of these events.
pub fn calendar(events: &[Event<'_>]) -> String {
    let mut text = String::new();
    line(&mut text, "BEGIN:VCALENDAR");
    line(&mut text, "VERSION:2.0");
    line(&mut text, "PRODID:-//Orrery//Scheduler//EN");
    for event in events {
        text.push_str(&self::event(event));
    }
    line(&mut text, "END:VCALENDAR");
    text
}

/// One VEVENT; nothing when the schedule has no instance left.
pub fn event(event: &Event<'_>) -> String {
    let occurrences = event.occurrences;
    let Some(first) = occurrences.next_after(event.now) else { return String::new() };
    let mut text = String::new();
    line(&mut text, "BEGIN:VEVENT");
    line(&mut text, &format!("UID:{}", escaped(event.uid)));
    line(&mut text, &format!("DTSTAMP:{}", utc(event.now)));
    line(&mut text, &format!("SUMMARY:{}", escaped(event.summary)));
    line(&mut text, &format!("DESCRIPTION:{}", escaped(&occurrences.rule.explain())));
    if let Some(rule) = rule_text(occurrences) {
        let zone = occurrences.rule.zone();
        if rule.utc {
            line(&mut text, &format!("DTSTART:{}", utc(first)));
        } else {
            let local = local_text(zone.local(first));
            line(&mut text, &format!("DTSTART;TZID={}:{local}", zone.name()));
        }
        let until = occurrences.end.map_or_else(String::new, |end| format!(";UNTIL={}", utc(end)));
        line(&mut text, &format!("RRULE:{}{until}", rule.text));
    } else {
        line(&mut text, &format!("DTSTART:{}", utc(first)));
        let count = event.instances.clamp(1, INSTANCES_MAX) - 1;
        let dates: Vec<String> = occurrences.iter_after(first).take(count).map(utc).collect();
        if !dates.is_empty() {
            line(&mut text, &format!("RDATE:{}", dates.join(",")));
        }
    }
    line(&mut text, "END:VEVENT");
    text
}

/// An RRULE without DTSTART and UNTIL.
struct RuleText {
    text: String,
    /// Its DTSTART is in UTC.
    utc: bool,
}

/// The RRULE that has just the instances of the rule, if there is one.
fn rule_text(occurrences: &Occurrences) -> Option<RuleText> {
    if !occurrences.exclusions.is_empty() {
        return None;
    }
    let rule = &occurrences.rule;
    match &rule.kind {
        Kind::Span(span) => span_text(*span).map(|text| RuleText { text, utc: true }),
        Kind::Fields(fields) => {
            // Without a change of the clock no choice for it is made.
            let steady = rule.zone().segments().len() == 1;
            if !steady && is_touched(fields, rule.zone()) {
                return None;
            }
            fields_text(fields).map(|text| RuleText { text, utc: rule.zone().tzif().is_empty() })
        }
        _ => None,
    }
}

/// Whether any change of the zone's clock skips or repeats one of its local seconds.
fn is_touched(fields: &Fields, zone: &crate::Zone) -> bool {
    zone.segments().iter().skip(1).any(|segment| {
        let (a, b) = (segment.seen_to, segment.local_start());
        fields.first(a.min(b), a.max(b)).is_some()
    })
}

fn span_text(span: Span) -> Option<String> {
    if span.first == span.last || span.last + span.step < LOCAL_END {
        return None;
    }
    Some(match span.step {
        step if step % DAY == 0 => format!("FREQ=DAILY;INTERVAL={}", step / DAY),
        step if step % 3600 == 0 => format!("FREQ=HOURLY;INTERVAL={}", step / 3600),
        step if step % 60 == 0 => format!("FREQ=MINUTELY;INTERVAL={}", step / 60),
        step => format!("FREQ=SECONDLY;INTERVAL={step}"),
    })
}

fn fields_text(fields: &Fields) -> Option<String> {
    if fields.years.is_some() {
        return None;
    }
    let days = days_text(&fields.days)?;
    let times = fields.times;
    // Numbered weekdays belong to months.
    let numbered = fields.days.nth != 0 || fields.days.last_weekdays != 0;
    let freq = match (times.hours == HOURS_ALL, times.minutes == SIXTY_ALL) {
        _ if numbered => "MONTHLY",
        (true, true) if times.seconds == SIXTY_ALL => "SECONDLY",
        (true, true) => "MINUTELY",
        (true, false) => "HOURLY",
        (false, _) => "DAILY",
    };
    let mut text = format!("FREQ={freq}");
    let mut part = |name: &str, set: u64, all: u64| {
        if set != all || freq == "MONTHLY" || freq == "DAILY" {
            let values: Vec<String> = bits(set).map(|value| value.to_string()).collect();
            let _ = write!(text, ";{name}={}", values.join(","));
        }
    };
    part("BYHOUR", times.hours.into(), HOURS_ALL.into());
    part("BYMINUTE", times.minutes, SIXTY_ALL);
    part("BYSECOND", times.seconds, SIXTY_ALL);
    if fields.months != MONTHS_ALL {
        let values: Vec<String> = bits(fields.months.into()).map(|m| m.to_string()).collect();
        let _ = write!(text, ";BYMONTH={}", values.join(","));
    }
    text.push_str(&days);
    Some(text)
}

/// BYMONTHDAY and BYDAY; none for what an RRULE cannot say.
fn days_text(days: &Days) -> Option<String> {
    let all_weekdays = days.weekdays == WEEKDAYS_ALL;
    let all_dates = days.dates == DATES_ALL;
    if days.nearest != 0 || days.last_nearest != 0 {
        return None;
    }
    if days.join == Join::Either && !all_weekdays && !all_dates {
        return None;
    }
    let mut text = String::new();
    if !all_dates {
        let from_start = bits(days.dates.into()).map(|date| date.to_string());
        let from_end = bits(days.last.into()).map(|back| format!("-{}", back + 1));
        let values: Vec<String> = from_start.chain(from_end).collect();
        let _ = write!(text, ";BYMONTHDAY={}", values.join(","));
    }
    if !all_weekdays {
        let plain = bits(days.weekdays.into()).map(|day| WEEKDAYS[day as usize].to_owned());
        let nth =
            bits(days.nth).map(|bit| format!("{}{}", bit % 5 + 1, WEEKDAYS[bit as usize / 5]));
        let last =
            bits(days.last_weekdays.into()).map(|day| format!("-1{}", WEEKDAYS[day as usize]));
        let values: Vec<String> = plain.chain(nth).chain(last).collect();
        let _ = write!(text, ";BYDAY={}", values.join(","));
    }
    Some(text)
}

/// `20270101T090000`.
fn local_text(local: i64) -> String {
    let Date { year, month, day } = Date::of_days(local.div_euclid(DAY).max(0) as u32);
    let second = local.rem_euclid(DAY);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{:02}", second % 60)
}

fn utc(at: Seconds) -> String {
    format!("{}Z", local_text(at))
}

/// TEXT values: backslashes, semicolons, commas and line ends (section 3.3.11).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | ';' | ',' => {
                escaped.push('\\');
                escaped.push(character);
            }
            '\n' => escaped.push_str("\\n"),
            character if character.is_control() => {}
            character => escaped.push(character),
        }
    }
    escaped
}

/// A content line, folded between characters (section 3.1).
fn line(text: &mut String, content: &str) {
    let mut bytes = 0;
    for character in content.chars() {
        if bytes + character.len_utf8() > LINE_BYTES_MAX {
            text.push_str("\r\n ");
            bytes = 1;
        }
        text.push(character);
        bytes += character.len_utf8();
    }
    text.push_str("\r\n");
}
