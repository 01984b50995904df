//! What a rule of fields has in each field, as plain lists: for interfaces that speak of structured
//! calendars.

use crate::Rule;
use crate::civil::YEAR_MIN;
use crate::days::{Join, bits};
use crate::rule::Kind;

/// Values of each field, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldValues {
    pub second: Vec<u32>,
    pub minute: Vec<u32>,
    pub hour: Vec<u32>,
    pub day_of_month: Vec<u32>,
    /// Days before the last of the month; 0 is the last.
    pub last_day_of_month: Vec<u32>,
    /// Dates whose nearest weekday is meant.
    pub nearest_weekday: Vec<u32>,
    pub month: Vec<u32>,
    /// 0 = Sunday.
    pub day_of_week: Vec<u32>,
    /// Weekday and its number in the month.
    pub nth_day_of_week: Vec<(u32, u32)>,
    pub last_day_of_week: Vec<u32>,
    /// Empty is every year.
    pub year: Vec<u32>,
    /// A day of month or a day of week is enough.
    pub either_day: bool,
}

impl Rule {
    /// The values, if the rule is one set of fields.
    pub fn field_values(&self) -> Option<FieldValues> {
        let Kind::Fields(fields) = &self.kind else { return None };
        let list = |set: u64| bits(set).collect::<Vec<u32>>();
        let (times, days) = (fields.times, &fields.days);
        let years = fields.years.as_deref().copied().unwrap_or_default();
        let year = years
            .iter()
            .zip(0u32..)
            .flat_map(|(word, at)| bits(*word).map(move |bit| YEAR_MIN + 64 * at + bit));
        Some(FieldValues {
            second: list(times.seconds),
            minute: list(times.minutes),
            hour: list(times.hours.into()),
            day_of_month: list(days.dates.into()),
            last_day_of_month: list(days.last.into()),
            nearest_weekday: list(days.nearest.into()),
            month: list(fields.months.into()),
            day_of_week: list(days.weekdays.into()),
            nth_day_of_week: bits(days.nth).map(|bit| (bit / 5, bit % 5 + 1)).collect(),
            last_day_of_week: list(days.last_weekdays.into()),
            year: year.collect(),
            either_day: days.join == Join::Either,
        })
    }
}
