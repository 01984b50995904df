//! The search in a recurrence: month by month, day by day where a day may be empty.

use crate::civil::{DAY, DAYS_END, LOCAL_END};
use crate::days::bits;
use crate::recur::Recur;
use crate::recur::days::Page;
use crate::recur::ranks::Ranks;
use crate::recur::times::DayTimes;
use crate::wall::LocalTimes;

/// Steps of one search. Only rules whose ticks and BY parts hardly ever meet come near; those end
/// here, after some milliseconds.
const STEPS_MAX: u32 = 1 << 18;

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
    fn days_of(&self, page: Page, ranks: &mut Ranks) -> u32 {
        let days = self.days.of_page(page);
        match self.times.ranked().filter(|_| days != 0) {
            None => days,
            Some((times, places)) => ranks.days_of(&self.days, page, times.size(), places),
        }
    }

    /// Times of a day that BYSETPOS chooses, sorted.
    fn ranked_times(&self, day: u32, ranks: &mut Ranks) -> Option<Vec<u32>> {
        let (times, places) = self.times.ranked()?;
        let ranks = ranks.of_day(&self.days, day, times.size(), places);
        Some(ranks.into_iter().map(|rank| times.at_rank(rank)).collect())
    }

    fn first_time(&self, day: u32, second: u32, state: &mut State) -> Option<u32> {
        match self.ranked_times(day, &mut state.ranks) {
            Some(times) => times.into_iter().find(|at| *at >= second),
            None => self.times.first_from(day, second, &mut state.budget),
        }
    }

    fn last_time(&self, day: u32, second: u32, state: &mut State) -> Option<u32> {
        match self.ranked_times(day, &mut state.ranks) {
            Some(times) => times.into_iter().rev().find(|at| *at <= second),
            None => self.times.last_to(day, second, &mut state.budget),
        }
    }

    fn count_time(&self, day: u32, second: u32, ranks: &mut Ranks) -> u64 {
        match self.ranked_times(day, ranks) {
            Some(times) => times.into_iter().filter(|at| *at < second).count() as u64,
            None => self.times.count_below(day, second),
        }
    }

    /// Instances of matching days `from..to`, whole ones.
    fn count_days(&self, from: u32, to: u32, ranks: &mut Ranks) -> u64 {
        let mut count = 0;
        let mut page = Page::of_day(from);
        while page.first < to && page.first < DAYS_END {
            let mut days = self.days_of(page, ranks);
            if from > page.first {
                days &= !0 << (from - page.first + 1);
            }
            if to - page.first < 31 {
                days &= (2 << (to - page.first)) - 1;
            }
            let each = bits(days.into()).map(|date| page.first + date - 1);
            count += match &self.times {
                DayTimes::Product(times) => u64::from(days.count_ones()) * times.size(),
                DayTimes::List(list) => u64::from(days.count_ones()) * list.len() as u64,
                DayTimes::Ticks(ticks) => each.map(|day| ticks.count_day(day)).sum(),
                DayTimes::Ranked { times, places } => {
                    let size = times.size();
                    each.map(|day| ranks.of_day(&self.days, day, size, places).len() as u64).sum()
                }
            };
            page = page.next();
        }
        count
    }

    fn is_day(&self, day: u32, ranks: &mut Ranks) -> bool {
        let page = Page::of_day(day);
        self.days_of(page, ranks) >> (day - page.first + 1) & 1 != 0
    }
}

/// What a search carries along.
struct State {
    budget: Budget,
    ranks: Ranks,
}

impl State {
    fn new() -> Self {
        Self { budget: Budget::new(), ranks: Ranks::default() }
    }
}

impl LocalTimes for Recur {
    fn first(&self, lo: i64, hi: i64) -> Option<i64> {
        let (lo, hi) = (lo.max(self.start).max(0), hi.min(self.end).min(LOCAL_END));
        if lo >= hi {
            return None;
        }
        let mut state = State::new();
        let (today, second) = ((lo / DAY) as u32, (lo % DAY) as u32);
        let mut page = Page::of_day(today);
        let mut days = self.days_of(page, &mut state.ranks) & (!0 << (today - page.first + 1));
        while i64::from(page.first) * DAY < hi {
            for date in bits(days.into()) {
                let day = page.first + date - 1;
                let from = if day == today { second } else { 0 };
                if let Some(time) = self.first_time(day, from, &mut state) {
                    let found = i64::from(day) * DAY + i64::from(time);
                    return (found < hi).then_some(found);
                }
                if !state.budget.spend() {
                    return None;
                }
            }
            page = page.next();
            days = self.days_of(page, &mut state.ranks);
        }
        None
    }

    fn last(&self, lo: i64, hi: i64) -> Option<i64> {
        let (lo, hi) = (lo.max(self.start).max(0), hi.min(self.end).min(LOCAL_END));
        if lo >= hi {
            return None;
        }
        let mut state = State::new();
        let (today, second) = (((hi - 1) / DAY) as u32, ((hi - 1) % DAY) as u32);
        let mut page = Page::of_day(today);
        let mut days =
            self.days_of(page, &mut state.ranks) & ((2u64 << (today - page.first + 1)) - 1) as u32;
        loop {
            while days != 0 {
                let date = days.ilog2();
                days &= !(1 << date);
                let day = page.first + date - 1;
                let to = if day == today { second } else { DAY as u32 - 1 };
                if let Some(time) = self.last_time(day, to, &mut state) {
                    let found = i64::from(day) * DAY + i64::from(time);
                    return (found >= lo).then_some(found);
                }
                if !state.budget.spend() {
                    return None;
                }
            }
            if i64::from(page.first) * DAY <= lo {
                return None;
            }
            page = page.previous()?;
            days = self.days_of(page, &mut state.ranks);
        }
    }

    fn count(&self, lo: i64, hi: i64) -> u64 {
        let (lo, hi) = (lo.max(self.start).max(0), hi.min(self.end).min(LOCAL_END));
        if lo >= hi {
            return 0;
        }
        let split = |at: i64| ((at / DAY) as u32, (at % DAY) as u32);
        let ((from, above), (to, below)) = (split(lo), split(hi));
        let ranks = &mut Ranks::default();
        let mut count = self.count_days(from, to, ranks);
        if below > 0 && self.is_day(to, ranks) {
            count += self.count_time(to, below, ranks);
        }
        if above > 0 && self.is_day(from, ranks) {
            count -= self.count_time(from, above, ranks);
        }
        count
    }

    fn by_the_clock(&self) -> bool {
        self.by_the_clock
    }
}
