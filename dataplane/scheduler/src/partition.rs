//! A partition at work: its thread, its journal, its ledger, and how others reach it.

mod crew;
mod image;
mod links;
mod recover;
mod requests;
mod snapshots;
mod still;
mod thread;
mod zones;

pub use crew::Crew;
pub(crate) use recover::{Place, TURN, recover_anew, recover_copy};
pub use recover::{RecoverError, Recovered, recover};
pub use requests::{Answer, Handle, Link, Mailbox, Newest, Request, Unavailable};
pub(crate) use snapshots::write_copy;
pub use thread::{Partition, PartitionOptions, Poisoned};

#[cfg(test)]
mod tests;
