//! Every n-th hour, minute or second, where n does not divide the next larger unit.
//!
//! On one day the ticks are an arithmetic progression; the times that BY parts allow are another
//! set. A search leaps from one to the other. The progression of a day depends only on its residue.

use crate::civil::DAY;
use crate::fields::Times;
use crate::recur::Budget;

/// Periods of an hour, a minute or a second.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ticks {
    /// Seconds of a period: 3600, 60 or 1.
    pub unit: u32,
    /// Periods from one to the next.
    pub interval: i64,
    /// Number of DTSTART's period since 1970.
    pub start: i64,
    /// Which periods BY parts allow; finer fields than the period hold just 0.
    pub allowed: Times,
    /// Seconds of each period that are instances, sorted, not empty.
    pub offsets: Vec<u32>,
    /// Instances of a whole day by its residue, when the interval is short enough to have them all.
    pub day_counts: Vec<u32>,
}

/// Longer intervals have so few ticks a day that they are counted when asked.
const TABLE_MAX: i64 = 1440;

impl Ticks {
    /// Counts the days of short intervals, all residues together in one walk over a day's periods.
    pub fn counted(mut self) -> Self {
        if self.interval <= TABLE_MAX {
            let residues = 0..self.interval;
            self.day_counts =
                residues.map(|residue| self.walk(residue, DAY as u32) as u32).collect();
        }
        self
    }

    /// Whether a day is known to have none.
    fn is_empty(&self, residue: i64) -> bool {
        self.day_counts.get(residue as usize) == Some(&0)
    }

    /// Instances of a whole day.
    pub fn count_day(&self, day: u32) -> u64 {
        let residue = self.residue(day);
        let known = self.day_counts.get(residue as usize);
        known.map_or_else(|| self.walk(residue, DAY as u32), |count| u64::from(*count))
    }

    /// What tells the ticks of one day from those of another.
    pub fn residue(&self, day: u32) -> i64 {
        let periods = DAY / i64::from(self.unit);
        (self.start - i64::from(day) * periods).rem_euclid(self.interval)
    }

    /// The first period of the day at or after this one, in seconds of the day.
    fn period_from(&self, residue: i64, mut second: u32, budget: &mut Budget) -> Option<u32> {
        while second < DAY as u32 && budget.spend() {
            let allowed = self.allowed.first_from(second)?;
            let index = i64::from(allowed / self.unit);
            let step = (residue - index).rem_euclid(self.interval);
            let tick = (index + step) * i64::from(self.unit);
            if tick >= DAY {
                return None;
            }
            if step == 0 {
                return Some(allowed);
            }
            second = tick as u32;
        }
        None
    }

    /// The last period of the day that begins at or before this second.
    fn period_to(&self, residue: i64, mut second: u32, budget: &mut Budget) -> Option<u32> {
        while budget.spend() {
            let allowed = self.allowed.last_to(second)?;
            let index = i64::from(allowed / self.unit);
            let step = (index - residue).rem_euclid(self.interval);
            if step == 0 {
                return Some(allowed);
            }
            let tick = (index - step) * i64::from(self.unit);
            if tick < 0 {
                return None;
            }
            second = tick as u32;
        }
        None
    }

    pub fn first_from(&self, day: u32, second: u32, budget: &mut Budget) -> Option<u32> {
        let residue = self.residue(day);
        if self.is_empty(residue) {
            return None;
        }
        let mut period = second - second % self.unit;
        loop {
            period = self.period_from(residue, period, budget)?;
            let found = self.offsets.iter().map(|offset| period + offset).find(|at| *at >= second);
            if found.is_some() {
                return found;
            }
            period += self.unit;
        }
    }

    pub fn last_to(&self, day: u32, second: u32, budget: &mut Budget) -> Option<u32> {
        let residue = self.residue(day);
        if self.is_empty(residue) {
            return None;
        }
        let mut limit = second;
        loop {
            let period = self.period_to(residue, limit, budget)?;
            let all = self.offsets.iter().rev().map(|offset| period + offset);
            let found = { all }.find(|at| *at <= second);
            if found.is_some() {
                return found;
            }
            limit = period.checked_sub(1)?;
        }
    }

    /// Instances of the day before this second.
    pub fn count_below(&self, day: u32, second: u32) -> u64 {
        self.walk(self.residue(day), second)
    }

    fn walk(&self, residue: i64, second: u32) -> u64 {
        let mut budget = Budget::new();
        let mut count = 0;
        let mut from = 0;
        while let Some(period) = self.period_from(residue, from, &mut budget) {
            if period >= second {
                break;
            }
            count += self.offsets.partition_point(|offset| period + offset < second) as u64;
            from = period + self.unit;
        }
        count
    }
}
