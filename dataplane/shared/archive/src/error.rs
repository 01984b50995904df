//! Why an archive cannot be written, or cannot be followed back.

use orrery_blob::BlobError;

/// Failed to write or to use an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error(transparent)]
    Store(#[from] BlobError),
    #[error("the archive belongs to {found}, not to {asked}")]
    Foreign { found: String, asked: String },
    #[error("{name} is damaged: {reason}")]
    Damaged { name: String, reason: &'static str },
    #[error("{name} is there already with other content")]
    Conflict { name: String },
    #[error("records {first} to {last} are missing")]
    Gap { first: u64, last: u64 },
    #[error("there is no snapshot, and the records begin with {first}")]
    NoBase { first: u64 },
    #[error("there is nothing at or before {target_us} µs; the earliest is {earliest_us} µs")]
    BeforeAll { target_us: i64, earliest_us: i64 },
    #[error("the record {target} is not there; the last one is {last}")]
    BehindAll { target: u64, last: u64 },
    #[error("the archive is empty")]
    Empty,
    #[error("nobody wrote under epoch {epoch} here")]
    NoLine { epoch: u64 },
}

impl ArchiveError {
    pub(crate) fn damaged(name: &str, reason: &'static str) -> Self {
        Self::Damaged { name: name.to_owned(), reason }
    }
}
