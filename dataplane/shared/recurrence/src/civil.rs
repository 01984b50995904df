//! Days and dates of the proleptic Gregorian calendar, as plain numbers.
//!
//! A *local second* is a reading of a wall clock as seconds since 1970-01-01T00:00:00 of that same
//! clock. Nothing here knows of zones.
//!
//! Source of the conversions: C. Neri, L. Schneider, "Euclidean affine functions and their
//! application to calendar algorithms" (Software: Practice and Experience, 2022), for days to
//! dates; H. Hinnant, "chrono-compatible low-level date algorithms", for dates to days.

/// Seconds in a day without a change of the clock.
pub(crate) const DAY: i64 = 86_400;
/// First year that rules know.
pub(crate) const YEAR_MIN: u32 = 1970;
/// Last year that rules know.
pub(crate) const YEAR_MAX: u32 = 2199;
/// Day number of 2200-01-01.
pub(crate) const DAYS_END: u32 = 84_006;
/// Local second of 2200-01-01T00:00:00, the first one that no rule matches.
pub(crate) const LOCAL_END: i64 = DAYS_END as i64 * DAY;

/// A date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Date {
    pub year: u32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

impl Date {
    /// The date of a day number (0 = 1970-01-01).
    #[inline]
    pub fn of_days(days: u32) -> Self {
        let n = 4 * (days + 719_468) + 3;
        let century = n / 146_097;
        let n = (n % 146_097) | 3;
        let product = 2_939_745 * u64::from(n);
        let year_of_century = (product >> 32) as u32;
        let day_of_year = (product as u32) / 2_939_745 / 4;
        let n = 2_141 * day_of_year + 197_913;
        let (month, day) = (n >> 16, (n & 0xffff) / 2_141);
        let late = u32::from(day_of_year >= 306);
        Self {
            year: 100 * century + year_of_century + late,
            month: month - 12 * late,
            day: day + 1,
        }
    }

    /// The day number of a date from 1970 on.
    #[inline]
    pub fn days(self) -> u32 {
        let year = self.year - u32::from(self.month <= 2);
        let month = if self.month > 2 { self.month - 3 } else { self.month + 9 };
        let (era, year_of_era) = (year / 400, year % 400);
        let day_of_year = (153 * month + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        era * 146_097 + day_of_era - 719_468
    }

    /// The date, if there is such a day in 1970 to 2199.
    pub fn checked(year: u32, month: u32, day: u32) -> Option<Self> {
        let known = (YEAR_MIN..=YEAR_MAX).contains(&year) && (1..=12).contains(&month);
        (known && day >= 1 && day <= month_days(year, month)).then_some(Self { year, month, day })
    }
}

/// Whether a year has a 29th of February.
#[inline]
pub(crate) fn is_leap(year: u32) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days of a month, 28 to 31.
#[inline]
pub(crate) fn month_days(year: u32, month: u32) -> u32 {
    if month == 2 { 28 + u32::from(is_leap(year)) } else { 30 + ((month ^ (month >> 3)) & 1) }
}

/// The weekday of a day number, 0 = Sunday.
#[inline]
pub(crate) fn weekday(days: u32) -> u32 {
    (days + 4) % 7
}

/// `2027-03-28T02:30:00`, the text of a local second.
pub(crate) fn local_text(local: i64) -> String {
    let days = local.div_euclid(DAY).max(0) as u32;
    let second = local.rem_euclid(DAY);
    let Date { year, month, day } = Date::of_days(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_the_range_has_its_date_and_weekday() {
        let mut date = Date { year: 1970, month: 1, day: 1 };
        for days in 0..DAYS_END {
            assert_eq!(Date::of_days(days), date);
            assert_eq!(date.days(), days);
            date.day += 1;
            if date.day > month_days(date.year, date.month) {
                date.day = 1;
                date.month += 1;
            }
            if date.month > 12 {
                date.month = 1;
                date.year += 1;
            }
        }
        assert_eq!(date, Date { year: 2200, month: 1, day: 1 });
        assert_eq!(weekday(0), 4, "1970-01-01 was a Thursday");
        assert_eq!(local_text(1_803_436_200), "2027-02-24T02:30:00");
    }
}
