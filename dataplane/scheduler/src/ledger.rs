//! The ledger of a partition: every launch that was decided, and what became of it.

pub mod dependents;
pub mod entry;
pub mod file;
mod part;
mod periods;
pub mod verify;

pub use entry::{Entry, Fact};
pub use file::{Ledger, LedgerError, LedgerView};
