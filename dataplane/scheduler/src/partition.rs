//! A partition at work: its thread, its journal, its ledger, and how others reach it.

mod recover;
mod requests;
mod snapshots;
mod thread;

pub use recover::{RecoverError, Recovered, recover};
pub use requests::{Answer, Handle, Mailbox, Request, Unavailable};
pub use thread::{Partition, PartitionOptions, Poisoned};
