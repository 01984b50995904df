//! Outside of the data folder: the journal on its way into an archive, and the way back.
//!
//! | module | job |
//! |---|---|
//! | [`config`] | where to, where from, how often |
//! | [`writer`] | a thread that goes on with the archive whatever happens to it |
//! | [`session`] | one connection to it: reads along and puts what became durable |
//! | [`recover`] | fills an empty data folder from an archive, once |
//! | [`fill`] | fetches what leads to the moment asked for |
//!
//! Nothing here is waited for by clients: an archive that cannot be written degrades the engine and
//! stops nothing.

pub(crate) mod config;
mod fill;
mod identity;
pub(crate) mod recover;
mod session;
#[cfg(test)]
mod tests;
pub(crate) mod writer;

use orrery_archive::ArchiveError;
use orrery_blob::BlobError;
use orrery_journal::JournalError;

/// Failed to go on with an archive; the writer tries again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("failed to read along: {0}")]
    Journal(#[from] JournalError),
    #[error("failed to read the snapshot: {0}")]
    Snapshot(std::io::Error),
    #[error("the archive has records up to {archived}, the journal only up to {durable}")]
    Ahead { archived: u64, durable: u64 },
    #[error("the record {position} of the archive is not the one of the journal")]
    Diverged { position: u64 },
    #[error("failed to keep the identity of this journal: {0}")]
    Identity(std::io::Error),
}

impl From<BlobError> for WriteError {
    fn from(error: BlobError) -> Self {
        Self::Archive(error.into())
    }
}
