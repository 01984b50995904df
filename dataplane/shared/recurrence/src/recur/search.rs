//! The search in a recurrence: month by month, day by day where a day may be empty.

use std::collections::HashMap;

use crate::civil::{DAY, DAYS_END, LOCAL_END};
use crate::days::bits;
use crate::recur::days::Page;
use crate::recur::times::DayTimes;
use crate::recur::{Freq, Recur, chosen_of};
use crate::wall::LocalTimes;

/// Steps of one search. Only rules whose ticks and BY parts hardly ever meet come near; those end
/// here, after some milliseconds.
const STEPS_MAX: u32 = 1 << 21;

/// Bounds the work of one search.
#[derive(Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    pub fn new() -> Self {
        Self(STEPS_MAX)
    }

    /// Whether one more step may be taken.
    pub fn spend(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

impl Recur {
    /// The days of a month that have instances, as far as days tell.
    fn days_of(&self, page: Page) -> u32 {
        let days = self.days.of_page(page);
        let Some((times, places)) = self.times.ranked().filter(|_| days != 0) else { return days };
        let size = times.size();
        let outside = self.outside(page);
        let ranked = bits(days.into()).filter(|date| {
            let (before, all) = self.place(page, days, *date, outside);
            let ranks = before * size..(before + 1) * size;
            chosen_of(places, all * size).iter().any(|rank| ranks.contains(rank))
        });
        ranked.fold(0, |days, date| days | 1 << date)
    }

    /// Times of a day that BYSETPOS chooses, sorted.
    fn ranks(&self, day: u32) -> Vec<u32> {
        let Some((times, places)) = self.times.ranked() else { return Vec::new() };
        let page = Page::of_day(day);
        let (days, date) = (self.days.of_page(page), day - page.first + 1);
        if days >> date & 1 == 0 {
            return Vec::new();
        }
        let (before, all) = self.place(page, days, date, self.outside(page));
        let size = times.size();
        let base = before * size;
        let chosen = chosen_of(places, all * size);
        let inside = chosen.iter().filter(|rank| (base..base + size).contains(rank));
        inside.map(|rank| times.at_rank(rank - base)).collect()
    }

    /// Matching days of the year before a month and after it, when the period is a year.
    fn outside(&self, page: Page) -> (u64, u64) {
        let (mut before, mut after) = (0, 0);
        if self.days.freq == Freq::Yearly {
            let mut other = page;
            while let Some(earlier) = other.previous().filter(|_| other.month > 1) {
                other = earlier;
                before += u64::from(self.days.of_page(other).count_ones());
            }
            other = page;
            while other.month < 12 {
                other = other.next();
                after += u64::from(self.days.of_page(other).count_ones());
            }
        }
        (before, after)
    }

    /// How many matching days of its period are before a matching day, and how many there are.
    fn place(&self, page: Page, days: u32, date: u32, outside: (u64, u64)) -> (u64, u64) {
        if self.days.freq == Freq::Weekly {
            let day = i64::from(page.first + date - 1);
            let first = self.days.week_first(day as u32);
            let matches = |day: &i64| {
                let Ok(day) = u32::try_from(*day) else { return false };
                let page = Page::of_day(day);
                self.days.of_page(page) >> (day - page.first + 1) & 1 != 0
            };
            let before = (first..day).filter(matches).count() as u64;
            return (before, before + (day..first + 7).filter(matches).count() as u64);
        }
        let before = u64::from((days & ((1 << date) - 1)).count_ones());
        (outside.0 + before, outside.0 + u64::from(days.count_ones()) + outside.1)
    }

    fn first_time(&self, day: u32, second: u32, budget: &mut Budget) -> Option<u32> {
        if self.times.ranked().is_some() {
            return self.ranks(day).into_iter().find(|at| *at >= second);
        }
        self.times.first_from(day, second, budget)
    }

    fn last_time(&self, day: u32, second: u32, budget: &mut Budget) -> Option<u32> {
        if self.times.ranked().is_some() {
            return self.ranks(day).into_iter().rev().find(|at| *at <= second);
        }
        self.times.last_to(day, second, budget)
    }

    fn count_time(&self, day: u32, second: u32) -> u64 {
        if self.times.ranked().is_some() {
            return self.ranks(day).into_iter().filter(|at| *at < second).count() as u64;
        }
        self.times.count_below(day, second)
    }

    /// Instances of matching days `from..to`, whole ones.
    fn count_days(&self, from: u32, to: u32) -> u64 {
        let mut count = 0;
        // Days with the same residue have the same ticks.
        let mut known: HashMap<i64, u64> = HashMap::new();
        let mut page = Page::of_day(from);
        while page.first < to && page.first < DAYS_END {
            let mut days = self.days_of(page);
            if from > page.first {
                days &= !0 << (from - page.first + 1);
            }
            if to - page.first < 31 {
                days &= (2 << (to - page.first)) - 1;
            }
            count += match &self.times {
                DayTimes::Product(times) => u64::from(days.count_ones()) * times.size(),
                DayTimes::List(list) => u64::from(days.count_ones()) * list.len() as u64,
                DayTimes::Ticks(ticks) => bits(days.into())
                    .map(|date| {
                        let day = page.first + date - 1;
                        let count = || ticks.count_below(day, DAY as u32);
                        *known.entry(ticks.residue(day)).or_insert_with(count)
                    })
                    .sum(),
                DayTimes::Ranked { .. } => bits(days.into())
                    .map(|date| self.ranks(page.first + date - 1).len() as u64)
                    .sum(),
            };
            page = page.next();
        }
        count
    }

    fn is_day(&self, day: u32) -> bool {
        let page = Page::of_day(day);
        self.days_of(page) >> (day - page.first + 1) & 1 != 0
    }
}

impl LocalTimes for Recur {
    fn first(&self, lo: i64, hi: i64) -> Option<i64> {
        let (lo, hi) = (lo.max(self.start).max(0), hi.min(self.end).min(LOCAL_END));
        if lo >= hi {
            return None;
        }
        let mut budget = Budget::new();
        let (today, second) = ((lo / DAY) as u32, (lo % DAY) as u32);
        let mut page = Page::of_day(today);
        let mut days = self.days_of(page) & (!0 << (today - page.first + 1));
        while i64::from(page.first) * DAY < hi {
            for date in bits(days.into()) {
                let day = page.first + date - 1;
                let from = if day == today { second } else { 0 };
                if let Some(time) = self.first_time(day, from, &mut budget) {
                    let found = i64::from(day) * DAY + i64::from(time);
                    return (found < hi).then_some(found);
                }
                if !budget.spend() {
                    return None;
                }
            }
            page = page.next();
            days = self.days_of(page);
        }
        None
    }

    fn last(&self, lo: i64, hi: i64) -> Option<i64> {
        let (lo, hi) = (lo.max(self.start).max(0), hi.min(self.end).min(LOCAL_END));
        if lo >= hi {
            return None;
        }
        let mut budget = Budget::new();
        let (today, second) = (((hi - 1) / DAY) as u32, ((hi - 1) % DAY) as u32);
        let mut page = Page::of_day(today);
        let mut days = self.days_of(page) & ((2u64 << (today - page.first + 1)) - 1) as u32;
        loop {
            while days != 0 {
                let date = days.ilog2();
                days &= !(1 << date);
                let day = page.first + date - 1;
                let to = if day == today { second } else { DAY as u32 - 1 };
                if let Some(time) = self.last_time(day, to, &mut budget) {
                    let found = i64::from(day) * DAY + i64::from(time);
                    return (found >= lo).then_some(found);
                }
                if !budget.spend() {
                    return None;
                }
            }
            if i64::from(page.first) * DAY <= lo {
                return None;
            }
            page = page.previous()?;
            days = self.days_of(page);
        }
    }

    fn count(&self, lo: i64, hi: i64) -> u64 {
        let (lo, hi) = (lo.max(self.start).max(0), hi.min(self.end).min(LOCAL_END));
        if lo >= hi {
            return 0;
        }
        let split = |at: i64| ((at / DAY) as u32, (at % DAY) as u32);
        let ((from, above), (to, below)) = (split(lo), split(hi));
        let mut count = self.count_days(from, to);
        if below > 0 && self.is_day(to) {
            count += self.count_time(to, below);
        }
        if above > 0 && self.is_day(from) {
            count -= self.count_time(from, above);
        }
        count
    }

    fn by_the_clock(&self) -> bool {
        self.by_the_clock
    }
}
