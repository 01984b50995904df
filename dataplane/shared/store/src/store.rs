//! What a data plane sees of a store, whatever keeps it.

use std::fmt::Debug;
use std::io::{Read, Write};
use std::sync::Arc;

use bytes::Bytes;

use crate::{Commit, Epoch, Options, ShardId, StoreError, TenantId, Ticket, Version, Watch};

/// A key and its value.
pub type Pair = (Bytes, Bytes);

/// Opens shards. Opening and reading block on the disk: call them where blocking is allowed.
pub trait Stores: Send + Sync + Debug {
    /// Opens a shard and fences every lower epoch for good. `Fenced` when a higher epoch was here,
    /// `Unavailable` while the shard is open, here or in another process.
    fn open(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
    ) -> Result<Arc<dyn Store>, StoreError>;

    /// Opens a shard without rows, loads a checkpoint into it and goes on from its version. `Invalid`
    /// when it has rows; `Corrupt` when the checkpoint is not whole: then the shard does not open any
    /// more, and has to be removed.
    fn restore(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
        from: &mut dyn Read,
    ) -> Result<Arc<dyn Store>, StoreError>;

    /// The limits that commits are held to.
    fn options(&self) -> &Options;
}

/// One open shard. Dropping it finishes what waits. It stays locked until its snapshots are gone.
pub trait Store: Send + Sync + Debug {
    /// The state now: everything acknowledged, nothing that is not durable.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError>;

    /// Hands a commit over, without blocking. The ticket tells its version once it is durable.
    fn commit(&self, commit: Commit) -> Ticket;

    /// Follows the commits after `from` that change keys under `prefix`. Those from before the
    /// opening are not remembered.
    fn watch(&self, prefix: &[u8], from: Version) -> Watch;

    /// Everything up to this version is durable.
    fn durable(&self) -> Version;
}

/// The state of a shard at one version. Values that expire later than it was taken stay visible.
pub trait Snapshot: Send + Sync + Debug {
    /// The last commit it shows.
    fn version(&self) -> Version;

    /// The values of several keys, in their order.
    fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError>;

    /// Up to `limit` pairs with keys in `[from, to)`, by key ascending or, with `reverse`,
    /// descending from the end. An empty `to` is the end.
    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError>;

    /// Writes a checkpoint: all rows, those that have expired as well, and the idempotency keys that
    /// are remembered. What is written is not synced.
    fn save(&self, to: &mut dyn Write) -> Result<(), StoreError>;

    /// Of the next `rows_max` rows from a key on, those that are hidden because they have expired.
    fn expired(&self, from: &[u8], rows_max: usize) -> Result<Expired, StoreError>;
}

/// Rows that have expired and are still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Their keys, ascending.
    pub keys: Vec<Bytes>,
    /// The first row that was not looked at; `None` at the end.
    pub next: Option<Bytes>,
}
