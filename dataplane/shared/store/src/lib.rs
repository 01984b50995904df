//! Ordered, transactional storage of one shard, durable and larger than memory.
//!
//! A caller reads a [`Snapshot`], decides, and hands over a [`Commit`]: conditions and writes that
//! take effect together or not at all. One committer thread takes everything that waits, checks the
//! conditions in order, writes one batch and syncs once; the sync in flight is the batching window.
//!
//! What it promises:
//! - a commit that was acknowledged survives the loss of power, whole, once, in the order of versions;
//! - what a snapshot shows was durable when it was taken, and does not change under it;
//! - a condition is never wrongly found to hold; it may be refused for its age;
//! - after a failed write or sync nothing more is acknowledged by this process.
//!
//! It must not interpret keys or values (but for the eight bytes of [`Write::Add`] and
//! [`Write::Max`]), and reads the time from a [`Clock`] only. `docs/store.md` has the layout on disk.

mod checkpoint;
mod clock;
mod commit;
mod committer;
pub mod engine;
mod error;
mod feed;
mod gather;
mod limits;
mod memory;
mod open;
mod plan;
mod queue;
mod receipts;
mod row;
mod shard;
mod store;
#[cfg(feature = "suite")]
pub mod suite;
mod sweep;
mod ticket;
mod window;

pub use clock::{Clock, ManualClock, SystemClock};
pub use commit::{Check, Commit, IdempotencyKey, Write};
pub use error::StoreError;
pub use feed::{Change, Changes, NextChanges, Watch};
pub use limits::Options;
pub use memory::MemoryStores;
pub use shard::FjallStores;
#[cfg(feature = "redb")]
pub use shard::RedbStores;
pub use store::{Expired, Pair, Snapshot, Store, Stores};
pub use sweep::{Swept, sweep};
pub use ticket::Ticket;

/// Whose data it is. Each tenant has folders of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub u64);

/// Which part of a tenant's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

/// A fencing token: grows with every change of owner. A lower one never opens a shard again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// The place of a commit in the order of all commits. The first commit is 1; 0 is the empty store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
