//! Dates and times as iCalendar writes them, `20270101T090000Z`; ISO 8601's dashes are read too.

use crate::civil::{DAY, Date};
use crate::{RuleError, Zone};

/// A day, or a moment of the rule's clock or of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Day number.
    Day(u32),
    /// Local second.
    Local(i64),
    /// Instant.
    Utc(i64),
}

impl Moment {
    /// Its local second in a zone; a day begins at midnight.
    pub fn local(self, zone: &Zone) -> i64 {
        match self {
            Self::Day(day) => i64::from(day) * DAY,
            Self::Local(local) => local,
            Self::Utc(utc) => zone.local(utc),
        }
    }
}

/// Reads a moment that begins at byte `at`: `2027-01-01`, `20270101T0900`, `2027-01-01T09:00:00Z`,
/// `2027-01-01T09:00:00+01:00`.
pub(crate) fn moment(field: &'static str, text: &str, at: usize) -> Result<Moment, RuleError> {
    let wrong = |message: &str| RuleError::syntax(field, at, message);
    let text = text.trim();
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let digits: String = date.chars().filter(|c| *c != '-').collect();
    let dashes = date.len() - digits.len();
    let number = |digits: &str| digits.parse::<u32>().ok().filter(|_| is_number(digits));
    let parts = (digits.len() == 8 && (dashes == 0 || dashes == 2))
        .then(|| Some((number(&digits[..4])?, number(&digits[4..6])?, number(&digits[6..])?)))
        .flatten();
    let (year, month, day) =
        parts.ok_or_else(|| wrong("a moment such as `20270101T090000` belongs here"))?;
    let day = Date::checked(year, month, day)
        .ok_or_else(|| wrong("there is no such day in the years 1970 to 2199"))?
        .days();
    let Some(time) = time else { return Ok(Moment::Day(day)) };
    let (clock, offset) = match time.find(['Z', 'z', '+', '-']) {
        Some(at) => (&time[..at], Some(&time[at..])),
        None => (time, None),
    };
    let second = second_of_day(clock).ok_or_else(|| wrong("there is no such time of day"))?;
    let local = i64::from(day) * DAY + i64::from(second);
    let Some(offset) = offset else { return Ok(Moment::Local(local)) };
    let ahead = if offset.eq_ignore_ascii_case("z") {
        0
    } else {
        let sign = if offset.starts_with('-') { -1 } else { 1 };
        let size = second_of_day(&offset[1..]);
        sign * i64::from(size.ok_or_else(|| wrong("there is no such offset from UTC"))?)
    };
    Ok(Moment::Utc(local - ahead))
}

/// `0900`, `090000`, `09:00`, `09:00:00`.
fn second_of_day(text: &str) -> Option<u32> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    if !is_number(&digits) || ![2, 4, 6].contains(&digits.len()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |part| part.parse::<u32>().ok());
    let (hour, minute, second) = (part(0)?, part(2)?, part(4)?);
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
