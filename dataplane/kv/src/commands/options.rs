//! Pieces of argument lists that several commands share.

use super::fail::{Fail, bad_expire};
use super::number::{integer, integer_between};

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

/// A 32-bit integer argument (`getIntFromObjectOrReply`).
pub fn int(argument: &[u8]) -> Result<i32, Fail> {
    let range = super::fail::OUT_OF_RANGE;
    integer_between(argument, i64::from(i32::MIN), i64::from(i32::MAX), range)
        .map(|value| value as i32)
}
