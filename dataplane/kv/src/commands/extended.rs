//! Numbers of 64 bits precision: what INCRBYFLOAT and HINCRBYFLOAT calculate with.
//!
//! Redis uses the `long double` of x86 (80-bit extended precision) and prints 17 decimals. To give
//! the same digits, this reads decimals with correct rounding, adds and prints in that precision.
//! Subnormal numbers are not kept apart: they print as 0 anyway.

mod big;
mod text;

pub use text::parse;

/// Largest binary exponent: values from 2^16384 on are infinite.
const EXPONENT_MAX: i64 = 16_384;
/// Values below 2^-16446 round to zero: half of the smallest number there is.
const EXPONENT_MIN: i64 = -16_446;

/// `mantissa * 2^exponent`, the top bit of the mantissa set unless it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i64,
    infinite: bool,
}

impl Extended {
    /// Zero.
    pub const ZERO: Extended =
        Extended { negative: false, mantissa: 0, exponent: 0, infinite: false };

    fn infinity(negative: bool) -> Self {
        Self { negative, infinite: true, ..Self::ZERO }
    }

    /// Rounds `bits * 2^exponent` (plus something below the last bit if `sticky`) to the nearest,
    /// ties to even.
    fn round(negative: bool, bits: u128, exponent: i64, sticky: bool) -> Self {
        if bits == 0 {
            return Self { negative, ..Self::ZERO };
        }
        let excess = 64 - i64::from(bits.leading_zeros());
        if excess <= 0 {
            let mantissa = (bits as u64) << -excess;
            return Self { negative, mantissa, exponent: exponent + excess, infinite: false };
        }
        let kept = (bits >> excess) as u64;
        let rest = bits & ((1 << excess) - 1);
        let half = 1_u128 << (excess - 1);
        let up = rest > half || rest == half && (sticky || kept & 1 == 1);
        let exponent = exponent + excess;
        let (mantissa, exponent) = match kept.checked_add(u64::from(up)) {
            Some(mantissa) => (mantissa, exponent),
            None => (1 << 63, exponent + 1),
        };
        if exponent + 64 > EXPONENT_MAX {
            return Self::infinity(negative);
        }
        Self { negative, mantissa, exponent, infinite: false }
    }

    /// Whether it is infinite.
    pub fn is_infinite(self) -> bool {
        self.infinite
    }

    /// The sum, none if it is not a finite number.
    pub fn plus(self, other: Self) -> Option<Self> {
        if self.infinite || other.infinite {
            return None;
        }
        if self.mantissa == 0 || other.mantissa == 0 {
            let sum = if self.mantissa == 0 { other } else { self };
            let negative = sum.negative && (sum.mantissa != 0 || self.negative && other.negative);
            return Some(Self { negative, ..sum });
        }
        let (large, small) = if (self.exponent, self.mantissa) >= (other.exponent, other.mantissa) {
            (self, other)
        } else {
            (other, self)
        };
        // 62 bits below the mantissa leave one bit for a carry and far more than two guard bits.
        let wide = u128::from(large.mantissa) << 62;
        let shift = large.exponent - small.exponent;
        let narrow = u128::from(small.mantissa) << 62;
        let (shifted, lost) = if shift >= 127 {
            (0, true)
        } else {
            (narrow >> shift, narrow & ((1 << shift) - 1) != 0)
        };
        let shifted = shifted | u128::from(lost);
        let same = large.negative == small.negative;
        let sum = if same { wide + shifted } else { wide - shifted };
        let negative = large.negative && sum != 0;
        let sum = Self::round(negative, sum, large.exponent - 62, false);
        (!sum.infinite).then_some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(one: &str, other: &str) -> Option<String> {
        let one = parse(one.as_bytes()).expect("is a number");
        let sum = one.plus(parse(other.as_bytes()).expect("is a number"))?;
        Some(String::from_utf8(sum.to_text()).expect("is ASCII"))
    }

    #[test]
    fn sums_have_the_digits_redis_prints() {
        for (one, other, wanted) in [
            ("3", "1.1", "4.1"),
            ("1.5", "1.5", "3"),
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("17179869184", "1.5", "17179869185.5"),
            ("1", "-1.1", "-0.1"),
            ("1e20", "1", "100000000000000000000"),
            ("-5", "5", "0"),
            ("1e-18", "0", "0"),
            ("6e-18", "0", "0.00000000000000001"),
            ("0x1p4", "0", "16"),
        ] {
            assert_eq!(sum(one, other).as_deref(), Some(wanted), "{one} + {other}");
        }
        assert_eq!(sum("inf", "1"), None);
        assert_eq!(sum("1e4932", "1e4932"), None);
    }

    #[test]
    fn only_whole_finite_texts_are_numbers() {
        for text in ["", " 1", "1 ", "1.5x", "nan", "1e5000", "1e-6000", ".", "e5", "--1", "0x"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        for text in ["1.", ".5", "+3", "1e+2", "Infinity", "-inf", "0e99999"] {
            assert!(parse(text.as_bytes()).is_some(), "{text}");
        }
    }
}
