//! A rule in words. Made from what the rule means, not from its text, so that it tells the truth.

mod recur;
mod words;

use crate::Zone;
use crate::civil::{LOCAL_END, YEAR_MAX, YEAR_MIN, local_text};
use crate::days::{DATES_ALL, Days, Join, WEEKDAYS_ALL, bits};
use crate::fields::{Fields, HOURS_ALL, MONTHS_ALL, Times};
use crate::rule::{Kind, Rule};
use crate::span::Span;
use crate::wall::LocalTimes;

use words::{MONTHS, WEEKDAYS, joined, ordinal, runs, step_of, weekdays};

/// Times of a day that are listed one by one.
const TIMES_LISTED_MAX: u32 = 6;

impl Rule {
    /// The rule in words, such as `at 07:00 on Monday to Friday, Paris time`.
    pub fn explain(&self) -> String {
        let zone = zone_words(&self.zone);
        match &self.kind {
            Kind::Span(span) => span_words(*span),
            Kind::Fields(fields) if self.is_once() => {
                let moment = fields.first(0, LOCAL_END).map_or_else(String::new, local_text);
                format!("once at {moment}, {zone}")
            }
            Kind::Fields(fields) => format!("{}, {zone}", fields_words(fields)),
            Kind::Union(union) => {
                let parts: Vec<String> = union.parts().iter().map(fields_words).collect();
                format!("{}, {zone}", parts.join("; and "))
            }
            Kind::Dates(dates) => format!("{}, {zone}", recur::dates_words(dates)),
            Kind::Steps(steps) => format!("{}, {zone}", recur::steps_words(steps)),
        }
    }
}

/// `Paris time`, `UTC`, `UTC+05:30`.
fn zone_words(zone: &Zone) -> String {
    let name = zone.name();
    if name.starts_with(['+', '-']) {
        return format!("UTC{name}");
    }
    if zone.segments().len() == 1 && zone.tzif().is_empty() {
        return name.to_owned();
    }
    format!("{} time", name.rsplit('/').next().unwrap_or(name).replace('_', " "))
}

fn span_words(span: Span) -> String {
    let moment = |at| format!("{}Z", local_text(at));
    if span.first == span.last {
        return format!("once at {}", moment(span.first));
    }
    let mut words = format!("every {}", duration_words(span.step as u64));
    if span.first >= span.step {
        words = format!("{words} from {}", moment(span.first));
    }
    if span.last + span.step < LOCAL_END {
        words = format!("{words} until {}", moment(span.last));
    }
    words
}

/// `1 hour 30 minutes`.
pub(crate) fn duration_words(seconds: u64) -> String {
    let units =
        [("day", 86_400, u64::MAX), ("hour", 3600, 24), ("minute", 60, 60), ("second", 1, 60)];
    let mut parts = Vec::new();
    for (unit, size, wrap) in units {
        let count = seconds / size % wrap;
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!("{count} {unit}{plural}"));
        }
    }
    match parts.as_slice() {
        // `every hour`, not `every 1 hour`.
        [one] if one.starts_with("1 ") => one[2..].to_owned(),
        _ => parts.join(" "),
    }
}

pub(crate) fn fields_words(fields: &Fields) -> String {
    let days = days_words(&fields.days);
    let (time, listed) = time_words(fields.times);
    let mut words = time;
    match (days.is_empty(), listed) {
        (true, true) => words.push_str(" every day"),
        (true, false) => {}
        (false, _) => words = format!("{words} {days}"),
    }
    if fields.months != MONTHS_ALL {
        let months: Vec<u32> = bits(fields.months.into()).collect();
        let names = runs(&months, |month| MONTHS[month as usize - 1].to_owned());
        words = format!("{words} in {}", joined(&names, "and"));
    }
    if let Some(years) = &fields.years {
        let values: Vec<u32> = (YEAR_MIN..=YEAR_MAX)
            .filter(|year| {
                years[((year - YEAR_MIN) / 64) as usize] >> ((year - YEAR_MIN) % 64) & 1 != 0
            })
            .collect();
        let mut parts = runs(&values, |year| year.to_string());
        if parts.len() > 8 {
            parts.truncate(8);
            parts.push("more".to_owned());
        }
        words = format!("{words} of {}", joined(&parts, "and"));
    }
    words
}

