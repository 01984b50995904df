//! Where a change of the clock skips, moves or repeats a run.

use crate::civil::local_text;
use crate::fields::HOURS_ALL;
use crate::rule::Kind;
use crate::wall::LocalTimes;
use crate::{Rule, Seconds};

/// One run that a change of the clock touches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ZoneNote {
    /// When: the instant of the run, or of the change that swallows it.
    pub at: Seconds,
    pub kind: ZoneChange,
    /// What the clock would show, such as `2027-03-28T02:30:00`.
    pub local: String,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ZoneChange {
    /// The clock skips its time: no run.
    Skipped,
    /// The clock skips its time: it runs at this instant instead.
    MovedTo(Seconds),
    /// The clock shows its time twice: it runs twice.
    RunTwice,
    /// The clock shows its time twice: it runs once.
    RunOnce,
}

/// Notes for one change of the clock; a rule of every second has thousands of runs in an hour.
const NOTES_PER_CHANGE_MAX: usize = 32;
/// Notes in all.
const NOTES_MAX: usize = 1024;

impl Rule {
    /// The runs after `from` and not after `until` that a change of the clock touches, in order;
    /// at most 32 of each change and 1024 in all. Rules of every hour have none: they follow the
    /// clock that passes.
    pub fn zone_notes(&self, from: Seconds, until: Seconds) -> Vec<ZoneNote> {
        match &self.kind {
            Kind::Span(_) => Vec::new(),
            Kind::Fields(fields) if fields.by_the_clock && fields.times.hours == HOURS_ALL => {
                Vec::new()
            }
            Kind::Fields(fields) => self.notes_of(fields, from, until),
            Kind::Union(union) => self.notes_of(&**union, from, until),
            Kind::Dates(dates) if dates.by_the_clock() => Vec::new(),
            Kind::Dates(dates) => self.notes_of(&**dates, from, until),
            Kind::Steps(steps) => self.notes_of(&**steps, from, until),
        }
    }

    fn notes_of<T: LocalTimes>(&self, times: &T, from: Seconds, until: Seconds) -> Vec<ZoneNote> {
        let by_the_clock = times.by_the_clock();
        let segments = self.zone.segments();
        let mut notes = Vec::new();
        for pair in segments.windows(2) {
            let (before, after) = (&pair[0], &pair[1]);
            // A second pass is over only some time after the change.
            if after.start > until || notes.len() >= NOTES_MAX {
                break;
            }
            if after.start <= from {
                continue;
            }
            let mut note = |local: i64, at: Seconds, kind: ZoneChange| {
                notes.push(ZoneNote { at, kind, local: local_text(local) });
            };
            if after.has_gap() {
                let moves = self.dst.makes_up() && !by_the_clock;
                let kind =
                    if moves { ZoneChange::MovedTo(after.start) } else { ZoneChange::Skipped };
                for local in found(times, after.seen_to, after.local_start()) {
                    note(local, after.start, kind);
                }
            } else {
                let twice = self.dst.repeats() || by_the_clock;
                let kind = if twice { ZoneChange::RunTwice } else { ZoneChange::RunOnce };
                let to = after.seen_to.min(after.local_end());
                for local in found(times, after.local_start(), to) {
                    note(local, local - before.offset, kind);
                }
            }
        }
        notes.truncate(NOTES_MAX);
        notes
    }
}

/// The first matches in `lo..hi`.
fn found<T: LocalTimes>(times: &T, lo: i64, hi: i64) -> impl Iterator<Item = i64> + '_ {
    std::iter::successors(times.first(lo, hi), move |local| times.first(local + 1, hi))
        .take(NOTES_PER_CHANGE_MAX)
}
