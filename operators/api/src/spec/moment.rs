//! Moments as users write them: RFC 3339, exact to the microsecond.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, cut to whole microseconds. It is written in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Timestamp);

impl Moment {
    /// The moment, cut to whole microseconds.
    pub fn new(at: Timestamp) -> Self {
        Self(Timestamp::from_microsecond(at.as_microsecond()).expect("part of a valid time"))
    }

    /// The moment so many microseconds after the Unix epoch; none beyond the years that have names.
    pub fn from_microseconds(microseconds: i64) -> Option<Self> {
        Timestamp::from_microsecond(microseconds).ok().map(Self)
    }

    /// Microseconds since the Unix epoch.
    pub fn microseconds(self) -> i64 {
        self.0.as_microsecond()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self::new).map_err(de::Error::custom)
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time", "maxLength": 64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_exact_to_the_microsecond_and_of_any_zone() {
        let read: Moment = serde_json::from_str("\"2026-11-26T02:00:00.1234567+01:00\"").unwrap();
        assert_eq!(read.to_string(), "2026-11-26T01:00:00.123456Z");
        let again = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Moment>(&again).unwrap(), read);
        assert!(serde_json::from_str::<Moment>("\"yesterday\"").is_err());
    }
}
