//! Kubernetes quantities: `500m`, `20Gi`, `1.5`, `2e3`.
//!
//! Must not: use floating point; values are exact or refused.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Longest text of a quantity, in bytes.
const TEXT_BYTES_MAX: usize = 32;
/// What the schema accepts; the same language [`Quantity::value`] reads.
pub(crate) const PATTERN: &str =
    r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]{1,2})?$";
/// The same without `m`, for things that cannot be split.
pub(crate) const WHOLE_PATTERN: &str =
    r"^[0-9]+(\.[0-9]+)?(k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][0-9]{1,2})?$";

/// An amount as the user wrote it. Compare [`Quantity::value`]s, not texts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(String);

/// A text is no amount, or one too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not follow the grammar of quantities.
    #[error("{0:?} is not a quantity such as 500m, 1.5 or 20Gi")]
    Malformed(String),
    /// The amount does not fit 63 bits.
    #[error("{0:?} is larger than 2^63-1")]
    TooLarge(String),
}

impl Quantity {
    /// The quantity with this text; it is checked when its value is asked for.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in whole units (bytes, cores …), rounded up.
    pub fn value(&self) -> Result<i64, QuantityError> {
        let milli = self.milli()?;
        let whole = milli.div_euclid(1000) + i128::from(milli.rem_euclid(1000) != 0);
        i64::try_from(whole).map_err(|_| QuantityError::TooLarge(self.0.clone()))
    }

    /// The amount in thousandths of a unit, rounded up.
    pub fn milli(&self) -> Result<i128, QuantityError> {
        let malformed = || QuantityError::Malformed(self.0.clone());
        let too_large = || QuantityError::TooLarge(self.0.clone());
        if self.0.len() > TEXT_BYTES_MAX {
            return Err(malformed());
        }
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let split = self.0.find(|c| !is_number(c)).unwrap_or(self.0.len());
        let (number, suffix) = self.0.split_at(split);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let dangling = number.contains('.') && fraction.is_empty();
        if whole.is_empty() || dangling || fraction.contains('.') {
            return Err(malformed());
        }
        let scale_milli = scale_milli(suffix).ok_or_else(malformed)?;
        let digits = format!("{whole}{fraction}");
        let mantissa: i128 = digits.parse().map_err(|_| too_large())?;
        let divisor = 10_i128.checked_pow(fraction.len() as u32).ok_or_else(too_large)?;
        let scaled = mantissa.checked_mul(scale_milli).ok_or_else(too_large)?;
        Ok(scaled / divisor + i128::from(scaled % divisor != 0))
    }

    /// The schema of an amount that may also be written as a bare number, as in `cpu: 2`.
    pub(crate) fn int_or_string_schema() -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{ "type": "integer" }, { "type": "string" }],
            "pattern": PATTERN,
            "maxLength": TEXT_BYTES_MAX,
        })
    }
}

/// Thousandths of a unit that one of the suffix is worth.
fn scale_milli(suffix: &str) -> Option<i128> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if let Some(power) = BINARY.iter().position(|s| *s == suffix) {
        return Some(1000 << (10 * (power + 1)));
    }
    if let Some(power) = DECIMAL.iter().position(|s| *s == suffix) {
        return Some(1000 * 1000_i128.pow(power as u32 + 1));
    }
    match suffix {
        "" => Some(1000),
        "m" => Some(1),
        _ => {
            let digits = suffix.strip_prefix(['e', 'E'])?;
            let plain =
                (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            let exponent: u32 = plain.then(|| digits.parse().ok())??;
            10_i128.checked_pow(exponent)?.checked_mul(1000)
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Quantity;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as 500m, 2 or 20Gi")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity::new(text))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity::new(number.to_string()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity::new(number.to_string()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": TEXT_BYTES_MAX,
            "pattern": WHOLE_PATTERN,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Result<i64, QuantityError> {
        Quantity::new(text).value()
    }

    #[test]
    fn suffixes_have_their_kubernetes_meaning() {
        assert_eq!(value("20Gi"), Ok(20 << 30));
        assert_eq!(value("512Mi"), Ok(512 << 20));
        assert_eq!(value("1.5k"), Ok(1500));
        assert_eq!(value("2e3"), Ok(2000));
        assert_eq!(value("500m"), Ok(1));
        assert_eq!(Quantity::new("500m").milli(), Ok(500));
        assert_eq!(value("0"), Ok(0));
    }

    #[test]
    fn fractions_round_up() {
        assert_eq!(value("0.1"), Ok(1));
        assert_eq!(value("1.5Ki"), Ok(1536));
        assert_eq!(Quantity::new("0.0001").milli(), Ok(1));
    }

    #[test]
    fn nonsense_and_giants_are_refused() {
        for text in ["", "Gi", "1.", ".5", "1..2", "1 Gi", "-1", "1Kb", "1e", "1e123"] {
            let got = value(text);
            assert!(matches!(got, Err(QuantityError::Malformed(_))), "{text}: {got:?}");
        }
        assert!(matches!(value("8Ei"), Err(QuantityError::TooLarge(_))));
        assert!(matches!(
            value("9e99"),
            Err(QuantityError::Malformed(_) | QuantityError::TooLarge(_))
        ));
    }

    #[test]
    fn a_bare_number_is_a_quantity_too() {
        let quantity: Quantity = serde_json::from_str("2").unwrap();
        assert_eq!(quantity.as_str(), "2");
    }

    proptest! {
        #[test]
        fn any_text_gives_a_value_or_an_error(text in ".{0,40}") {
            let _ = value(&text);
        }

        #[test]
        fn a_whole_number_is_worth_itself(number in 0..i64::MAX) {
            prop_assert_eq!(value(&number.to_string()), Ok(number));
        }
    }
}
