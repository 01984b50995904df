//! The one error type of the journal. It is `Clone`, because one failure is told to many waiters.

use std::io;
use std::sync::Arc;

use crate::{CarrierError, Epoch, Position};

/// Why the journal could not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Too much waits for the disk. Nothing was taken; try again after progress.
    #[error("failed to append: {queued_bytes} bytes already wait for the disk")]
    QueueFull {
        /// Bytes waiting or in flight.
        queued_bytes: usize,
    },
    /// The body exceeds [`RECORD_BYTES_MAX`](crate::RECORD_BYTES_MAX). Nothing was taken.
    #[error("failed to append: a body of {bytes} bytes is too large")]
    TooLarge {
        /// Length of the refused body.
        bytes: usize,
    },
    /// The disk has no room. Nothing was taken, nothing was lost; what was accepted before stays
    /// queued and is written once there is room.
    #[error("failed to {action} {file}: the disk is full")]
    DiskFull {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
    },
    /// The disk failed while opening, scrubbing, raising the epoch or writing a snapshot.
    #[error("failed to {action} {file}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        file: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// A write or a sync of the journal failed earlier: it takes no more records. Restart and
    /// recover.
    #[error("the journal failed and takes no more records: {reason}")]
    Failed {
        /// The failure that poisoned it.
        reason: String,
    },
    /// The journal failed or was closed before this position was known to be durable. It may or
    /// may not be there after recovery.
    #[error("the fate of position {position} is unknown: {reason}")]
    Unknown {
        /// The position waited for.
        position: Position,
        /// Why nobody knows.
        reason: String,
    },
    /// The deadline of a blocking wait passed first. The position may still become durable.
    #[error("position {position} was not durable before the deadline")]
    Deadline {
        /// The position waited for.
        position: Position,
    },
    /// Something once durable is damaged or missing. Opening refuses rather than forget.
    #[error("{file} is corrupt at position {position}: {reason}")]
    Corrupt {
        /// The first position that cannot be vouched for.
        position: Position,
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A later owner holds the journal.
    #[error("fenced: the journal is at epoch {held}, asked for {asked}")]
    Fenced {
        /// The epoch on disk.
        held: Epoch,
        /// The lower epoch that was refused.
        asked: Epoch,
    },
    /// The carrier does not answer. What was accepted stays queued and is carried once it does.
    #[error("the carrier of the journal is away: {reason}")]
    Away {
        /// What happened.
        reason: String,
    },
    /// The carrier refused, or holds what cannot be.
    #[error(transparent)]
    Carrier(#[from] CarrierError),
    /// Records were appended that are not durable yet: who owns the journal cannot change now.
    #[error("records up to {last} were appended, and those behind {durable} are not durable yet")]
    Unsettled {
        /// The last record appended.
        last: Position,
        /// How far the journal is durable.
        durable: Position,
    },
    /// The journal has no carrier, so nobody else can own it.
    #[error("the journal has no carrier")]
    NotCarried,
    /// Another process, or another journal of this one, has the folder open.
    #[error("failed to lock the journal folder: it is in use")]
    Locked,
    /// The folder belongs to another shard.
    #[error("{file} belongs to shard {found}, not {expected}")]
    WrongShard {
        /// The file that says so.
        file: String,
        /// Its shard.
        found: u32,
        /// The shard asked for.
        expected: u32,
    },
    /// A file was written by a version of the format this program does not know, an older one or a
    /// newer one. Nothing was changed.
    #[error("{file} has format version {found}; this program knows {known}")]
    Version {
        /// The file that says so.
        file: String,
        /// Its version.
        found: u32,
        /// The version known here.
        known: u32,
    },
    /// The records asked for were removed after a snapshot; begin with that.
    #[error("the records behind position {after} were removed: the oldest is {oldest}")]
    Trimmed {
        /// Behind which position records were asked for.
        after: Position,
        /// The oldest position there is.
        oldest: Position,
    },
    /// A snapshot is already being written.
    #[error("failed to begin a snapshot: one is already being written")]
    SnapshotBusy,
    /// A snapshot covers records that are not durable yet; it was not kept.
    #[error("failed to finish the snapshot at {at}: the journal is durable up to {durable}")]
    SnapshotAhead {
        /// The position of the snapshot.
        at: Position,
        /// How far the journal is durable.
        durable: Position,
    },
}

impl JournalError {
    /// Wraps an error of the disk, telling a full disk apart.
    pub(crate) fn io(action: &'static str, file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { action, file }
            }
            _ => Self::Io { action, file, source: Arc::new(source) },
        }
    }

    pub(crate) fn corrupt(position: u64, file: &str, reason: impl Into<String>) -> Self {
        Self::Corrupt { position: Position(position), file: file.to_owned(), reason: reason.into() }
    }

    /// The message with its causes, for a journal that is about to fail.
    pub(crate) fn chain(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }
}
