//! Recurrences and steps of the calendar in words.

use crate::civil::{DAY, LOCAL_END, local_text};
use crate::days::bits;
use crate::explain::words::{MONTHS, WEEKDAYS, joined, ordinal, runs};
use crate::explain::{days_words, duration_words, time_words};
use crate::fields::MONTHS_ALL;
use crate::recur::{Dates, DayTimes, Freq, Recur};
use crate::steps::Steps;

/// Single dates that are listed one by one.
const DATES_LISTED_MAX: usize = 3;

pub(crate) fn dates_words(dates: &Dates) -> String {
    let mut parts = Vec::new();
    if let Some(rule) = &dates.rule {
        parts.push(rule_words(rule));
    }
    if !dates.added.is_empty() {
        let also = if dates.rule.is_some() { "and " } else { "" };
        parts.push(format!("{also}{}", listed("at", &dates.added)));
    }
    if !dates.removed.is_empty() {
        let from: Vec<i64> = dates.removed.iter().map(|range| range.0).collect();
        parts.push(listed("except at", &from));
    }
    parts.join(", ")
}

fn listed(before: &str, at: &[i64]) -> String {
    if at.len() > DATES_LISTED_MAX {
        return format!("{before} {} single dates", at.len());
    }
    let texts: Vec<String> = at.iter().map(|at| local_text(*at)).collect();
    format!("{before} {}", joined(&texts, "and"))
}

/// `every 2 weeks`, `every day`.
fn period_words(freq: Freq, interval: u32) -> String {
    let unit = match freq {
        Freq::Secondly => "second",
        Freq::Minutely => "minute",
        Freq::Hourly => "hour",
        Freq::Daily => "day",
        Freq::Weekly => "week",
        Freq::Monthly => "month",
        Freq::Yearly => "year",
    };
    if interval == 1 { format!("every {unit}") } else { format!("every {interval} {unit}s") }
}

fn rule_words(rule: &Recur) -> String {
    let days = &rule.days;
    let mut words = vec![period_words(days.freq, days.interval)];
    match &rule.times {
        // The period says it already.
        DayTimes::Product(_) | DayTimes::Ticks(_) if days.freq < Freq::Daily => {}
        DayTimes::Product(times) | DayTimes::Ranked { times, .. } => {
            words.push(time_words(*times).0);
        }
        DayTimes::List(list) => words.push(format!("at {} times of the day", list.len())),
        DayTimes::Ticks(_) => {}
    }
    let plain = days_words(&days.plain);
    if days.nth.is_empty() {
        words.push(plain);
    } else {
        let scope = if days.freq == Freq::Yearly && days.months == MONTHS_ALL {
            "of the year"
        } else {
            "of the month"
        };
        let mut numbered: Vec<String> = Vec::new();
        for nth in &days.nth {
            let name = WEEKDAYS[nth.weekday as usize];
            let number = ordinal(u32::from(nth.nth.unsigned_abs()));
            let back = if nth.nth < 0 { " last" } else { "" };
            numbered.push(format!("the {number}{back} {name} {scope}"));
        }
        words.push(format!("on {}", joined(&numbered, "and")));
    }
    if !days.year_days.is_empty() {
        words.push(format!("on day {} of the year", numbers(days.year_days.values())));
    }
    if !days.weeks.is_empty() {
        words.push(format!("in week {}", numbers(days.weeks.values())));
    }
    if days.months != MONTHS_ALL {
        let months: Vec<u32> = bits(days.months.into()).collect();
        let names = runs(&months, |month| MONTHS[month as usize - 1].to_owned());
        words.push(format!("in {}", joined(&names, "and")));
    }
    if let DayTimes::Ranked { places, .. } = &rule.times {
        let places: Vec<i16> = places.iter().map(|place| *place as i16).collect();
        words.push(format!("(of these number {})", numbers(&places)));
    }
    words.push(format!("from {}", local_text(rule.start)));
    if rule.end < LOCAL_END {
        words.push(format!("until {}", local_text(rule.end - 1)));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn numbers(values: &[i16]) -> String {
    let texts: Vec<String> = values.iter().map(i16::to_string).collect();
    joined(&texts, "and")
}

pub(crate) fn steps_words(steps: &Steps) -> String {
    let mut parts = Vec::new();
    match steps.months {
        0 => {}
        1 => parts.push("month".to_owned()),
        months if months % 12 == 0 && months > 12 => parts.push(format!("{} years", months / 12)),
        12 => parts.push("year".to_owned()),
        months => parts.push(format!("{months} months")),
    }
    if steps.seconds > 0 {
        parts.push(duration_words(steps.seconds as u64));
    }
    let mut words = format!("every {} from {}", parts.join(" and "), local_text(steps.start));
    if steps.count < LOCAL_END / DAY {
        words = format!("{words}, {} times", steps.count);
    }
    words
}
