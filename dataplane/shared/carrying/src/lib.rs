//! Journals that an engine outside of the pods carries: how that engine is opened from a Secret, and how
//! the folder of a process is kept a copy of what is carried.
//!
//! Must not: decide who owns a journal, nor know what its records mean.

mod copy;
mod open;

pub use copy::{Caught, CopyError, begin_anew, catch_up, open_copy};
pub use open::{Carried, CarryingError, open, open_all};
