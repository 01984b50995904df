//! The parts of an RRULE: names, lists, bounds, and which of them may meet.

use crate::RuleError;
use crate::recur::Freq;
use crate::rrule::moment::{Moment, moment};

const WEEKDAYS: [&str; 7] = ["SU", "MO", "TU", "WE", "TH", "FR", "SA"];

/// What an RRULE says, value by value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub freq: Option<Freq>,
    pub interval: u32,
    pub count: Option<u64>,
    pub until: Option<Moment>,
    pub seconds: Vec<i16>,
    pub minutes: Vec<i16>,
    pub hours: Vec<i16>,
    /// Weekday, 0 = Sunday, and its number; 0 is every one.
    pub weekdays: Vec<(u32, i16)>,
    pub month_days: Vec<i16>,
    pub year_days: Vec<i16>,
    pub weeks: Vec<i16>,
    pub months: Vec<i16>,
    pub places: Vec<i16>,
    pub week_start: Option<u32>,
}

/// Reads `FREQ=…;INTERVAL=…`, which begins at byte `at`.
pub(crate) fn parse(text: &str, at: usize) -> Result<Parts, RuleError> {
    let mut parts = Parts { interval: 1, ..Parts::default() };
    let mut place = at;
    let mut seen: Vec<String> = Vec::new();
    for part in text.split(';') {
        let begin = place;
        place += part.len() + 1;
        if part.trim().is_empty() {
            continue;
        }
        let Some((name, value)) = part.split_once('=') else {
            return Err(RuleError::syntax("RRULE", begin, "`NAME=value` belongs here"));
        };
        let name = name.trim().to_ascii_uppercase();
        if seen.contains(&name) {
            return Err(RuleError::syntax("RRULE", begin, format!("{name} is given twice")));
        }
        let value_at = begin + part.len() - value.len();
        parts.set(&name, value, begin, value_at)?;
        seen.push(name);
    }
    let Some(freq) = parts.freq else {
        return Err(RuleError::syntax("FREQ", at, "a recurrence needs FREQ"));
    };
    if parts.count.is_some() && parts.until.is_some() {
        return Err(RuleError::syntax("COUNT", at, "COUNT and UNTIL exclude each other"));
    }
    parts.check(freq, at)?;
    Ok(parts)
}

impl Parts {
    fn set(&mut self, name: &str, value: &str, begin: usize, at: usize) -> Result<(), RuleError> {
        match name {
            "FREQ" => self.freq = Some(freq(value, at)?),
            "INTERVAL" => {
                let interval = number("INTERVAL", value, at)?;
                if !(1..=1_000_000_000).contains(&interval) {
                    let message = "an interval is 1 to 1000000000";
                    return Err(RuleError::syntax("INTERVAL", at, message));
                }
                self.interval = interval as u32;
            }
            "COUNT" => {
                let count = number("COUNT", value, at)?;
                if count < 1 {
                    return Err(RuleError::syntax("COUNT", at, "a count is at least 1"));
                }
                self.count = Some(count as u64);
            }
            "UNTIL" => self.until = Some(moment("UNTIL", value, at)?),
            "BYSECOND" => self.seconds = list("BYSECOND", value, at, 0, 59, false)?,
            "BYMINUTE" => self.minutes = list("BYMINUTE", value, at, 0, 59, false)?,
            "BYHOUR" => self.hours = list("BYHOUR", value, at, 0, 23, false)?,
            "BYDAY" => self.weekdays = weekdays(value, at)?,
            "BYMONTHDAY" => self.month_days = list("BYMONTHDAY", value, at, 1, 31, true)?,
            "BYYEARDAY" => self.year_days = list("BYYEARDAY", value, at, 1, 366, true)?,
            "BYWEEKNO" => self.weeks = list("BYWEEKNO", value, at, 1, 53, true)?,
            "BYMONTH" => self.months = list("BYMONTH", value, at, 1, 12, false)?,
            "BYSETPOS" => self.places = list("BYSETPOS", value, at, 1, 366, true)?,
            "WKST" => self.week_start = Some(weekday("WKST", value.trim(), at)?),
            _ => return Err(RuleError::syntax("RRULE", begin, format!("unknown part {name}"))),
        }
        Ok(())
    }

