//! Integers as Redis reads and writes them.

use super::fail::{Fail, NOT_AN_INTEGER};

/// Parses a canonical decimal: no sign `+`, no leading zero, no space (`string2ll`).
#[inline]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [] => return None,
        [b'0'] => return Some(0),
        [b'-', rest @ ..] => (true, rest),
        all => (false, all),
    };
    if digits.len() > 19 || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut value = 0_u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        // 19 digits stay below 10^19, which fits 64 bits without a sign.
        value = value * 10 + u64::from(digit - b'0');
    }
    if negative {
        (value <= 1 << 63).then(|| (value as i64).wrapping_neg())
    } else {
        i64::try_from(value).ok()
    }
}

/// The decimal text of `value` at the end of `buffer`.
#[inline]
pub fn format_i64(buffer: &mut [u8; 20], value: i64) -> &[u8] {
    let mut at = buffer.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    &buffer[at..]
}

/// An integer argument, or Redis' usual error.
#[inline]
pub fn integer(text: &[u8]) -> Result<i64, Fail> {
    parse_i64(text).ok_or(NOT_AN_INTEGER)
}

/// Turns a start and an end that may count from the back into a range of indexes, none if empty.
pub fn index_range(start: i64, end: i64, len: usize) -> Option<std::ops::RangeInclusive<usize>> {
    let len = len as i64;
    let from_back = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let start = from_back(start).max(0);
    let end = from_back(end).min(len - 1);
    (start <= end && start < len).then_some(start as usize..=end as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_survives_its_text(value: i64) {
            prop_assert_eq!(parse_i64(format_i64(&mut [0; 20], value)), Some(value));
        }
    }

    #[test]
    fn only_canonical_text_is_a_number() {
        for text in ["", "-", "+1", "01", "-0", " 1", "1 ", "9223372036854775808", "1e3"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
    }
}
