//! Reading numbers as `strtold` does and printing them as `%.17Lf` without trailing zeros.

use super::big::Big;
use super::{EXPONENT_MIN, Extended};

/// Longest text that counts as a number (`MAX_LONG_DOUBLE_CHARS`).
const TEXT_BYTES_MAX: usize = 5 * 1024;
/// Decimal exponents beyond this are certainly infinite or zero.
const DECIMAL_EXPONENT_MAX: i64 = 20_000;
/// Decimals printed.
const DECIMALS: usize = 17;

/// Reads a number: decimal, hexadecimal or infinite. None if the text is not wholly a number, is
/// not a number in the literal sense, or is too large or too small for the format.
pub fn parse(text: &[u8]) -> Option<Extended> {
    if text.is_empty() || text.len() >= TEXT_BYTES_MAX {
        return None;
    }
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
        return Some(Extended::infinity(negative));
    }
    let (radix, digits) = match text {
        [b'0', b'x' | b'X', rest @ ..] => (16, rest),
        all => (10, all),
    };
    let (mantissa, places, exponent) = parts(digits, radix)?;
    let value = if mantissa.is_zero() {
        Extended { negative, ..Extended::ZERO }
    } else if radix == 16 {
        binary(negative, &mantissa, exponent - 4 * places)
    } else {
        decimal(negative, mantissa, exponent - places)
    };
    let lost = value.infinite || value.mantissa == 0;
    let exact_zero = value.mantissa == 0 && !digits_nonzero(digits, radix);
    (!lost || exact_zero).then_some(value)
}

fn digits_nonzero(digits: &[u8], radix: u32) -> bool {
    let exponent = if radix == 16 { b'p' } else { b'e' };
    let mantissa = digits.split(|byte| byte.eq_ignore_ascii_case(&exponent)).next();
    mantissa.is_some_and(|digits| digits.iter().any(|byte| !matches!(byte, b'0' | b'.')))
}

/// Digits as a whole number, how many of them stand behind the point, and the written exponent.
fn parts(text: &[u8], radix: u32) -> Option<(Big, i64, i64)> {
    let mut mantissa = Big::new(0);
    let (mut places, mut digits, mut point) = (0_i64, 0, false);
    let mut at = 0;
    while at < text.len() {
        match (text[at] as char).to_digit(radix) {
            Some(digit) => {
                mantissa.multiply_add(radix, digit);
                digits += 1;
                places += i64::from(point);
            }
            None if text[at] == b'.' && !point => point = true,
            None => break,
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    let mark = if radix == 16 { b'p' } else { b'e' };
    let exponent = match &text[at..] {
        [] => 0,
        [first, rest @ ..] if first.eq_ignore_ascii_case(&mark) => written_exponent(rest)?,
        _ => return None,
    };
    Some((mantissa, places, exponent))
}

fn written_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        all => (1, all),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0_i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1_000_000_000));
    Some(sign * value)
}

fn decimal(negative: bool, mantissa: Big, exponent: i64) -> Extended {
    let magnitude = mantissa.bits() * 3 / 10 + exponent;
    if magnitude > DECIMAL_EXPONENT_MAX {
        return Extended::infinity(negative);
    }
    if magnitude < -DECIMAL_EXPONENT_MAX {
        return Extended { negative, ..Extended::ZERO };
    }
    if exponent >= 0 {
        return binary(negative, &mantissa.times_power_of_ten(exponent as usize), 0);
    }
    let divisor = Big::new(1).times_power_of_ten(-exponent as usize);
    // Enough bits for a quotient of 66 or 67 bits: 64 and two to round by.
    let shift = (66 + divisor.bits() - mantissa.bits()).max(0);
    let numerator = mantissa.shifted_left(shift as usize);
    if numerator.bits() - divisor.bits() > 120 {
        // A long text of a large number: its fraction cannot matter but as sticky bit.
        let (quotient, rest) = large_quotient(&numerator, &divisor);
        let (top, below, lost) = quotient.top();
        return clamp(Extended::round(negative, top, below - shift, lost || rest));
    }
    let (quotient, rest) = numerator.divide(&divisor);
    clamp(Extended::round(negative, quotient, -shift, rest))
}

/// Quotient of more than 128 bits: divides off the powers of ten nine digits at a time.
fn large_quotient(numerator: &Big, divisor: &Big) -> (Big, bool) {
    let digits = numerator.to_text();
    let places = divisor.to_text().len() - 1;
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let mut quotient = Big::new(0);
    for digit in whole {
        quotient.multiply_add(10, u32::from(digit - b'0'));
    }
    (quotient, fraction.iter().any(|digit| *digit != b'0'))
}

fn binary(negative: bool, mantissa: &Big, exponent: i64) -> Extended {
    let (top, below, lost) = mantissa.top();
    clamp(Extended::round(negative, top, exponent + below, lost))
}

fn clamp(value: Extended) -> Extended {
    if value.exponent + 64 > super::EXPONENT_MAX {
        return Extended::infinity(value.negative);
    }
    if value.mantissa != 0 && value.exponent + 64 <= EXPONENT_MIN {
        return Extended { negative: value.negative, ..Extended::ZERO };
    }
    value
}

impl Extended {
    /// The text Redis stores: 17 decimals without trailing zeros.
    pub fn to_text(self) -> Vec<u8> {
        let mut digits = if self.mantissa == 0 {
            vec![b'0']
        } else if self.exponent >= 0 {
            Big::new(self.mantissa).shifted_left(self.exponent as usize).to_text()
        } else {
            fraction_text(self.mantissa, -self.exponent)
        };
        if self.negative && digits != [b'0'] {
            digits.insert(0, b'-');
        }
        digits
    }
}

/// Text of `mantissa / 2^shift`, rounded to 17 decimals, ties to even.
fn fraction_text(mantissa: u64, shift: i64) -> Vec<u8> {
    let scaled = u128::from(mantissa) * 10_u128.pow(DECIMALS as u32);
    let units = if shift >= 127 {
        0
    } else {
        let (units, rest) = (scaled >> shift, scaled & ((1 << shift) - 1));
        let half = 1_u128 << (shift - 1);
        units + u128::from(rest > half || rest == half && units & 1 == 1)
    };
    let mut text = format!("{units:0width$}", width = DECIMALS + 1).into_bytes();
    text.insert(text.len() - DECIMALS, b'.');
    while text.last() == Some(&b'0') {
        text.pop();
    }
    if text.last() == Some(&b'.') {
        text.pop();
    }
    text
}
