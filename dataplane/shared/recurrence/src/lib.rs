//! The time rules of schedules: text in, next instants out.
//!
//! [`Rule::compile`] reads what users write (cron of three dialects, intervals, recurrences, single
//! moments, structured calendars) and gives something that answers when it fires next. A rule is
//! found in *local* time first and then laid over its [`Zone`] by a stated [`Dst`] choice; nobody
//! ever adds 24 hours and calls it a day.
//!
//! The crate is pure: it reads no clock, keeps no global state, and reads files only where a
//! [`Zones`] of a folder is asked for a zone. Instants are whole [`Seconds`] of the years 1970 to
//! 2199; a rule with no match in there has none.

mod calendar;
mod civil;
mod cron;
mod days;
mod error;
mod every;
mod exclusions;
mod explain;
mod fields;
mod hash;
pub mod ical;
mod iso;
mod notes;
mod occurrences;
mod recur;
mod rrule;
mod rule;
mod span;
mod steps;
mod systemd;
mod union;
mod values;
mod wall;
mod zone;
mod zones;

use std::sync::Arc;

pub use cron::split_zone;
pub use error::{RuleError, ZoneError};
pub use exclusions::Exclusions;
pub use hash::Hashing;
pub use notes::{ZoneChange, ZoneNote};
pub use occurrences::Occurrences;
pub use rule::Rule;
pub use values::FieldValues;
pub use zone::Zone;
pub use zones::Zones;

/// UTC seconds since the Unix epoch.
pub type Seconds = i64;

/// Which grammar a cron text is read by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Five fields, six with seconds first, seven with the year last; Sunday is 0 or 7.
    #[default]
    Vixie,
    /// Six fields with seconds first, seven with the year last; Sunday is 1.
    Quartz,
    /// `OnCalendar=` of systemd.
    Systemd,
}

/// What happens to runs where the clock is changed.
///
/// A rule whose hours are “every” (`*`, `*/2`) follows the clock that passes instead: it runs in
/// both passes of a repeated hour, and a gap misses nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dst {
    /// A run in a gap is left out; a run in a repeated hour happens in its first pass.
    #[default]
    SkipMissingRunRepeatedOnce,
    /// A run in a gap is left out; a run in a repeated hour happens in both passes.
    SkipMissingRunRepeatedTwice,
    /// Runs in a gap become one run at the first instant after it; repeated runs happen once.
    RunMissingAfterGapRunRepeatedOnce,
    /// Runs in a gap become one run at the first instant after it; repeated runs happen twice.
    RunMissingAfterGapRunRepeatedTwice,
}

impl Dst {
    pub(crate) fn repeats(self) -> bool {
        matches!(self, Self::SkipMissingRunRepeatedTwice | Self::RunMissingAfterGapRunRepeatedTwice)
    }

    pub(crate) fn makes_up(self) -> bool {
        matches!(
            self,
            Self::RunMissingAfterGapRunRepeatedOnce | Self::RunMissingAfterGapRunRepeatedTwice
        )
    }
}

/// What to compile. All texts as users write them.
#[derive(Debug, Clone, Copy)]
pub enum When<'a> {
    /// Cron text, its nicknames, cloud forms, or an ISO 8601 interval.
    Cron { text: &'a str, dialect: Dialect },
    /// Elapsed time: every instant that is a multiple of `seconds` away from `anchor`.
    Every { seconds: u64, anchor: Seconds },
    /// A recurrence of RFC 5545; `start` is its DTSTART unless the text has one.
    Rrule { text: &'a str, start: Seconds },
    /// Once.
    At(Seconds),
    /// The union of structured calendars.
    Calendar(&'a [CalendarSpec]),
}

/// Sets of values for each field; an empty list is the default: 0 for second, minute and hour, all
/// for the others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct CalendarSpec {
    pub second: Vec<Range>,
    pub minute: Vec<Range>,
    pub hour: Vec<Range>,
    pub day_of_month: Vec<Range>,
    pub month: Vec<Range>,
    /// 0 = Sunday; 7 is Sunday as well.
    pub day_of_week: Vec<Range>,
    pub year: Vec<Range>,
}

/// `start`, or `start` to `end`, or every `step`-th of those. A step without an end runs to the
/// field's greatest value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Range {
    pub start: u32,
    pub end: Option<u32>,
    pub step: Option<u32>,
}

/// What a rule is compiled with.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    pub zone: Arc<Zone>,
    pub dst: Dst,
    /// What `H` is derived from: a name that stays, such as that of the schedule.
    pub hash_seed: &'a str,
}

#[cfg(test)]
mod tests;
