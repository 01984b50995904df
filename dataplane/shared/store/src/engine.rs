//! The seam between the committer and what keeps the rows on disk.
//!
//! An engine must not check conditions, write a batch twice, or call anything durable that is not.

mod fjall;
mod layout;
#[cfg(feature = "redb")]
mod redb;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;

use bytes::Bytes;

use crate::commit::IdempotencyKey;
pub use crate::commit::IdempotencyKey as ReceiptKey;
pub use crate::open::{Held, Opening, serve};
pub use crate::receipts::Receipt;
pub use crate::row::Row;
use crate::{Options, StoreError};

pub(crate) use fjall::FjallEngine;
pub(crate) use layout::own;
#[cfg(feature = "redb")]
pub(crate) use redb::RedbEngine;

/// Called with each row of a walk; `false` ends it.
pub type Visit<'a> = dyn FnMut(Bytes, Row) -> bool + 'a;

/// The rows of one version, however many are written meanwhile.
pub trait View: Send + Sync {
    /// The last commit it contains.
    fn version(&self) -> u64;
    /// The row of a key, whether it has expired or not.
    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError>;
    /// The rows of several keys, in their order.
    fn get_all(&self, keys: &[&[u8]]) -> Result<Vec<Option<Row>>, StoreError> {
        keys.iter().map(|key| self.get(key)).collect()
    }
    /// The idempotency keys that are remembered, in any order.
    fn receipts(&self) -> Result<Vec<Receipt>, StoreError>;
    /// The rows in `[from, to)` in the order of keys, or from the end. An empty `to` is the end.
    fn walk(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError>;
}

/// What a group of commits changes. Each key once: the engine must not depend on an order.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The last version of the group.
    pub version: u64,
    /// New rows; `None` removes.
    pub rows: BTreeMap<Bytes, Option<Row>>,
    /// The versions of idempotency keys; `None` forgets.
    pub receipts: BTreeMap<IdempotencyKey, Option<u64>>,
}

/// Keeps rows. Only the committer writes, one batch at a time.
pub trait Engine: Send + Sync + Debug + 'static {
    /// The rows of now, for a snapshot.
    fn view(&self) -> Result<Box<dyn View>, StoreError>;

    /// The rows that the next batch changes, which nobody writes meanwhile; these keys will be asked
    /// for, some of them more than once. Its version is not looked at.
    fn base(&self, keys: &mut dyn Iterator<Item = Bytes>) -> Result<Box<dyn View>, StoreError> {
        let _ = keys;
        self.view()
    }

    /// Writes all of it or nothing, and syncs. After an error nobody knows which, but for `Fenced`:
    /// then nothing was written.
    fn apply(&self, batch: Batch) -> Result<(), StoreError>;
}

/// An engine on disk. What is written here is durable when the call returns.
pub(crate) trait Folder: Engine + Sized {
    /// Opens the database in a folder, or makes an empty one.
    fn open(folder: &Path, options: &Options) -> Result<Self, StoreError>;
    /// Something of ours beside the rows.
    fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    fn set_meta(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), StoreError>;
}
