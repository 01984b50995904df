//! A rule with a beginning, an end and days on which it rests: what a schedule fires on.

use std::sync::Arc;

use crate::civil::DAY;
use crate::exclusions::{Exclusions, day_of};
use crate::{Rule, Seconds};

/// Excluded stretches that a search passes before it gives up: about ten years of single days.
const STRETCHES_MAX: usize = 4096;
/// Days of one stretch; a longer one is passed in several.
const STRETCH_DAYS_MAX: u32 = 4096;

/// Instants of `rule` from `start` to `end`, both included, apart from excluded days.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Occurrences {
    pub rule: Arc<Rule>,
    pub start: Option<Seconds>,
    pub end: Option<Seconds>,
    pub exclusions: Arc<Exclusions>,
}

impl Occurrences {
    /// The first instant strictly after this one; `None` when nothing is left, or nothing within
    /// some years of excluded days.
    #[inline]
    pub fn next_after(&self, after: Seconds) -> Option<Seconds> {
        let mut after = after.max(self.start.map_or(i64::MIN, |start| start.saturating_sub(1)));
        let end = self.end.unwrap_or(i64::MAX);
        let resting = !self.exclusions.is_empty();
        for _ in 0..STRETCHES_MAX {
            let next = self.rule.next_after(after).filter(|next| *next <= end)?;
            match resting.then(|| self.resting(next)).flatten() {
                None => return Some(next),
                Some((_, to)) => after = to - 1,
            }
        }
        None
    }

    /// The last instant strictly before this one.
    pub fn previous_before(&self, before: Seconds) -> Option<Seconds> {
        let mut before = before.min(self.end.map_or(i64::MAX, |end| end.saturating_add(1)));
        let start = self.start.unwrap_or(i64::MIN);
        for _ in 0..STRETCHES_MAX {
            let previous = self.rule.previous_before(before).filter(|at| *at >= start)?;
            match self.resting(previous) {
                None => return Some(previous),
                Some((from, _)) => before = from,
            }
        }
        None
    }

    /// Whether it fires at this very second.
    pub fn matches(&self, at: Seconds) -> bool {
        let (start, end) = (self.start.unwrap_or(i64::MIN), self.end.unwrap_or(i64::MAX));
        (start..=end).contains(&at)
            && self.rule.matches(at)
            && !self.exclusions.excludes(self.rule.zone(), at)
    }

    /// How many instants are after `after` and not after `until`.
    pub fn count_between(&self, after: Seconds, until: Seconds) -> u64 {
        let after = after.max(self.start.map_or(i64::MIN, |start| start.saturating_sub(1)));
        let until = until.min(self.end.unwrap_or(i64::MAX));
        if after >= until {
            return 0;
        }
        let all = self.rule.count_between(after, until);
        if all == 0 || self.exclusions.is_empty() {
            return all;
        }
        all - self.count_excluded(after, until)
    }

    /// All instants after this one, in order.
    pub fn iter_after(&self, after: Seconds) -> impl Iterator<Item = Seconds> + '_ {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at))
    }

    /// When an instant is on an excluded day: the stretch `from..to` of instants around it which
    /// are, as far as one offset of the zone holds.
    fn resting(&self, at: Seconds) -> Option<(Seconds, Seconds)> {
        let exclusions = &self.exclusions;
        let zone = self.rule.zone();
        let segment = &zone.segments()[zone.segment_at(at)];
        let day = day_of(at + segment.offset);
        if exclusions.is_empty() || !exclusions.has(day) {
            return None;
        }
        let (mut from, mut to) = (day, day + 1);
        while from > 0 && day - from < STRETCH_DAYS_MAX && exclusions.has(from - 1) {
            from -= 1;
        }
        while to - day < STRETCH_DAYS_MAX && exclusions.has(to) {
            to += 1;
        }
        let instant = |day: u32| i64::from(day) * DAY - segment.offset;
        Some((instant(from).max(segment.start), instant(to).min(segment.end)))
    }

    /// How many instants of the rule lie on excluded days.
    fn count_excluded(&self, after: Seconds, until: Seconds) -> u64 {
        let Some(mut at) = self.rule.next_after(after) else { return 0 };
        let last = self.rule.previous_before(until.saturating_add(1)).unwrap_or(at);
        let zone = self.rule.zone();
        let mut count = 0;
        while at <= last {
            if let Some((_, to)) = self.resting(at) {
                count += self.rule.count_between(at - 1, (to - 1).min(last));
                at = to;
                continue;
            }
            // The next day, or the next segment if that comes first.
            let segment = &zone.segments()[zone.segment_at(at)];
            let tomorrow = (i64::from(day_of(at + segment.offset)) + 1) * DAY - segment.offset;
            at = tomorrow.min(segment.end);
        }
        count
    }
}
