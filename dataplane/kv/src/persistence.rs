//! How the state survives: the journal of effects, snapshots of it, and recovery from both.
//!
//! | module | job |
//! |---|---|
//! | [`log`] | appends the effects of a turn; knows when writes must be refused, and why |
//! | [`recovery`] | newest snapshot, then the records behind it, into a machine |
//! | [`image`] | values of the machine to and from RDB items |
//! | [`declared`] | the namespaces in force, as they are kept |
//! | [`snapshots`] | writes a snapshot a step per turn while clients are served |
//!
//! Nothing here knows connections.

pub(crate) mod declared;
pub(crate) mod image;
pub(crate) mod log;
pub(crate) mod recovery;
pub(crate) mod snapshots;

#[cfg(test)]
mod simulation;

/// Kinds of journal records; numbers are part of the format on disk.
pub(crate) mod kind {
    /// Effects of commands, as the machine encodes them.
    pub(crate) const EFFECTS: u8 = 1;
    /// The full set of declared namespaces, as JSON.
    pub(crate) const NAMESPACES: u8 = 2;
    /// A fence: writes under lower epochs are refused from here on; the body is the epoch.
    pub(crate) const FENCE: u8 = 3;
}

/// Failed to start from what is on disk, or to write it.
#[derive(Debug, thiserror::Error)]
pub enum PersistenceError {
    #[error("failed to open the journal: {0}")]
    Journal(#[from] orrery_journal::JournalError),
    #[error("failed to load the snapshot at position {position}: {source}")]
    Snapshot { position: u64, source: crate::rdb::RdbError },
    #[error("failed to replay position {position}: {reason}")]
    Replay { position: u64, reason: String },
    #[error("failed to begin a snapshot: one is already being written")]
    Busy,
    #[error("failed to write {path}: {source}")]
    Write { path: String, source: std::io::Error },
}
