//! Recurrences of RFC 5545: an expansion that answers from any point on without walking there.
//!
//! A rule is a set of days (`days`) times a set of times on each of them (`times`). Both are
//! functions of the day alone, so a search begins anywhere; COUNT was turned into an end when the
//! rule was compiled. DTSTART itself is an instance only if the rule says so.

mod days;
mod ranks;
mod search;
mod ticks;
mod times;

use crate::days::Days;
use crate::wall::LocalTimes;

pub(crate) use days::{DayRule, Nth, NumberSet};
pub(crate) use search::Budget;
pub(crate) use ticks::Ticks;
pub(crate) use times::{DayTimes, chosen_of};

/// How long a period is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Freq {
    Secondly,
    Minutely,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// The rule between its start and its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recur {
    pub days: DayRule,
    pub times: DayTimes,
    /// No instance is before it.
    pub start: i64,
    /// No instance is at or after it.
    pub end: i64,
    /// It follows the clock that passes.
    pub by_the_clock: bool,
}

impl DayRule {
    /// Every day from a first one on.
    pub fn all(freq: Freq, interval: u32, start_day: u32) -> Self {
        Self {
            freq,
            interval,
            start_day,
            week_start: 1,
            months: crate::fields::MONTHS_ALL,
            plain: Days::ALL,
            nth: Vec::new(),
            year_days: NumberSet::default(),
            weeks: NumberSet::default(),
        }
    }
}

/// A recurrence with single dates added and taken away.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Dates {
    /// None when there are only single dates.
    pub rule: Option<Recur>,
    /// RDATE: local seconds, sorted; none of them is excluded or an instance of the rule.
    pub added: Vec<i64>,
    /// EXDATE: local seconds `from..to`, sorted and apart.
    pub removed: Vec<(i64, i64)>,
}

impl Dates {
    /// Sorts what was written into what a search needs.
    pub fn new(rule: Option<Recur>, mut added: Vec<i64>, mut removed: Vec<(i64, i64)>) -> Self {
        removed.sort_unstable();
        let mut apart: Vec<(i64, i64)> = Vec::with_capacity(removed.len());
        for (from, to) in removed {
            match apart.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => apart.push((from, to)),
            }
        }
        added.sort_unstable();
        added.dedup();
        let mut all = Self { rule, added: Vec::new(), removed: apart };
        added.retain(|at| all.removed_at(*at).is_none());
        added.retain(|at| all.first(*at, at + 1).is_none());
        all.added = added;
        all
    }

    fn removed_at(&self, local: i64) -> Option<(i64, i64)> {
        let after = self.removed.partition_point(|range| range.0 <= local);
        let range = *self.removed.get(after.checked_sub(1)?)?;
        (local < range.1).then_some(range)
    }

    fn rule_first(&self, mut lo: i64, hi: i64) -> Option<i64> {
        let rule = self.rule.as_ref()?;
        loop {
            let found = rule.first(lo, hi)?;
            match self.removed_at(found) {
                None => return Some(found),
                Some((_, to)) => lo = to,
            }
        }
    }

    fn rule_last(&self, lo: i64, mut hi: i64) -> Option<i64> {
        let rule = self.rule.as_ref()?;
        loop {
            let found = rule.last(lo, hi)?;
            match self.removed_at(found) {
                None => return Some(found),
                Some((from, _)) => hi = from,
            }
        }
    }
}

impl LocalTimes for Dates {
    fn first(&self, lo: i64, hi: i64) -> Option<i64> {
        let added = self.added.get(self.added.partition_point(|at| *at < lo)).copied();
        let added = added.filter(|at| *at < hi);
        let ruled = self.rule_first(lo, added.unwrap_or(hi));
        ruled.or(added)
    }

    fn last(&self, lo: i64, hi: i64) -> Option<i64> {
        let before = self.added.partition_point(|at| *at < hi);
        let added = before.checked_sub(1).map(|at| self.added[at]).filter(|at| *at >= lo);
        let ruled = self.rule_last(added.map_or(lo, |at| at + 1), hi);
        ruled.or(added)
    }

    fn count(&self, lo: i64, hi: i64) -> u64 {
        if lo >= hi {
            return 0;
        }
        let below = |bound: i64| self.added.partition_point(|at| *at < bound);
        let added = (below(hi) - below(lo)) as u64;
        let Some(rule) = &self.rule else { return added };
        let mut count = rule.count(lo, hi) + added;
        for &(from, to) in &self.removed {
            count -= rule.count(from.max(lo), to.min(hi));
        }
        count
    }

    fn by_the_clock(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.by_the_clock)
    }
}