    /// Which parts RFC 5545 forbids together.
    fn check(&self, freq: Freq, at: usize) -> Result<(), RuleError> {
        let numbered = self.weekdays.iter().any(|day| day.1 != 0);
        let wrong = |field, message: &str| Err(RuleError::syntax(field, at, message));
        if !self.weeks.is_empty() && freq != Freq::Yearly {
            return wrong("BYWEEKNO", "week numbers belong to FREQ=YEARLY alone");
        }
        if !self.year_days.is_empty() && matches!(freq, Freq::Daily | Freq::Weekly | Freq::Monthly)
        {
            return wrong("BYYEARDAY", "days of the year do not belong to this FREQ");
        }
        if !self.month_days.is_empty() && freq == Freq::Weekly {
            return wrong("BYMONTHDAY", "days of the month do not belong to FREQ=WEEKLY");
        }
        if numbered && !matches!(freq, Freq::Monthly | Freq::Yearly) {
            return wrong("BYDAY", "numbered weekdays belong to FREQ=MONTHLY and FREQ=YEARLY");
        }
        if numbered && !self.weeks.is_empty() {
            return wrong("BYDAY", "numbered weekdays and week numbers exclude each other");
        }
        let others = [&self.seconds, &self.minutes, &self.hours, &self.month_days, &self.year_days];
        let alone = others.iter().all(|list| list.is_empty())
            && self.weekdays.is_empty()
            && self.weeks.is_empty()
            && self.months.is_empty();
        if !self.places.is_empty() && alone {
            return wrong("BYSETPOS", "places need another BY part to choose from");
        }
        Ok(())
    }
}

fn freq(value: &str, at: usize) -> Result<Freq, RuleError> {
    Ok(match value.trim().to_ascii_uppercase().as_str() {
        "SECONDLY" => Freq::Secondly,
        "MINUTELY" => Freq::Minutely,
        "HOURLY" => Freq::Hourly,
        "DAILY" => Freq::Daily,
        "WEEKLY" => Freq::Weekly,
        "MONTHLY" => Freq::Monthly,
        "YEARLY" => Freq::Yearly,
        _ => return Err(RuleError::syntax("FREQ", at, "SECONDLY to YEARLY are known")),
    })
}

fn number(field: &'static str, value: &str, at: usize) -> Result<i64, RuleError> {
    let digits = value.trim();
    let sign = digits.strip_prefix(['-', '+']).unwrap_or(digits);
    let plain = !sign.is_empty() && sign.len() <= 18 && sign.bytes().all(|b| b.is_ascii_digit());
    let parsed = plain.then(|| digits.parse().ok()).flatten();
    parsed.ok_or_else(|| RuleError::syntax(field, at, "a number belongs here"))
}

/// Numbers from `least` to `most`, and their negatives when they may count from the end.
fn list(
    field: &'static str,
    value: &str,
    at: usize,
    least: i64,
    most: i64,
    from_end: bool,
) -> Result<Vec<i16>, RuleError> {
    let mut all = Vec::new();
    let mut place = at;
    for item in value.split(',') {
        let number = number(field, item, place)?;
        let size = if from_end { number.abs() } else { number };
        if size < least || size > most {
            let message = format!("{number} is outside of {least} to {most}");
            return Err(RuleError::syntax(field, place, message));
        }
        all.push(number as i16);
        place += item.len() + 1;
    }
    Ok(all)
}

fn weekday(field: &'static str, name: &str, at: usize) -> Result<u32, RuleError> {
    let upper = name.to_ascii_uppercase();
    let known = WEEKDAYS.iter().position(|known| *known == upper);
    let message = "SU, MO, TU, WE, TH, FR and SA are known";
    known.map(|day| day as u32).ok_or_else(|| RuleError::syntax(field, at, message))
}

fn weekdays(value: &str, at: usize) -> Result<Vec<(u32, i16)>, RuleError> {
    let mut all = Vec::new();
    let mut place = at;
    for item in value.split(',') {
        let trimmed = item.trim();
        let split = trimmed.len().saturating_sub(2);
        let Some((count, name)) = trimmed.split_at_checked(split) else {
            return Err(RuleError::syntax("BYDAY", place, "a weekday such as `MO` belongs here"));
        };
        let day = weekday("BYDAY", name, place)?;
        let nth = if count.is_empty() { 0 } else { number("BYDAY", count, place)? };
        if !count.is_empty() && (nth == 0 || nth.abs() > 53) {
            let message = "a weekday's number is 1 to 53, or negative from the end";
            return Err(RuleError::syntax("BYDAY", place, message));
        }
        all.push((day, nth as i16));
        place += item.len() + 1;
    }
    Ok(all)
}
