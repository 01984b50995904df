//! Forms of cloud schedulers: `cron(…)`, `rate(5 minutes)`, `at(2027-01-01T00:00:00)`.

use crate::cron::{Hash, Word, check_days, words};
use crate::days::Days;
use crate::fields::{Fields, Times};
use crate::rrule::moment::{Moment, moment};
use crate::rule::Kind;
use crate::span::Span;
use crate::{Dialect, RuleError, Zone, cron};

/// The form's name and what is inside its parentheses, if it is one.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('(')?;
    let inside = rest.strip_suffix(')')?;
    let known = ["cron", "rate", "at"].iter().any(|form| name.eq_ignore_ascii_case(form));
    known.then_some((name, inside))
}

/// Compiles a form; `inside` begins at byte `at` of the text.
pub(crate) fn parse(
    name: &str,
    inside: &str,
    at: usize,
    zone: &Zone,
    hash: &Hash<'_>,
) -> Result<Kind, RuleError> {
    match name.to_ascii_lowercase().as_str() {
        "cron" => six_fields(inside, hash).map(Kind::Fields),
        "rate" => rate(inside),
        _ => once(inside, zone),
    }
    .map_err(|error| error.shifted(at))
}

/// Minutes first, year last, Sunday is 1.
fn six_fields(text: &str, hash: &Hash<'_>) -> Result<Fields, RuleError> {
    let words = words(text);
    let [minute, hour, date, month, weekday, year] = words[..] else {
        let message = format!("{} fields, where 6 (minute first, year last) belong", words.len());
        return Err(RuleError::syntax("text", text.trim_end().len(), message));
    };
    check_days(date, weekday)?;
    let second = Word { text: "0", at: 0 };
    cron::assemble([second, minute, hour, date, month, weekday, year], Dialect::Quartz, hash)
}

/// `5 minutes`: elapsed time.
fn rate(text: &str) -> Result<Kind, RuleError> {
    let words = words(text);
    let [number, unit] = words[..] else {
        let message = "a rate such as `5 minutes` belongs here";
        return Err(RuleError::syntax("rate", 0, message));
    };
    let seconds = match unit.text.to_ascii_lowercase().trim_end_matches('s') {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => {
            let message = "seconds, minutes, hours and days are known";
            return Err(RuleError::syntax("rate", unit.at, message));
        }
    };
    let count: Option<u32> = number.text.parse().ok().filter(|count| *count > 0);
    let span = count.and_then(|count| Span::in_phase(i64::from(count) * seconds, 0));
    let message = "a number from 1 on belongs here";
    span.map(Kind::Span).ok_or_else(|| RuleError::syntax("rate", number.at, message))
}

/// One run, at a moment of the rule's clock.
fn once(text: &str, zone: &Zone) -> Result<Kind, RuleError> {
    let local = match moment("at", text, 0)? {
        Moment::Utc(utc) => {
            let never = || RuleError::never("the moment lies outside of the years 1970 to 2199");
            return Span::bounded(1, utc, utc).map(Kind::Span).ok_or_else(never);
        }
        other => other.local(zone),
    };
    Ok(Kind::Fields(single(local)))
}

/// The fields that match this local second alone.
pub(crate) fn single(local: i64) -> Fields {
    let (day, second) = ((local / 86_400) as u32, (local % 86_400) as u32);
    let date = crate::civil::Date::of_days(day);
    let mut years = cron::Set::empty();
    years.insert(date.year - crate::civil::YEAR_MIN);
    Fields {
        times: Times {
            seconds: 1 << (second % 60),
            minutes: 1 << (second / 60 % 60),
            hours: 1 << (second / 3600),
        },
        months: 1 << date.month,
        days: Days { dates: 1 << date.day, ..Days::ALL },
        years: years.years(),
        by_the_clock: false,
    }
}
