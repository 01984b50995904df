//! A partition at work: its thread, its journal, its ledger, and how others reach it.

mod links;
mod recover;
mod requests;
mod snapshots;
mod thread;

pub use recover::{RecoverError, Recovered, recover};
pub use requests::{Answer, Handle, Link, Mailbox, Request, Unavailable};
pub use thread::{Partition, PartitionOptions, Poisoned};

#[cfg(test)]
mod tests;
