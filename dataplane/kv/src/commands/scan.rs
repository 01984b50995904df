//! What SCAN, HSCAN and SSCAN share: cursor, options and reply.

use orrery_resp::Reply;

use super::fail::{BAD_CURSOR, Fail, SYNTAX};
use super::glob;
use super::number::integer;
use super::options::is;

/// Parses a cursor (`strtoul` on the whole argument, which ends at the first NUL).
pub fn cursor(argument: &[u8]) -> Result<u64, Fail> {
    let text = argument.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [] => return Ok(0),
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BAD_CURSOR);
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    let value = value.ok_or(BAD_CURSOR)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// Options of one call.
#[derive(Debug)]
pub struct ScanOptions<'a> {
    /// About how many elements are wanted.
    pub count: usize,
    /// Only names like this.
    pub pattern: Option<&'a [u8]>,
    /// Only keys of this type.
    pub kind: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Parses what follows the cursor.
    pub fn parse(args: &[&'a [u8]], with_type: bool) -> Result<Self, Fail> {
        let mut options = Self { count: 10, pattern: None, kind: None };
        let mut rest = args;
        while let [option, tail @ ..] = rest {
            let [value, tail @ ..] = tail else { return Err(SYNTAX) };
            if is(option, "count") {
                let count = integer(value)?;
                if count < 1 {
                    return Err(SYNTAX);
                }
                options.count = count as usize;
            } else if is(option, "match") {
                options.pattern = (*value != b"*").then_some(*value);
            } else if is(option, "type") && with_type {
                options.kind = Some(value);
            } else {
                return Err(SYNTAX);
            }
            rest = tail;
        }
        Ok(options)
    }

    /// Whether a name matches.
    pub fn accepts(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }

    /// Steps of the cursor after which even a sparse index is left for the next call.
    pub fn steps_max(&self) -> usize {
        self.count.saturating_mul(10)
    }
}

/// Writes the reply of two elements.
pub fn reply<'a>(cursor: u64, elements: impl Iterator<Item = &'a [u8]>, out: &mut Reply) {
    out.array(2);
    out.bulk(cursor.to_string().as_bytes());
    let list = out.defer();
    let mut count = 0;
    for element in elements {
        out.bulk(element);
        count += 1;
    }
    out.finish_array(list, count);
}
