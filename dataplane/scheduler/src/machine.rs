//! The machine of a partition: jobs, runs, and what is decided about them. Pure: time, effects and
//! definitions come in, effects and what follows from them go out.
//!
//! Two halves. [`State`] changes by [`Effect`]s alone, so that a replay of the journal gives it again.
//! [`Turn`] looks at the state and the time, decides, and puts effects.

mod catch_up;
pub mod decide;
pub mod definition;
pub mod edit;
pub mod effect;
mod follow;
pub mod job;
pub mod links;
pub mod notice;
pub mod reason;
mod smooth;
pub mod snapshot;
pub mod state;
mod timer;
pub mod zones;

pub use decide::{Bounds, Output, Plans, Turn};
pub use definition::Definition;
pub use edit::{Edit, Edited};
pub use effect::{Cause, Effect, Ended, Pause, Put, SkipReason};
pub use follow::Following;
pub use job::{Job, Run};
pub use links::{Links, Trigger};
pub use notice::Notice;
pub use state::State;
pub use timer::{Packed, Timer};

#[cfg(test)]
pub(crate) mod tests;
