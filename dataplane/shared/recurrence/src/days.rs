//! Which days of a month a rule names: dates, weekdays and the days that depend on the month.
//!
//! A month is a word of bits, 1 to 31: the set of its days that match.

/// How dates and weekdays meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Join {
    /// A day must match both.
    Both,
    /// Either is enough: cron, when both fields are restricted.
    Either,
}

/// The days of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Days {
    /// Bits 1 to 31.
    pub dates: u32,
    /// Bits 0 (Sunday) to 6.
    pub weekdays: u8,
    /// Bits 0 to 6: the last such weekday of the month.
    pub last_weekdays: u8,
    pub join: Join,
    /// Bit n: n days before the last of the month.
    pub last: u32,
    /// Bit d: the weekday (Monday to Friday) nearest to date d, in the same month.
    pub nearest: u32,
    /// Bit n: the weekday nearest to n days before the last.
    pub last_nearest: u32,
    /// Bit 5 × weekday + n - 1: the n-th such weekday of the month.
    pub nth: u64,
}

pub(crate) const DATES_ALL: u32 = 0xffff_fffe;
pub(crate) const WEEKDAYS_ALL: u8 = 0x7f;
/// Bits 0, 7, 14, 21 and 28: multiplied by it, seven bits repeat over a month.
const WEEKS: u64 = 0x1020_4081;

impl Days {
    /// Every day.
    pub const ALL: Self = Self {
        dates: DATES_ALL,
        weekdays: WEEKDAYS_ALL,
        last_weekdays: 0,
        join: Join::Both,
        last: 0,
        nearest: 0,
        last_nearest: 0,
        nth: 0,
    };

    /// The days that match in a month of so many days that begins on such a weekday (0 = Sunday).
    #[inline]
    pub fn of_month(&self, first_weekday: u32, length: u32) -> u32 {
        let mut dates = self.dates;
        if (self.last | self.nearest | self.last_nearest) != 0 {
            dates |= self.moving_dates(first_weekday, length);
        }
        let mut weekdays = repeated(self.weekdays, first_weekday);
        if self.nth != 0 || self.last_weekdays != 0 {
            weekdays |= self.counted_weekdays(first_weekday, length);
        }
        let joined = match self.join {
            Join::Both => dates & weekdays,
            Join::Either => dates | weekdays,
        };
        joined & inside(length)
    }

    #[cold]
    fn moving_dates(&self, first_weekday: u32, length: u32) -> u32 {
        let mut days = 0;
        for back in bits(self.last.into()).filter(|back| *back < length) {
            days |= 1 << (length - back);
        }
        for date in bits(self.nearest.into()).filter(|date| *date <= length) {
            days |= 1 << nearest_weekday(date, first_weekday, length);
        }
        for back in bits(self.last_nearest.into()).filter(|back| *back < length) {
            days |= 1 << nearest_weekday(length - back, first_weekday, length);
        }
        days
    }

    #[cold]
    fn counted_weekdays(&self, first_weekday: u32, length: u32) -> u32 {
        let mut days = 0;
        for bit in bits(self.nth) {
            let (weekday, nth) = (bit / 5, bit % 5);
            days |= 1u64 << (1 + (weekday + 7 - first_weekday) % 7 + 7 * nth);
        }
        let last_week = inside(length) & !inside(length - 7);
        days as u32 | (repeated(self.last_weekdays, first_weekday) & last_week)
    }
}

/// A set of weekdays laid over a month, bits 1 to 31.
#[inline]
fn repeated(weekdays: u8, first_weekday: u32) -> u32 {
    let weekdays = u64::from(weekdays);
    let from_first = ((weekdays >> first_weekday) | (weekdays << (7 - first_weekday))) & 0x7f;
    ((from_first * WEEKS) << 1) as u32
}

/// The days of a month of this length.
#[inline]
fn inside(length: u32) -> u32 {
    ((2u64 << length) - 2) as u32
}

/// Monday to Friday nearest to a date; it never leaves the month.
fn nearest_weekday(date: u32, first_weekday: u32, length: u32) -> u32 {
    match (first_weekday + date - 1) % 7 {
        6 if date == 1 => 3,
        6 => date - 1,
        0 if date == length => date - 2,
        0 => date + 1,
        _ => date,
    }
}

/// The places of the bits that are set, lowest first.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let at = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// February 2027 begins on a Monday and has 28 days.
    const FEBRUARY: (u32, u32) = (1, 28);
    /// May 2027 begins on a Saturday and has 31 days.
    const MAY: (u32, u32) = (6, 31);

    fn days(days: &Days, month: (u32, u32)) -> Vec<u32> {
        bits(days.of_month(month.0, month.1).into()).collect()
    }

    #[test]
    fn weekdays_repeat_over_the_month() {
        let mondays = Days { weekdays: 1 << 1, ..Days::ALL };
        assert_eq!(days(&mondays, FEBRUARY), [1, 8, 15, 22]);
        assert_eq!(days(&mondays, MAY), [3, 10, 17, 24, 31]);
        let first = Days { weekdays: 0, nth: 1 << 5 | 1 << 9, ..Days::ALL };
        assert_eq!(days(&first, MAY), [3, 31], "the first and the fifth Monday");
        let last = Days { weekdays: 0, last_weekdays: 1 << 0, ..Days::ALL };
        assert_eq!(days(&last, FEBRUARY), [28]);
    }

    #[test]
    fn the_nearest_weekday_stays_in_its_month() {
        let nearest = |dates: &[u32]| Days {
            dates: 0,
            nearest: dates.iter().map(|date| 1 << date).sum(),
            ..Days::ALL
        };
        assert_eq!(days(&nearest(&[1]), MAY), [3], "the 1st is a Saturday");
        assert_eq!(days(&nearest(&[2, 15]), MAY), [3, 14]);
        assert_eq!(days(&nearest(&[31]), MAY), [31]);
        assert_eq!(days(&nearest(&[28, 31]), FEBRUARY), [26], "Sunday the 28th, and no 31st");
        let last = Days { dates: 0, last: 1 | 1 << 3, last_nearest: 1, ..Days::ALL };
        assert_eq!(days(&last, FEBRUARY), [25, 26, 28]);
    }
}
