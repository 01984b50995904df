//! Lives of a partition under a virtual clock: random edits, times, outcomes and crashes.

mod life;
mod policies;
