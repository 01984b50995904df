//! Which days of a month a recurrence names: its BY parts of days, and its interval.
//!
//! What BY parts mean follows RFC 5545, section 3.3.10, and where that leaves room the reading of
//! python-dateutil: a day is in when every part that is given admits it, and a week belongs to the
//! year in which most of its days are, while its days are counted to their own year.

use crate::civil::{Date, is_leap, month_days, weekday};
use crate::days::{Days, WEEKDAYS_ALL, bits};
use crate::fields::MONTHS_ALL;
use crate::recur::Freq;

/// A set of numbers that count from the front or, negative, from the back; 1 to 366.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct NumberSet(Vec<i16>);

impl NumberSet {
    pub fn insert(&mut self, number: i16) {
        if let Err(at) = self.0.binary_search(&number) {
            self.0.insert(at, number);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn values(&self) -> &[i16] {
        &self.0
    }

    fn has(&self, number: i16) -> bool {
        self.0.binary_search(&number).is_ok()
    }

    /// Whether it names the `number`-th of `size`.
    pub fn names(&self, number: u32, size: u32) -> bool {
        self.has(number as i16) || self.has(number as i16 - size as i16 - 1)
    }
}

/// `2MO`, `-1FR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Nth {
    /// 0 = Sunday.
    pub weekday: u32,
    pub nth: i16,
}

/// The days of a recurrence, as far as its period and parts say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct DayRule {
    pub freq: Freq,
    pub interval: u32,
    /// Day number of DTSTART.
    pub start_day: u32,
    /// Weekday on which weeks begin, 0 = Sunday.
    pub week_start: u32,
    /// Bits 1 to 12.
    pub months: u16,
    /// BYMONTHDAY and plain weekdays.
    pub plain: Days,
    /// Numbered weekdays: of the year when the rule is yearly and names no months, else of the
    /// month. They add to the plain ones.
    pub nth: Vec<Nth>,
    pub year_days: NumberSet,
    pub weeks: NumberSet,
}

/// A month under search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub year: u32,
    pub month: u32,
    /// Day number of its first day.
    pub first: u32,
}

impl Page {
    pub fn of_day(day: u32) -> Self {
        let date = Date::of_days(day);
        Self { year: date.year, month: date.month, first: day + 1 - date.day }
    }

    /// January of a year.
    pub fn of_year(year: u32) -> Self {
        Self { year, month: 1, first: Date { year, month: 1, day: 1 }.days() }
    }

    pub fn length(self) -> u32 {
        month_days(self.year, self.month)
    }

    pub fn next(self) -> Self {
        let first = self.first + self.length();
        let last = self.month == 12;
        Self { year: self.year + u32::from(last), month: self.month % 12 + 1, first }
    }

    pub fn previous(self) -> Option<Self> {
        (self.first > 0).then(|| Self::of_day(self.first - 1))
    }
}

impl DayRule {
    /// Days of the month that match, bits 1 to 31; BYSETPOS comes later.
    pub fn of_page(&self, page: Page) -> u32 {
        if self.months >> page.month & 1 == 0 || !self.in_period(page) {
            return 0;
        }
        let length = page.length();
        let mut days = self.plain.of_month(weekday(page.first), length);
        if !self.nth.is_empty() {
            days |= self.numbered(page) & self.plain_dates(page);
        }
        let checks_days = !self.year_days.is_empty()
            || !self.weeks.is_empty()
            || (self.interval > 1 && matches!(self.freq, Freq::Weekly | Freq::Daily));
        if checks_days && days != 0 {
            for date in bits(days.into()) {
                if !self.admits(page, date) {
                    days &= !(1 << date);
                }
            }
        }
        days
    }

    /// Whether the page's year or month is one of the interval.
    fn in_period(&self, page: Page) -> bool {
        if self.interval == 1 {
            return true;
        }
        let start = Date::of_days(self.start_day);
        let months =
            i64::from(page.year * 12 + page.month) - i64::from(start.year * 12 + start.month);
        let apart = match self.freq {
            Freq::Yearly => i64::from(page.year) - i64::from(start.year),
            Freq::Monthly => months,
            _ => 0,
        };
        apart % i64::from(self.interval) == 0
    }

    /// The month by its BYMONTHDAY alone.
    fn plain_dates(&self, page: Page) -> u32 {
        let dates = Days { weekdays: WEEKDAYS_ALL, ..self.plain.clone() };
        dates.of_month(weekday(page.first), page.length())
    }

    fn numbered(&self, page: Page) -> u32 {
        let length = page.length();
        let of_year = self.freq == Freq::Yearly && self.months == MONTHS_ALL;
        let jan = Date { year: page.year, month: 1, day: 1 }.days();
        let (before, size) =
            if of_year { (page.first - jan, year_days(page.year)) } else { (0, length) };
        let first_weekday = weekday(page.first);
        let mut days = 0;
        for date in 1..=length {
            let weekday = (first_weekday + date - 1) % 7;
            let (place, back) = (before + date - 1, size - before - date);
            let (nth, last) = ((place / 7 + 1) as i16, -((back / 7 + 1) as i16));
            if self.nth.iter().any(|n| n.weekday == weekday && (n.nth == nth || n.nth == last)) {
                days |= 1 << date;
            }
        }
        days
    }

    /// Checks that need the day itself.
    fn admits(&self, page: Page, date: u32) -> bool {
        let day = page.first + date - 1;
        let interval = i64::from(self.interval);
        let apart = match self.freq {
            Freq::Weekly => self.week_of(day) - self.week_of(self.start_day),
            Freq::Daily => i64::from(day) - i64::from(self.start_day),
            _ => 0,
        };
        if apart % interval != 0 {
            return false;
        }
        let jan = Date { year: page.year, month: 1, day: 1 }.days();
        let year_day = day - jan + 1;
        (self.year_days.is_empty() || self.year_days.names(year_day, year_days(page.year)))
            && (self.weeks.is_empty() || self.in_weeks(day))
    }

    /// Number of a day's week since some week.
    pub fn week_of(&self, day: u32) -> i64 {
        (i64::from(day) + 4 - i64::from(self.week_start)).div_euclid(7)
    }

    /// First day of a day's week; it may lie before 1970.
    pub fn week_first(&self, day: u32) -> i64 {
        i64::from(day) - i64::from((weekday(day) + 7 - self.week_start) % 7)
    }

    fn in_weeks(&self, day: u32) -> bool {
        // The fourth day of a week decides to which year it belongs.
        let middle = (self.week_first(day) + 3).max(0) as u32;
        let year = Date::of_days(middle).year;
        let jan = Date { year, month: 1, day: 1 }.days();
        let number = (middle - jan) / 7 + 1;
        let weeks = (year_days(year) - 1 - (middle - jan) % 7) / 7 + 1;
        self.weeks.names(number, weeks)
    }
}

fn year_days(year: u32) -> u32 {
    365 + u32::from(is_leap(year))
}
