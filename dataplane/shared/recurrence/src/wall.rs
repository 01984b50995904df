//! From local seconds to instants: what a rule means where the clock is changed.
//!
//! A zone is a row of segments with one offset each. A rule's local matches inside a segment are
//! instants at once; between two segments the clock either skips local seconds (a gap) or shows
//! them again (a second pass), and the [`Dst`] says what becomes of matches among those.

use crate::civil::LOCAL_END;
use crate::zone::{Segment, Zone};
use crate::{Dst, Seconds};

/// Local seconds that match. `lo..hi` throughout; none lies outside 1970 to 2199.
pub(crate) trait LocalTimes {
    /// The first match in `lo..hi`.
    fn first(&self, lo: i64, hi: i64) -> Option<i64>;
    /// The last match in `lo..hi`.
    fn last(&self, lo: i64, hi: i64) -> Option<i64>;
    /// How many matches are in `lo..hi`; its cost does not grow with how many they are.
    fn count(&self, lo: i64, hi: i64) -> u64;
    /// Whether it follows the clock that passes: both passes run, and a gap misses nothing.
    fn by_the_clock(&self) -> bool;
}

/// Local times of a rule in its zone.
pub(crate) struct Wall<'a, T> {
    times: &'a T,
    zone: &'a Zone,
    /// A second pass runs too.
    twice: bool,
    /// What a gap swallows runs right after it.
    makes_up: bool,
}

impl<'a, T: LocalTimes> Wall<'a, T> {
    #[inline]
    pub fn new(times: &'a T, zone: &'a Zone, dst: Dst) -> Self {
        let by_the_clock = times.by_the_clock();
        let twice = by_the_clock || dst.repeats();
        Self { times, zone, twice, makes_up: dst.makes_up() && !by_the_clock }
    }

    /// The first instant at or after this one.
    #[inline]
    pub fn next(&self, from: Seconds) -> Option<Seconds> {
        let segments = self.zone.segments();
        let mut at = self.zone.segment_at(from);
        let segment = &segments[at];
        if from == segment.start && self.is_made_up(segment) {
            return Some(from);
        }
        let lo = (from + segment.offset).max(self.floor(segment));
        let found = self.times.first(lo, LOCAL_END);
        if let Some(local) = found
            && local < segment.local_end()
        {
            return Some(local - segment.offset);
        }
        if self.twice
            && let Some(again) = segments.get(at + 1)
            && let Some(local) = self.times.first(again.local_start(), lo.min(again.local_end()))
        {
            return Some(local - again.offset);
        }
        let mut local = found?;
        loop {
            at += 1;
            let segment = segments.get(at)?;
            if local < segment.local_start() {
                if self.makes_up {
                    return Some(segment.start);
                }
                local = self.times.first(segment.local_start(), LOCAL_END)?;
            }
            if local < segment.local_end() {
                return Some(local - segment.offset);
            }
        }
    }

    /// The last instant before this one.
    pub fn previous(&self, before: Seconds) -> Option<Seconds> {
        let segments = self.zone.segments();
        let mut at = self.zone.segment_at(before - 1);
        // No match is at `local + 1..known_to`.
        let mut known_to = before + segments[at].offset;
        let mut local = self.times.last(0, known_to);
        loop {
            let segment = &segments[at];
            if let Some(local) = local {
                if local >= self.floor(segment) {
                    return Some(local - segment.offset);
                }
                if self.makes_up && segment.has_gap() && local >= segment.seen_to {
                    return Some(segment.start);
                }
            }
            at = at.checked_sub(1)?;
            let end = segments[at].local_end();
            if local.is_some_and(|local| local >= end) {
                local = self.times.last(0, end);
            } else if end > known_to {
                local = self.times.last(known_to, end).or(local);
            }
            known_to = end;
        }
    }

    /// How many instants are in `from..to`.
    pub fn count(&self, from: Seconds, to: Seconds) -> u64 {
        let segments = self.zone.segments();
        let mut count = 0;
        for segment in &segments[self.zone.segment_at(from)..] {
            if segment.start >= to {
                break;
            }
            let lo = (from.max(segment.start) + segment.offset).max(self.floor(segment));
            count += self.times.count(lo, to.min(segment.end) + segment.offset);
            if from <= segment.start
                && self.is_made_up(segment)
                && !self.is_local(segment.local_start())
            {
                count += 1;
            }
        }
        count
    }

    /// Whether this instant is one.
    pub fn matches(&self, at: Seconds) -> bool {
        let segment = &self.zone.segments()[self.zone.segment_at(at)];
        let local = at + segment.offset;
        (local >= self.floor(segment) && self.is_local(local))
            || (at == segment.start && self.is_made_up(segment))
    }

    /// The first local second of a segment that counts.
    #[inline]
    fn floor(&self, segment: &Segment) -> i64 {
        if self.twice { segment.local_start() } else { segment.local_start().max(segment.seen_to) }
    }

    fn is_local(&self, local: i64) -> bool {
        self.times.first(local, local + 1).is_some()
    }

    fn is_made_up(&self, segment: &Segment) -> bool {
        self.makes_up
            && segment.has_gap()
            && self.times.first(segment.seen_to, segment.local_start()).is_some()
    }
}
