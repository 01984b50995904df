//! The write-ahead journal: segments, group commit, recovery, snapshots, epochs.
//!
//! A shard appends records, hands them over once per turn of its event loop, and lets replies go
//! when [`Journal::durable`] has reached them. One committer thread writes everything that waits in
//! one write and one `fdatasync`; the sync in flight is the batching window, there is no linger.
//!
//! What it promises:
//! - a position reported durable survives the loss of power, in order, once, unchanged;
//! - after any crash, opening gives a prefix of what was appended, never shorter than what was
//!   reported durable, or refuses with [`JournalError::Corrupt`];
//! - after a failed write or sync nothing more is reported durable by this process.
//!
//! It must not interpret record bodies, read a clock, or make replies: time comes in with each
//! record, and everything that is not deterministic comes through [`Disk`]. `docs/journal.md`
//! describes the format byte by byte and proves the rule by which a torn tail is told from damage.

mod carriage;
pub mod carrier;
mod committer;
mod disk;
mod epoch;
mod error;
mod format;
mod frame;
mod journal;
mod options;
mod prepare;
mod queue;
mod recovery;
mod replay;
mod salvage;
mod scrub;
mod segment;
mod shared;
#[cfg(feature = "sim")]
pub mod sim;
mod snapshot;
mod tail;
mod trim;
mod version;
mod wait;
mod walk;

pub use carrier::{Carrier, CarrierError, Group, Owner};
pub use disk::{Disk, DiskFile, Lock, RealDisk};
pub use error::JournalError;
pub use journal::{Journal, Opened};
pub use options::{Options, RECORD_BYTES_MAX};
pub use replay::{Entry, Recovery};
pub use salvage::{Salvage, SalvageError, salvage};
pub use scrub::{Damage, Scrubber, scrub, scrub_running, scrub_told};
pub use snapshot::{CopyWriter, SnapshotReader, SnapshotWriter};
pub use tail::{Feed, Hold, Tail};
pub use wait::WaitDurable;

/// The index of a record in its journal. The first record is 1; 0 stands for "nothing yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A fencing token: grows with every change of owner, and never falls along the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a caller appends. The journal adds position and epoch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Which stream of the shard the record belongs to; the journal does not interpret it.
    pub stream: u32,
    /// What the body is, as the caller numbers it.
    pub kind: u8,
    /// The caller's clock in microseconds since the Unix epoch; replays see the same.
    pub time_us: i64,
    /// At most [`RECORD_BYTES_MAX`] bytes.
    pub body: &'a [u8],
}
