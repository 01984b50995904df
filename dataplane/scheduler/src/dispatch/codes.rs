//! Which status codes mean that a run succeeded.

use std::ops::RangeInclusive;
use std::str::FromStr;

use http::StatusCode;

/// Longest list; more is a mistake.
const RANGES_MAX: usize = 64;

/// Status codes that mean success: 200 to 299 unless others are named, and then only those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessCodes(Vec<RangeInclusive<u16>>);

/// Why a text names no status codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodesError {
    #[error("failed to find a status code")]
    Empty,
    #[error("failed to read {0:?} as a status code, or as two with a dash")]
    Part(String),
    #[error("failed to use {0} as a status code: they are 200 to 599")]
    Range(u16),
    #[error("failed to use more than {RANGES_MAX} status codes")]
    TooMany,
}

impl SuccessCodes {
    /// Those of a list.
    pub fn new(ranges: Vec<RangeInclusive<u16>>) -> Result<Self, CodesError> {
        if ranges.is_empty() {
            return Err(CodesError::Empty);
        }
        if ranges.len() > RANGES_MAX {
            return Err(CodesError::TooMany);
        }
        for range in &ranges {
            for code in [*range.start(), *range.end()] {
                if !(200..=599).contains(&code) {
                    return Err(CodesError::Range(code));
                }
            }
            if range.is_empty() {
                return Err(CodesError::Part(format!("{}-{}", range.start(), range.end())));
            }
        }
        Ok(Self(ranges))
    }

    pub fn contains(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

impl Default for SuccessCodes {
    fn default() -> Self {
        Self(vec![200..=299])
    }
}

/// Codes and ranges with commas between: `200-204,404`.
impl FromStr for SuccessCodes {
    type Err = CodesError;

    fn from_str(text: &str) -> Result<Self, CodesError> {
        let mut ranges = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let code = |text: &str| {
                text.trim().parse::<u16>().map_err(|_| CodesError::Part(part.to_owned()))
            };
            ranges.push(code(first)?..=code(last)?);
        }
        Self::new(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_ranges_are_read() {
        let codes: SuccessCodes = "200-204, 404".parse().expect("they are codes");
        for (code, is_success) in [(200, true), (204, true), (205, false), (404, true)] {
            let status = StatusCode::from_u16(code).expect("a status code");
            assert_eq!(codes.contains(status), is_success, "{code}");
        }
        assert!(SuccessCodes::default().contains(StatusCode::IM_USED));
        assert!(!SuccessCodes::default().contains(StatusCode::FOUND));
    }

    #[test]
    fn what_names_no_codes_is_refused() {
        for text in ["", ",", "ok", "204-200", "99", "600", "200-", "1e3", "-1"] {
            text.parse::<SuccessCodes>().expect_err(text);
        }
    }
}
