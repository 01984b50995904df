//! Durations as people write them: `90s`, `1h30m`, `2d`.

use crate::RuleError;

/// Longest interval: the whole range of years.
pub(crate) const SECONDS_MAX: u64 = 230 * 366 * 86_400;

/// Seconds of a text such as `1h30m`; `at` is where it begins in the text that errors speak of.
pub(crate) fn parse(text: &str, at: usize) -> Result<u64, RuleError> {
    let wrong = |place: usize, message: String| RuleError::syntax("interval", at + place, message);
    let bytes = text.as_bytes();
    let mut total: u64 = 0;
    let mut place = 0;
    while place < bytes.len() {
        let digits = bytes[place..].iter().take_while(|b| b.is_ascii_digit()).count();
        let number = &text[place..place + digits];
        if number.is_empty() {
            return Err(wrong(place, "a number such as `90s` or `1h30m` belongs here".to_owned()));
        }
        let unit_at = place + digits;
        let letters = bytes[unit_at..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
        let unit = match &text[unit_at..unit_at + letters] {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86_400,
            "w" => 7 * 86_400,
            "ms" | "us" | "ns" => {
                return Err(wrong(place, "the shortest interval is one second".to_owned()));
            }
            other => {
                let what = if other.is_empty() { "a unit is missing" } else { "unknown unit" };
                return Err(wrong(unit_at, format!("{what}: s, m, h, d and w are known")));
            }
        };
        let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
        total = seconds
            .and_then(|seconds| total.checked_add(seconds))
            .filter(|total| *total <= SECONDS_MAX)
            .ok_or_else(|| wrong(place, "longer than the 230 years of rules".to_owned()))?;
        place = unit_at + letters;
    }
    if total == 0 {
        return Err(wrong(0, "an interval must be at least one second".to_owned()));
    }
    Ok(total)
}
