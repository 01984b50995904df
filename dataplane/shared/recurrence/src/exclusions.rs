//! Days on which nothing runs, and what is left of a rule without them.

use crate::civil::{DAY, DAYS_END, Date, YEAR_MAX, YEAR_MIN};
use crate::recur::Recur;
use crate::wall::LocalTimes;
use crate::{RuleError, Seconds, Zone, rrule};

/// Lists of holidays have hundreds of lines.
const LINES_MAX: usize = 10_000;
/// Recurrences are looked at day by day.
const RECURRENCES_MAX: usize = 64;
/// More text than that is not a calendar.
const BYTES_MAX: usize = 1024 * 1024;

/// Civil days, in the zone of the rule they are applied to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Exclusions {
    /// Day numbers `from..to`, sorted and apart from each other.
    runs: Vec<(u32, u32)>,
    /// Of every year: bits 1 to 31 for each month 1 to 12.
    yearly: [u32; 13],
    /// Recurrences of whole days.
    recurring: Vec<Recur>,
}

impl Exclusions {
    /// One entry a line: `2027-12-25`, `2027-12-24..2027-12-26`, `12-25` (every year) or an
    /// `RRULE:` of whole days; `#` begins a comment.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.len() > BYTES_MAX {
            return Err(RuleError::TooLong { bytes: text.len(), bytes_max: BYTES_MAX });
        }
        let mut all = Self::none();
        let mut at = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if number == LINES_MAX {
                let message = format!("{LINES_MAX} lines are the most");
                return Err(RuleError::syntax("exclusions", at, message));
            }
            let entry = line.split('#').next().unwrap_or_default();
            let blank = entry.len() - entry.trim_start().len();
            if !entry.trim().is_empty() {
                all.add(entry.trim()).map_err(|error| error.shifted(at + blank))?;
            }
            at += line.len();
        }
        all.sort();
        Ok(all)
    }

    /// No day at all.
    pub fn none() -> Self {
        Self { runs: Vec::new(), yearly: [0; 13], recurring: Vec::new() }
    }

    /// Whether it excludes nothing.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.yearly == [0; 13] && self.recurring.is_empty()
    }

    /// Every day that any of them excludes.
    pub fn merged(all: &[&Self]) -> Self {
        let mut merged = Self::none();
        for one in all {
            merged.runs.extend_from_slice(&one.runs);
            merged.recurring.extend_from_slice(&one.recurring);
            for (mine, theirs) in merged.yearly.iter_mut().zip(one.yearly) {
                *mine |= theirs;
            }
        }
        merged.sort();
        merged
    }

    /// Whether an instant is on an excluded day of the zone's calendar.
    pub fn excludes(&self, zone: &Zone, at: Seconds) -> bool {
        !self.is_empty() && self.has(day_of(zone.local(at)))
    }

    fn add(&mut self, entry: &str) -> Result<(), RuleError> {
        if let Some(rule) = entry.strip_prefix("RRULE:") {
            if self.recurring.len() == RECURRENCES_MAX {
                let message = format!("{RECURRENCES_MAX} recurrences are the most");
                return Err(RuleError::syntax("RRULE", 0, message));
            }
            let rule = rrule::parse_days(rule).map_err(|error| error.shifted("RRULE:".len()))?;
            self.recurring.push(rule);
        } else if let Some((first, last)) = entry.split_once("..") {
            let from = date(first.trim_end())?;
            let after = entry.len() - last.trim_start().len();
            let to = date(last.trim_start()).map_err(|error| error.shifted(after))?;
            if from > to {
                return Err(RuleError::syntax("date", after, "the range ends before it begins"));
            }
            self.runs.push((from, to + 1));
        } else if entry.len() == 5 {
            let (month, day) = month_and_day(entry).ok_or_else(|| no_date(0))?;
            self.yearly[month as usize] |= 1 << day;
        } else {
            let day = date(entry)?;
            self.runs.push((day, day + 1));
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.runs.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(self.runs.len());
        for &(from, to) in &self.runs {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        self.runs = joined;
    }

    /// Whether this day is excluded.
    fn has(&self, day: u32) -> bool {
        self.run_of(day).is_some() || self.has_single(day)
    }

    /// A later day until which, it not included, every day from this one on is excluded.
    pub(crate) fn excluded_until(&self, day: u32) -> Option<u32> {
        let run = self.run_of(day).map(|run| run.1);
        run.or_else(|| (day < DAYS_END && self.has_single(day)).then_some(day + 1))
    }

    /// A day from which on, it included, every day up to this one is excluded.
    pub(crate) fn excluded_from(&self, day: u32) -> Option<u32> {
        let run = self.run_of(day).map(|run| run.0);
        run.or_else(|| self.has_single(day).then_some(day))
    }

    fn run_of(&self, day: u32) -> Option<(u32, u32)> {
        let after = self.runs.partition_point(|run| run.0 <= day);
        let run = *self.runs.get(after.checked_sub(1)?)?;
        (day < run.1).then_some(run)
    }

    /// Whether it is one of every year or of a recurrence.
    fn has_single(&self, day: u32) -> bool {
        let Date { month, day: date, .. } = Date::of_days(day);
        self.yearly[month as usize] >> date & 1 != 0 || {
            let (from, to) = (i64::from(day) * DAY, i64::from(day + 1) * DAY);
            self.recurring.iter().any(|rule| rule.first(from, to).is_some())
        }
    }
}

/// Day number of a local second of the range.
pub(crate) fn day_of(local: i64) -> u32 {
    local.div_euclid(DAY).clamp(0, i64::from(DAYS_END)) as u32
}

fn no_date(at: usize) -> RuleError {
    RuleError::syntax("date", at, "a day such as `2027-12-25` or `12-25` belongs here")
}

/// `12-25`; the 29th of February is one.
fn month_and_day(text: &str) -> Option<(u32, u32)> {
    let (month, day) = text.split_once('-')?;
    let (month, day) = (digits(month, 2)?, digits(day, 2)?);
    Date::checked(2000, month, day).map(|_| (month, day))
}

fn digits(text: &str, length: usize) -> Option<u32> {
    (text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// Day number of `2027-12-25`.
fn date(text: &str) -> Result<u32, RuleError> {
    let parts = text.split_once('-').and_then(|(year, rest)| {
        let (month, day) = rest.split_once('-')?;
        Some((digits(year, 4)?, digits(month, 2)?, digits(day, 2)?))
    });
    let (year, month, day) = parts.ok_or_else(|| no_date(0))?;
    if !(YEAR_MIN..=YEAR_MAX).contains(&year) {
        return Err(RuleError::syntax("date", 0, "the year is outside of 1970 to 2199"));
    }
    let date = Date::checked(year, month, day)
        .ok_or_else(|| RuleError::syntax("date", 0, "there is no such day"))?;
    Ok(date.days())
}
