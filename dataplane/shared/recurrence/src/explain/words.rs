//! Sets of numbers, weekdays and months as people say them.

use crate::days::bits;

pub(crate) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn joined(parts: &[String], and: &str) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} {and} {last}", most.join(", ")),
    }
}

/// Three or more in a row become `first to last`.
pub(crate) fn runs(values: &[u32], word: impl Fn(u32) -> String) -> Vec<String> {
    let mut parts = Vec::new();
    let mut at = 0;
    while at < values.len() {
        let mut end = at;
        while end + 1 < values.len() && values[end + 1] == values[end] + 1 {
            end += 1;
        }
        if end >= at + 2 {
            parts.push(format!("{} to {}", word(values[at]), word(values[end])));
            at = end + 1;
        } else {
            parts.push(word(values[at]));
            at += 1;
        }
    }
    parts
}

/// `1st`, `2nd`, `23rd`.
pub(crate) fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (1, tens) if tens != 11 => "st",
        (2, tens) if tens != 12 => "nd",
        (3, tens) if tens != 13 => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// Weekdays from Monday on; a run over the weekend stays one, as `Friday to Monday`.
pub(crate) fn weekdays(set: u8) -> Vec<String> {
    let has = |day: u32| set >> (day % 7) & 1 != 0;
    // Monday first, unless a run of three or more would be torn there.
    let torn = has(0) && has(1) && (has(6) || has(2));
    let absent = (1..=7).rev().find(|day| torn && !has(*day)).unwrap_or(0);
    let begin = absent + 1;
    let values: Vec<u32> = (begin..begin + 7).filter(|day| has(*day)).collect();
    runs(&values, |day| WEEKDAYS[day as usize % 7].to_owned())
}

/// The step of a set that is `least, least + step, …` up to the end of `0..size`.
pub(crate) fn step_of(set: u64, size: u32) -> Option<(u32, u32)> {
    let values: Vec<u32> = bits(set).collect();
    let (first, step) = (*values.first()?, values.get(1)?.checked_sub(values[0])?);
    let even = values.windows(2).all(|pair| pair[1] - pair[0] == step);
    (even && values.len() > 2 && first < step && values[values.len() - 1] + step >= size)
        .then_some((first, step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_read_well() {
        assert_eq!(weekdays(0b011_1110), ["Monday to Friday"]);
        assert_eq!(weekdays(0b010_0011), ["Monday", "Friday", "Sunday"].map(str::to_owned));
        assert_eq!(weekdays(0b110_0011), ["Friday to Monday"]);
        assert_eq!(weekdays(0b100_0001), ["Saturday", "Sunday"]);
        assert_eq!(weekdays(0b111_1111), ["Monday to Sunday"]);
        assert_eq!(joined(&runs(&[1, 3, 4, 5], ordinal), "and"), "1st and 3rd to 5th");
        assert_eq!(step_of(0b10_0001_0000_1000_0100_0010, 24), Some((1, 5)));
        assert_eq!(step_of(0b11, 24), None);
    }
}