/// Times of the day, and whether they are listed one by one.
fn time_words(times: Times) -> (String, bool) {
    let Times { seconds, minutes, hours } = times;
    let counts = [seconds.count_ones(), minutes.count_ones(), hours.count_ones()];
    if counts.iter().product::<u32>() <= TIMES_LISTED_MAX {
        let mut all = Vec::new();
        let mut next = times.first_from(0);
        while let Some(time) = next {
            all.push(clock(time));
            next = if time < 86_399 { times.first_from(time + 1) } else { None };
        }
        return (format!("at {}", joined(&all, "and")), true);
    }
    let hourly = hours == HOURS_ALL;
    let in_hours = hours_words(hours);
    if counts[0] == 60 && counts[1] == 60 {
        return (format!("every second{in_hours}"), false);
    }
    if counts[0] == 1 && seconds == 1 {
        let words = match step_of(minutes, 60) {
            Some((0, 1)) => format!("every minute{in_hours}"),
            Some((0, step)) if 60 % step == 0 => format!("every {step} minutes{in_hours}"),
            _ if hourly && counts[1] == 1 && minutes == 1 => "every hour".to_owned(),
            _ => format!("at {}{}", numbers("minute", minutes, 60), of_hours(hours)),
        };
        return (words, false);
    }
    let words = match (step_of(seconds, 60), counts[1]) {
        (Some((0, step)), 60) if 60 % step == 0 => format!("every {step} seconds{in_hours}"),
        (_, 60) => format!("at {} of every minute{in_hours}", numbers("second", seconds, 60)),
        _ => {
            let (second, minute) = (numbers("second", seconds, 60), numbers("minute", minutes, 60));
            format!("at {second} of {minute}{}", of_hours(hours))
        }
    };
    (words, false)
}

/// `07:00`, `07:00:30`.
fn clock(time: u32) -> String {
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    if second == 0 {
        format!("{hour:02}:{minute:02}")
    } else {
        format!("{hour:02}:{minute:02}:{second:02}")
    }
}

/// `minute 5`, `minutes 5 and 10`, `every 7th minute`.
fn numbers(unit: &str, set: u64, size: u32) -> String {
    if set.count_ones() == size {
        return format!("every {unit}");
    }
    match step_of(set, size) {
        Some((first, step)) if step > 1 => {
            format!("every {} {unit} from {unit} {first}", ordinal(step))
        }
        _ => {
            let values: Vec<u32> = bits(set).collect();
            let plural = if values.len() == 1 { "" } else { "s" };
            format!("{unit}{plural} {}", joined(&runs(&values, |value| value.to_string()), "and"))
        }
    }
}

fn hours_words(hours: u32) -> String {
    let values: Vec<u32> = bits(hours.into()).collect();
    match values.len() {
        24 => String::new(),
        _ if values.windows(2).all(|pair| pair[1] == pair[0] + 1) => {
            format!(" from {:02}:00 to {:02}:59", values[0], values[values.len() - 1])
        }
        _ => format!(" of {}", numbers("hour", hours.into(), 24)),
    }
}

fn of_hours(hours: u32) -> String {
    format!(" of {}", numbers("hour", hours.into(), 24))
}

/// `on the 1st and the last day`; empty when it is every day.
fn days_words(days: &Days) -> String {
    let dates = if days.dates == DATES_ALL { String::new() } else { dates_words(days) };
    // “The 13th if that is Friday or Saturday.”
    let and = if days.join == Join::Both && !dates.is_empty() { "or" } else { "and" };
    let weekdays =
        if days.weekdays == WEEKDAYS_ALL { String::new() } else { weekday_words(days, and) };
    match (dates.is_empty(), weekdays.is_empty(), days.join) {
        (true, true, _) => String::new(),
        (false, true, _) => format!("on {dates}"),
        (true, false, _) => format!("on {weekdays}"),
        (false, false, Join::Either) => format!("on {dates} or on {weekdays}"),
        (false, false, Join::Both) => format!("on {dates} if that is {weekdays}"),
    }
}

fn dates_words(days: &Days) -> String {
    let values: Vec<u32> = bits(days.dates.into()).collect();
    let mut parts: Vec<String> = match step_of(u64::from(days.dates) >> 1, 31) {
        Some((first, step)) if step > 1 => {
            vec![format!("every {} day from the {}", ordinal(step), ordinal(first + 1))]
        }
        _ => runs(&values, ordinal).into_iter().map(|run| format!("the {run}")).collect(),
    };
    for back in bits(days.last.into()) {
        parts.push(match back {
            0 => "the last day".to_owned(),
            1 => "the day before the last".to_owned(),
            back => format!("the {} day before the last", ordinal(back)),
        });
    }
    for date in bits(days.nearest.into()) {
        parts.push(format!("the weekday nearest to the {}", ordinal(date)));
    }
    for back in bits(days.last_nearest.into()) {
        parts.push(match back {
            0 => "the last weekday".to_owned(),
            back => format!("the weekday nearest to {back} days before the last"),
        });
    }
    joined(&parts, "and")
}

fn weekday_words(days: &Days, and: &str) -> String {
    const NTH: [&str; 5] = ["first", "second", "third", "fourth", "fifth"];
    let mut parts = weekdays(days.weekdays);
    for bit in bits(days.nth) {
        let name = WEEKDAYS[bit as usize / 5];
        parts.push(format!("the {} {name}", NTH[bit as usize % 5]));
    }
    for bit in bits(days.last_weekdays.into()) {
        parts.push(format!("the last {}", WEEKDAYS[bit as usize]));
    }
    joined(&parts, and)
}
