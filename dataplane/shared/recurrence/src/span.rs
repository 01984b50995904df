//! Instants at equal distances: elapsed time, which no zone and no clock change touches.

use crate::Seconds;
use crate::civil::LOCAL_END;

/// `first`, `first + step`, … up to `last`; a single moment when both are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub first: Seconds,
    /// Itself an instant.
    pub last: Seconds,
    /// At least 1.
    pub step: i64,
}

impl Span {
    /// Every `step` seconds in phase with `anchor`, over all years.
    pub fn in_phase(step: i64, anchor: Seconds) -> Option<Self> {
        Self::bounded(step, anchor.rem_euclid(step), LOCAL_END - 1)
    }

    /// From `first` on, until `until` at most; `None` when that leaves nothing.
    pub fn bounded(step: i64, first: Seconds, until: Seconds) -> Option<Self> {
        let until = until.min(LOCAL_END - 1);
        if first > until || until < 0 {
            return None;
        }
        // What lies before 1970 only says the phase.
        let first = if first < 0 { first.rem_euclid(step) } else { first };
        (first <= until).then(|| Self { first, last: until - (until - first) % step, step })
    }

    pub fn next(self, from: Seconds) -> Option<Seconds> {
        if from <= self.first {
            return Some(self.first);
        }
        if from > self.last {
            return None;
        }
        let past = (from - self.first) % self.step;
        Some(if past == 0 { from } else { from - past + self.step })
    }

    pub fn previous(self, before: Seconds) -> Option<Seconds> {
        if before <= self.first {
            return None;
        }
        let at = (before - 1).min(self.last);
        Some(at - (at - self.first) % self.step)
    }

    pub fn count(self, from: Seconds, to: Seconds) -> u64 {
        match (self.next(from), self.previous(to)) {
            (Some(first), Some(last)) if first <= last => ((last - first) / self.step + 1) as u64,
            _ => 0,
        }
    }
}
