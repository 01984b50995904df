//! Where a change of the clock skips, moves or repeats a run.

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

impl Rule {
    /// The runs from `from` to `until` that a change of the clock touches, in order.
    pub fn zone_notes(&self, _from: Seconds, _until: Seconds) -> Vec<ZoneNote> {
        Vec::new()
    }
}
