//! Several sets of fields at once, kept apart so that nothing is counted twice.

use crate::RuleError;
use crate::days::Days;
use crate::fields::{Fields, HOURS_ALL, Times, Years};
use crate::wall::LocalTimes;

/// Parts after they were taken apart; more than that are not one rule any more.
const PARTS_MAX: usize = 256;

/// Fields with no instant in common; two or more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Union(Vec<Fields>);

/// One rule or several.
pub(crate) enum Joined {
    One(Fields),
    Several(Union),
}

impl Union {
    /// What any of the fields has. Their days must be plain dates and weekdays that both hold.
    pub fn of(all: Vec<Fields>) -> Result<Joined, RuleError> {
        let by_the_clock = all.iter().all(|fields| fields.times.hours == HOURS_ALL);
        let mut parts: Vec<Fields> = Vec::new();
        for fields in all {
            let mut rest = vec![Fields { by_the_clock, ..fields }];
            for part in &parts {
                rest = rest.iter().flat_map(|one| without(one, part)).collect();
                if parts.len() + rest.len() > PARTS_MAX {
                    let message = "too many calendars overlap each other";
                    return Err(RuleError::syntax("calendar", 0, message));
                }
            }
            parts.append(&mut rest);
        }
        match parts.len() {
            1 => Ok(Joined::One(parts.remove(0))),
            _ => Ok(Joined::Several(Self(parts))),
        }
    }

    pub fn parts(&self) -> &[Fields] {
        &self.0
    }
}

fn years_of(years: &Years) -> [u64; 4] {
    years.as_deref().copied().unwrap_or([u64::MAX; 4])
}

/// `one` without what `other` has, as parts that have nothing in common.
fn without(one: &Fields, other: &Fields) -> Vec<Fields> {
    let (a, b) = (words(one), words(other));
    if a.iter().zip(&b).any(|(a, b)| a.iter().zip(b).all(|(a, b)| a & b == 0)) {
        return vec![one.clone()];
    }
    let mut parts = Vec::new();
    // Field by field: what only `one` has there, and what both have in the fields before.
    let mut common = a;
    for field in 0..a.len() {
        let mut only = common;
        for (only, other) in only[field].iter_mut().zip(b[field]) {
            *only &= !other;
        }
        if only[field] != [0; 4] {
            parts.push(fields_of(&only, one.by_the_clock));
        }
        for (common, other) in common[field].iter_mut().zip(b[field]) {
            *common &= other;
        }
    }
    parts
}

/// Seconds, minutes, hours, dates, weekdays, months, years.
type Words = [[u64; 4]; 7];

fn words(fields: &Fields) -> Words {
    let Times { seconds, minutes, hours } = fields.times;
    let one = |word: u64| [word, 0, 0, 0];
    [
        one(seconds),
        one(minutes),
        one(hours.into()),
        one(fields.days.dates.into()),
        one(fields.days.weekdays.into()),
        one(fields.months.into()),
        years_of(&fields.years),
    ]
}

fn fields_of(words: &Words, by_the_clock: bool) -> Fields {
    let [seconds, minutes, hours, dates, weekdays, months, years] = *words;
    Fields {
        times: Times { seconds: seconds[0], minutes: minutes[0], hours: hours[0] as u32 },
        months: months[0] as u16,
        days: Days { dates: dates[0] as u32, weekdays: weekdays[0] as u8, ..Days::ALL },
        years: (years != [u64::MAX; 4]).then(|| Box::new(years)),
        by_the_clock,
    }
}

impl LocalTimes for Union {
    fn first(&self, lo: i64, hi: i64) -> Option<i64> {
        self.0.iter().filter_map(|part| part.first(lo, hi)).min()
    }

    fn last(&self, lo: i64, hi: i64) -> Option<i64> {
        self.0.iter().filter_map(|part| part.last(lo, hi)).max()
    }

    fn count(&self, lo: i64, hi: i64) -> u64 {
        self.0.iter().map(|part| part.count(lo, hi)).sum()
    }

    fn by_the_clock(&self) -> bool {
        self.0.iter().all(|part| part.by_the_clock)
    }
}
