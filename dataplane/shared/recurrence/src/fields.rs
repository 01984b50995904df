//! A rule as sets of seconds, minutes, hours, days, months and years, and the search in them.
//!
//! Every search is bit scans: the day it begins on, then the rest of that month, then the months
//! and years whose bits are set. Times are local seconds; zones come later.

use crate::civil::{DAY, Date, LOCAL_END, YEAR_MAX, YEAR_MIN, month_days, weekday};
use crate::days::Days;
use crate::wall::LocalTimes;

/// Every hour of a day.
pub(crate) const HOURS_ALL: u32 = 0xff_ffff;
/// Every minute of an hour, every second of a minute.
pub(crate) const SIXTY_ALL: u64 = (1 << 60) - 1;
/// Every month, bits 1 to 12.
pub(crate) const MONTHS_ALL: u16 = 0x1ffe;

/// Times of a day: a product of three sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Times {
    /// Bits 0 to 59, never empty.
    pub seconds: u64,
    /// Bits 0 to 59, never empty.
    pub minutes: u64,
    /// Bits 0 to 23, never empty.
    pub hours: u32,
}

impl Times {
    /// The first time of a day at or after this second of it.
    #[inline]
    pub fn first_from(self, second: u32) -> Option<u32> {
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        if self.hours >> h & 1 != 0 {
            if self.minutes >> m & 1 != 0 {
                let rest = self.seconds >> s;
                if rest != 0 {
                    return Some(second + rest.trailing_zeros());
                }
            }
            let rest = self.minutes >> m >> 1;
            if rest != 0 {
                let m = m + 1 + rest.trailing_zeros();
                return Some(h * 3600 + m * 60 + self.seconds.trailing_zeros());
            }
        }
        let rest = self.hours >> h >> 1;
        (rest != 0).then(|| {
            let h = h + 1 + rest.trailing_zeros();
            h * 3600 + self.minutes.trailing_zeros() * 60 + self.seconds.trailing_zeros()
        })
    }

    /// The last time of a day at or before this second of it.
    pub fn last_to(self, second: u32) -> Option<u32> {
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        let below = |set: u64, bits: u32| set & ((1 << bits) - 1);
        if self.hours >> h & 1 != 0 {
            if self.minutes >> m & 1 != 0 {
                let rest = below(self.seconds, s + 1);
                if rest != 0 {
                    return Some(h * 3600 + m * 60 + rest.ilog2());
                }
            }
            let rest = below(self.minutes, m);
            if rest != 0 {
                return Some(h * 3600 + rest.ilog2() * 60 + self.seconds.ilog2());
            }
        }
        let rest = below(self.hours.into(), h);
        (rest != 0).then(|| rest.ilog2() * 3600 + self.minutes.ilog2() * 60 + self.seconds.ilog2())
    }

    /// How many times of a day lie before this second of it.
    pub fn count_below(self, second: u32) -> u64 {
        let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
        let below = |set: u64, bits: u32| u64::from((set & ((1 << bits) - 1)).count_ones());
        let minute = u64::from(self.seconds.count_ones());
        let hour = minute * u64::from(self.minutes.count_ones());
        let mut count = below(self.hours.into(), h) * hour;
        if h < 24 && self.hours >> h & 1 != 0 {
            count += below(self.minutes, m) * minute;
            if self.minutes >> m & 1 != 0 {
                count += below(self.seconds, s);
            }
        }
        count
    }
}

/// Years of 1970 to 2199 as bits; `None` is all of them.
pub(crate) type Years = Option<Box<[u64; 4]>>;

/// A whole rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Fields {
    pub times: Times,
    /// Bits 1 to 12.
    pub months: u16,
    pub days: Days,
    pub years: Years,
    /// Its hours are “every”: it follows the clock that passes, through changes of it too.
    pub by_the_clock: bool,
}

/// A page of the calendar, under search.
#[derive(Clone, Copy)]
struct Page {
    year: u32,
    month: u32,
    /// Day number of its first day.
    first: u32,
}

impl Page {
    fn of(year: u32, month: u32) -> Self {
        Self { year, month, first: Date { year, month, day: 1 }.days() }
    }
}

impl Fields {
    #[inline]
    fn in_year(&self, year: u32) -> bool {
        let Some(years) = &self.years else { return true };
        let bit = year - YEAR_MIN;
        years[bit as usize / 64] >> (bit % 64) & 1 != 0
    }

    /// The matching days of a month, if the month matches.
    #[inline]
    fn days_of(&self, month: Page) -> u32 {
        if self.months >> month.month & 1 == 0 || !self.in_year(month.year) {
            return 0;
        }
        self.days.of_month(weekday(month.first), month_days(month.year, month.month))
    }

