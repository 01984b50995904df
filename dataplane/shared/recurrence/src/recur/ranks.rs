//! BYSETPOS over a week, a month or a year: which instances of a period are chosen.
//!
//! A period's instances are its matching days times the times of a day, counted in order. What was
//! chosen of the last period is kept, because a search asks day after day.

use crate::days::bits;
use crate::recur::days::{DayRule, Page};
use crate::recur::{Freq, chosen_of};

/// The last period that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Ranks {
    /// First day of the period; none yet when there are no days after it.
    first: i64,
    after: i64,
    /// Matching days of the period, sorted.
    days: Vec<u32>,
    /// Ranks of the chosen instances, sorted.
    chosen: Vec<u64>,
}

impl Ranks {
    /// The days of a month of which an instance is chosen.
    pub fn days_of(&mut self, rule: &DayRule, page: Page, size: u64, places: &[i32]) -> u32 {
        let dates = bits(rule.of_page(page).into());
        let chosen =
            dates.filter(|date| !self.of_day(rule, page.first + date - 1, size, places).is_empty());
        chosen.fold(0, |days, date| days | 1 << date)
    }

    /// The chosen instances of a day, by their place among its `size` times.
    pub fn of_day(&mut self, rule: &DayRule, day: u32, size: u64, places: &[i32]) -> Vec<u64> {
        if !(self.first..self.after).contains(&i64::from(day)) {
            self.fill(rule, day, size, places);
        }
        let Ok(place) = self.days.binary_search(&day) else { return Vec::new() };
        let base = place as u64 * size;
        let from = self.chosen.partition_point(|rank| *rank < base);
        let to = self.chosen.partition_point(|rank| *rank < base + size);
        self.chosen[from..to].iter().map(|rank| rank - base).collect()
    }

    /// Makes the period of a day the last one.
    fn fill(&mut self, rule: &DayRule, day: u32, size: u64, places: &[i32]) {
        let page = Page::of_day(day);
        (self.first, self.after) = match rule.freq {
            Freq::Weekly => {
                let first = rule.week_first(day);
                (first, first + 7)
            }
            Freq::Yearly => {
                let first = Page::of_year(page.year).first;
                (i64::from(first), i64::from(Page::of_year(page.year + 1).first))
            }
            _ => (i64::from(page.first), i64::from(page.first + page.length())),
        };
        self.days.clear();
        let mut page = Page::of_day(self.first.max(0) as u32);
        while i64::from(page.first) < self.after {
            let days = bits(rule.of_page(page).into()).map(|date| page.first + date - 1);
            let period = self.first..self.after;
            self.days.extend(days.filter(|day| period.contains(&i64::from(*day))));
            page = page.next();
        }
        self.chosen = chosen_of(places, self.days.len() as u64 * size);
    }
}
