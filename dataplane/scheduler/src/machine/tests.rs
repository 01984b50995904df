//! Lives of a partition under a virtual clock: random edits, times, outcomes and crashes.

pub(crate) mod life;
mod notices;
mod policies;
mod year;
mod zones;
