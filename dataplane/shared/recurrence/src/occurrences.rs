//! A rule with a beginning, an end and days on which it rests: what a schedule fires on.

use std::sync::Arc;

use crate::civil::DAY;
use crate::exclusions::{Exclusions, day_of};
use crate::zone::Segment;
use crate::{Rule, Seconds};

/// Steps over excluded days that a search takes before it gives up: a range of dates is one step, a
/// single day or one of a recurrence is another, so this is eleven years of those at least.
const STEPS_MAX: u32 = 4096;

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
        let mut steps = STEPS_MAX;
        loop {
            let next = self.rule.next_after(after).filter(|next| *next <= end)?;
            if self.exclusions.is_empty() {
                return Some(next);
            }
            match self.rests_until(next, &mut steps) {
                None => return Some(next),
                Some(_) if steps == 0 => return None,
                Some(until) => after = until - 1,
            }
        }
    }

    /// The last instant strictly before this one.
    pub fn previous_before(&self, before: Seconds) -> Option<Seconds> {
        let mut before = before.min(self.end.map_or(i64::MAX, |end| end.saturating_add(1)));
        let start = self.start.unwrap_or(i64::MIN);
        let mut steps = STEPS_MAX;
        loop {
            let previous = self.rule.previous_before(before).filter(|at| *at >= start)?;
            match self.rests_from(previous, &mut steps) {
                None => return Some(previous),
                Some(_) if steps == 0 => return None,
                Some(from) => before = from,
            }
        }
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

    /// When an instant is on an excluded day: the first instant after it that is not, or the end of
    /// the zone's offset if that comes first.
    fn rests_until(&self, at: Seconds, steps: &mut u32) -> Option<Seconds> {
        let segment = self.segment(at);
        let mut until = None;
        let mut day = day_of(at + segment.offset);
        while let Some(next) = self.exclusions.excluded_until(day).filter(|_| *steps > 0) {
            *steps -= 1;
            day = next;
            let instant = i64::from(day) * DAY - segment.offset;
            until = Some(instant.min(segment.end));
            if instant >= segment.end {
                break;
            }
        }
        until
    }

    /// When an instant is on an excluded day: the first instant of the excluded days around it, or
    /// the beginning of the zone's offset if that comes last.
    fn rests_from(&self, at: Seconds, steps: &mut u32) -> Option<Seconds> {
        let segment = self.segment(at);
        let mut from = None;
        let mut day = day_of(at + segment.offset);
        while let Some(first) = self.exclusions.excluded_from(day).filter(|_| *steps > 0) {
            *steps -= 1;
            let instant = i64::from(first) * DAY - segment.offset;
            from = Some(instant.max(segment.start));
            if instant <= segment.start || first == 0 {
                break;
            }
            day = first - 1;
        }
        from
    }

    fn segment(&self, at: Seconds) -> &Segment {
        let zone = self.rule.zone();
        &zone.segments()[zone.segment_at(at)]
    }

    /// How many instants of the rule lie on excluded days.
    fn count_excluded(&self, after: Seconds, until: Seconds) -> u64 {
        let Some(mut at) = self.rule.next_after(after) else { return 0 };
        let last = self.rule.previous_before(until.saturating_add(1)).unwrap_or(at);
        let mut count = 0;
        while at <= last {
            let mut steps = STEPS_MAX;
            if let Some(until) = self.rests_until(at, &mut steps) {
                count += self.rule.count_between(at - 1, (until - 1).min(last));
                at = until;
                continue;
            }
            // The next day, or the next segment if that comes first.
            let segment = self.segment(at);
            let tomorrow = (i64::from(day_of(at + segment.offset)) + 1) * DAY - segment.offset;
            at = tomorrow.min(segment.end);
        }
        count
    }
}
