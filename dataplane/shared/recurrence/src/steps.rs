//! Civil steps from a beginning: every so many months and days of the calendar, as ISO 8601 says.

use crate::civil::{DAY, Date, LOCAL_END, YEAR_MAX, month_days};
use crate::wall::LocalTimes;

/// `start`, then further by `months` and `seconds` each time. A day that a month lacks is its last
/// one; the next step counts from the beginning again, not from there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Steps {
    /// Local second.
    pub start: i64,
    pub months: u32,
    /// Local seconds; whole days, mostly.
    pub seconds: i64,
    /// How many there are.
    pub count: i64,
}

impl Steps {
    /// The instance with this number; one after the last year when it lies there.
    fn at(&self, number: i64) -> i64 {
        let (day, second) = ((self.start / DAY) as u32, self.start % DAY);
        let date = Date::of_days(day);
        let months = i64::from(date.month - 1) + number * i64::from(self.months);
        let year = i64::from(date.year) + months / 12;
        if year > i64::from(YEAR_MAX) {
            return LOCAL_END;
        }
        let (year, month) = (year as u32, (months % 12 + 1) as u32);
        let day = date.day.min(month_days(year, month));
        let local = i64::from(Date { year, month, day }.days()) * DAY + second;
        local.saturating_add(number.saturating_mul(self.seconds)).min(LOCAL_END)
    }

    /// How many instances are before a local second.
    fn before(&self, local: i64) -> i64 {
        let (mut lo, mut hi) = (0, self.count);
        // Each step is at least 28 days for a month, and a second for a second.
        let least = i64::from(self.months) * 28 * DAY + self.seconds;
        hi = hi.min((local - self.start).max(0) / least + 1);
        while lo < hi {
            let middle = lo + (hi - lo) / 2;
            if self.at(middle) < local { lo = middle + 1 } else { hi = middle }
        }
        lo
    }
}

impl LocalTimes for Steps {
    fn first(&self, lo: i64, hi: i64) -> Option<i64> {
        let number = self.before(lo);
        let found = (number < self.count).then(|| self.at(number))?;
        (found < hi.min(LOCAL_END)).then_some(found)
    }

    fn last(&self, lo: i64, hi: i64) -> Option<i64> {
        let number = self.before(hi.min(LOCAL_END)) - 1;
        let found = (number >= 0).then(|| self.at(number))?;
        (found >= lo).then_some(found)
    }

    fn count(&self, lo: i64, hi: i64) -> u64 {
        let (lo, hi) = (lo.min(LOCAL_END), hi.min(LOCAL_END));
        if lo >= hi { 0 } else { (self.before(hi) - self.before(lo)) as u64 }
    }

    fn by_the_clock(&self) -> bool {
        false
    }
}