    fn month_after(&self, mut month: Page) -> Option<Page> {
        loop {
            let rest = if self.in_year(month.year) { self.months >> month.month >> 1 } else { 0 };
            if rest != 0 {
                return Some(Page::of(month.year, month.month + 1 + rest.trailing_zeros()));
            }
            month = Page { year: month.year + 1, month: 0, first: 0 };
            if month.year > YEAR_MAX {
                return None;
            }
        }
    }

    fn month_before(&self, mut month: Page) -> Option<Page> {
        loop {
            let below = self.months & ((1 << month.month) - 1);
            if below != 0 && self.in_year(month.year) {
                return Some(Page::of(month.year, below.ilog2()));
            }
            if month.year == YEAR_MIN {
                return None;
            }
            month = Page { year: month.year - 1, month: 13, first: 0 };
        }
    }

    /// Matching days among `days`, given as day numbers.
    fn count_days(&self, from: u32, to: u32) -> u64 {
        if from >= to {
            return 0;
        }
        let date = Date::of_days(from);
        let mut month = Page { first: from + 1 - date.day, year: date.year, month: date.month };
        let mut count = 0;
        loop {
            let mut days = self.days_of(month);
            if from > month.first {
                days &= !0 << (from - month.first + 1);
            }
            if to - month.first < 31 {
                days &= (2 << (to - month.first)) - 1;
            }
            count += u64::from(days.count_ones());
            match self.month_after(month) {
                Some(next) if next.first < to => month = next,
                _ => return count,
            }
        }
    }
}

impl LocalTimes for Fields {
    #[inline]
    fn first(&self, lo: i64, hi: i64) -> Option<i64> {
        let (lo, hi) = (lo.max(0), hi.min(LOCAL_END));
        if lo >= hi {
            return None;
        }
        let (today, second) = ((lo / DAY) as u32, (lo % DAY) as u32);
        let date = Date::of_days(today);
        let mut month = Page { first: today + 1 - date.day, year: date.year, month: date.month };
        let mut days = self.days_of(month) >> date.day;
        if days & 1 != 0
            && let Some(time) = self.times.first_from(second)
        {
            let found = lo - i64::from(second) + i64::from(time);
            return (found < hi).then_some(found);
        }
        days &= !1;
        let mut base = today;
        while days == 0 {
            month = self.month_after(month)?;
            if i64::from(month.first) * DAY >= hi {
                return None;
            }
            days = self.days_of(month) >> 1;
            base = month.first;
        }
        let day = base + days.trailing_zeros();
        let time = self.times.first_from(0)?;
        let found = i64::from(day) * DAY + i64::from(time);
        (found < hi).then_some(found)
    }

    fn last(&self, lo: i64, hi: i64) -> Option<i64> {
        let (lo, hi) = (lo.max(0), hi.min(LOCAL_END));
        if lo >= hi {
            return None;
        }
        let (today, second) = (((hi - 1) / DAY) as u32, ((hi - 1) % DAY) as u32);
        let date = Date::of_days(today);
        let mut month = Page { first: today + 1 - date.day, year: date.year, month: date.month };
        let days = self.days_of(month);
        if days >> date.day & 1 != 0
            && let Some(time) = self.times.last_to(second)
        {
            let found = i64::from(today) * DAY + i64::from(time);
            return (found >= lo).then_some(found);
        }
        let mut days = days & ((1 << date.day) - 1);
        while days == 0 {
            if i64::from(month.first) * DAY < lo {
                return None;
            }
            month = self.month_before(month)?;
            days = self.days_of(month);
        }
        let day = month.first + days.ilog2() - 1;
        let found = i64::from(day) * DAY + i64::from(self.times.last_to(DAY as u32 - 1)?);
        (found >= lo).then_some(found)
    }

    fn count(&self, lo: i64, hi: i64) -> u64 {
        let (lo, hi) = (lo.max(0), hi.min(LOCAL_END));
        if lo >= hi {
            return 0;
        }
        let split = |at: i64| ((at / DAY) as u32, (at % DAY) as u32);
        let ((from, above), (to, below)) = (split(lo), split(hi));
        let mut count = self.count_days(from, to) * self.times.count_below(DAY as u32);
        if below > 0 && self.count_days(to, to + 1) == 1 {
            count += self.times.count_below(below);
        }
        if above > 0 && self.count_days(from, from + 1) == 1 {
            count -= self.times.count_below(above);
        }
        count
    }

    fn by_the_clock(&self) -> bool {
        self.by_the_clock
    }
}
