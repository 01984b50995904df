//! The one error type of the store. It is `Clone`, because one failure is told to many waiters.

use crate::{Epoch, Version};

/// Why the store could not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A condition did not hold, or `read_version` is too old to tell. Nothing was written: read
    /// again and decide again.
    #[error("conflict: a condition of the commit does not hold")]
    Conflict,
    /// A later owner holds the shard.
    #[error("fenced: the shard is at epoch {held}, asked for {asked}")]
    Fenced {
        /// The epoch on disk.
        held: Epoch,
        /// The lower epoch that was refused.
        asked: Epoch,
    },
    /// Too much waits for the disk. Nothing was taken; try again after progress.
    #[error("throttled: {queued_bytes} bytes in {queued} commits already wait for the disk")]
    Throttled {
        /// Commits that wait.
        queued: usize,
        /// Their bytes.
        queued_bytes: usize,
    },
    /// The commit may or may not be there after recovery. Resolve it by its idempotency key, never
    /// by trying blindly.
    #[error("the fate of the commit is unknown: {reason}")]
    Unknown {
        /// Why nobody knows.
        reason: String,
    },
    /// The store does not serve this: it is closed, failed earlier, in use elsewhere, or the disk
    /// could not be read. Nothing was written.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
    /// Something once durable is damaged, or of a format or shard not known here.
    #[error("the store is corrupt: {reason}")]
    Corrupt {
        /// What is wrong.
        reason: String,
    },
    /// The commit can never succeed as it is. Nothing was written.
    #[error("invalid commit: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// A watch fell behind what is remembered. Read a snapshot and watch from its version.
    #[error("the watch fell behind: the oldest commit remembered is {oldest}")]
    Lagged {
        /// The oldest commit that can still be watched.
        oldest: Version,
    },
    /// Something exceeds a limit. Nothing was written.
    #[error("{what} of {found} exceeds the limit of {max}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// Its size; for rows, that at which counting ended.
        found: usize,
        /// The limit.
        max: usize,
    },
}

impl StoreError {
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    pub(crate) fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt { reason: reason.into() }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }
}

/// Refuses what is larger than `max`.
pub(crate) fn within(what: &'static str, found: usize, max: usize) -> Result<(), StoreError> {
    if found > max { Err(StoreError::TooLarge { what, found, max }) } else { Ok(()) }
}
