//! Journals on their way into an archive, and the way back: the same for every engine.
//!
//! | module | job |
//! |---|---|
//! | [`config`] | where to, where from, how often |
//! | [`writer`] | a thread that goes on with the archive whatever happens to it |
//! | [`session`] | one connection to it: reads along and puts what became durable |
//! | [`post`] | whether this process is the one that writes |
//! | [`ownership`] | whether it may |
//! | [`line`] | where it goes on, after another writer or itself |
//! | [`keeping`] | records that are not trimmed before they are archived |
//! | [`recover`] | fills an empty data folder from an archive, once |
//! | [`fill`] | fetches what leads to the moment asked for |
//! | [`demand`] | waits until something that was asked for is there |
//! | [`figures`] | what others see of it |
//! | [`history`] | which positions were written under which epoch |
//!
//! Must not: know what records and images mean. Nothing here is waited for by clients: an archive that
//! cannot be written degrades the engine and stops nothing.

pub mod config;
pub mod demand;
pub mod figures;
pub mod fill;
pub mod history;
mod keeping;
mod line;
mod ownership;
pub mod post;
pub mod recover;
mod session;
#[cfg(test)]
mod tests;
pub mod writer;

pub use figures::{Figure, Figures};
pub use history::History;

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
    #[error("the archive was written by another volume of this object")]
    OtherVolume,
    #[error("nothing of what is in the archive is in this journal: give it another place")]
    Unrelated,
    #[error("the process with epoch {by} writes the archive now")]
    Superseded { by: u64 },
    #[error("{member} writes the archive under epoch {epoch}")]
    Taken { epoch: u64, member: String },
    #[error("failed to understand the history of epoch {epoch} in the archive")]
    History { epoch: u64 },
}

impl From<BlobError> for WriteError {
    fn from(error: BlobError) -> Self {
        Self::Archive(error.into())
    }
}
