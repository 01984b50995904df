//! Pieces of argument lists that several commands share.

use super::fail::{Fail, NOT_POSITIVE, OUT_OF_RANGE, bad_expire};
use super::number::{integer, parse_i64};

/// Whether an argument is this keyword; keywords are given in lower case.
#[inline]
pub fn is(argument: &[u8], keyword: &str) -> bool {
    argument.eq_ignore_ascii_case(keyword.as_bytes())
}

/// How a deadline was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadlineForm {
    /// Seconds rather than milliseconds.
    pub seconds: bool,
    /// A point in time rather than a duration.
    pub absolute: bool,
}

impl DeadlineForm {
    /// By keyword: EX, PX, EXAT or PXAT.
    pub fn by_keyword(argument: &[u8]) -> Option<Self> {
        let (seconds, absolute) = match argument.to_ascii_lowercase().as_slice() {
            b"ex" => (true, false),
            b"px" => (false, false),
            b"exat" => (true, true),
            b"pxat" => (false, true),
            _ => return None,
        };
        Some(Self { seconds, absolute })
    }

    /// The deadline in milliseconds since the epoch; must lie after the beginning of time
    /// (`getExpireMillisecondsOrReply`).
    pub fn positive(self, argument: &[u8], now_ms: i64, command: &str) -> Result<i64, Fail> {
        let value = integer(argument)?;
        if value <= 0 {
            return Err(bad_expire(command));
        }
        self.deadline(value, now_ms, command)
    }

    /// The deadline of a duration or point in time that may be negative.
    pub fn deadline(self, value: i64, now_ms: i64, command: &str) -> Result<i64, Fail> {
        let scale = if self.seconds { 1000 } else { 1 };
        let base = if self.absolute { 0 } else { now_ms };
        let value_ms = value.checked_mul(scale).ok_or_else(|| bad_expire(command))?;
        value_ms.checked_add(base).ok_or_else(|| bad_expire(command))
    }
}

/// An integer argument within bounds (`getRangeLongFromObjectOrReply`).
pub fn between(argument: &[u8], least: i64, most: i64) -> Result<i64, Fail> {
    let value = integer(argument)?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(Fail::owned(format!("ERR value is out of range, value must between {least} and {most}")))
}

/// A 32-bit integer argument (`getIntFromObjectOrReply`).
pub fn int(argument: &[u8]) -> Result<i32, Fail> {
    between(argument, i64::from(i32::MIN), i64::from(i32::MAX)).map(|value| value as i32)
}

/// A count that is a number and not negative, with one error for both (`getPositiveLong…`).
pub fn count(argument: &[u8]) -> Result<usize, Fail> {
    let value = parse_i64(argument).and_then(|value| usize::try_from(value).ok());
    value.ok_or(NOT_POSITIVE)
}

/// A number of at least `least`, with one error for everything else.
pub fn at_least(argument: &[u8], least: i64, error: &'static str) -> Result<i64, Fail> {
    parse_i64(argument).filter(|value| *value >= least).ok_or(Fail::text(error))
}

/// Elements a random choice with repetition may yield: the count is a number in the input, so the
/// reply must be bounded by something else than the value.
const REPEATS_MAX: u64 = 1 << 24;

/// The count of SRANDMEMBER and HRANDFIELD: negative means with repetition.
pub fn sample_count(argument: &[u8]) -> Result<i64, Fail> {
    let count = between(argument, -i64::MAX, i64::MAX)?;
    if count < 0 && count.unsigned_abs() > REPEATS_MAX {
        return Err(OUT_OF_RANGE);
    }
    Ok(count)
}
