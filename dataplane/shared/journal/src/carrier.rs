//! Where the records of a journal are carried when the folder of the process is only a copy of them:
//! an engine that is distributed already, and outlives the node.
//!
//! A carrier holds, for one shard, *groups* of records, snapshots, and who owns the shard. It makes no
//! decisions: who owns what is granted from outside, as an epoch that only grows. What it guarantees
//! is the order. Once [`Carrier::take_over`] has returned, nothing of an earlier owner is taken any
//! more, whatever that one believes and however long it slept; so what [`Carried`] says then is all
//! there ever was, and who reads it to its end has everything that was acknowledged.
//!
//! All calls block, and come back within seconds whatever the engine does. A call that ends with
//! [`CarrierError::Unavailable`] may have been done or not: the caller asks the very same again until
//! it knows, and a carrier recognises what it has already.
//!
//! The way of fencing is that of `docs/carriers.md`, which names the engines and what each one needs.

mod group;
#[cfg(feature = "sim")]
mod memory;
#[cfg(feature = "suite")]
pub mod suite;

use std::fmt;
use std::io::{self, Read};

use crate::{Epoch, Position};

pub(crate) use group::GROUP_HEADER_BYTES;
pub use group::{Entries, Group};
#[cfg(feature = "sim")]
pub use memory::{MemoryCarrier, Trouble};

/// Bytes that one group may have; larger ones are `Invalid`. PostgreSQL takes a little less than 1 GiB
/// as one value, and a value of a client has 512 MiB at most. A journal with a carrier refuses a record
/// that would not fit as `TooLarge`: see [`Journal::record_bytes_max`](crate::Journal::record_bytes_max).
pub const GROUP_BYTES_MAX: usize = 768 << 20;

/// Who owns a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Granted from outside, above 0. The highest one that took over owns the shard.
    pub epoch: Epoch,
    /// Drawn by the process when it was granted the epoch, so that two that were granted the same
    /// one by mistake are not taken for each other: the first to take over is the owner.
    pub token: u64,
}

/// A snapshot that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The record whose state it is.
    pub at: Position,
    /// Epoch of that record.
    pub epoch: Epoch,
    /// Length of its content.
    pub bytes: u64,
}

/// What a carrier holds of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The highest epoch that took over, 0 before the first.
    pub epoch: Epoch,
    /// The last record, 0 for none.
    pub last: Position,
    /// Epoch of the last record, 0 for none.
    pub last_epoch: Epoch,
    /// The first record of the oldest group that is there; behind `last` when there is none.
    pub oldest: Position,
    /// The newest snapshot that is whole.
    pub snapshot: Option<Saved>,
}

impl Default for Carried {
    /// Nothing yet.
    fn default() -> Self {
        Self {
            epoch: Epoch(0),
            last: Position(0),
            last_epoch: Epoch(0),
            oldest: Position(1),
            snapshot: None,
        }
    }
}

/// Why a carrier could not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CarrierError {
    /// Another owner took over. Final: nothing of this one is taken any more.
    #[error("fenced: the owner of epoch {held} took the journal over")]
    Fenced {
        /// The epoch that owns the shard.
        held: Epoch,
    },
    /// It does not answer, or not now. What was asked may have been done: ask the very same again.
    #[error("the engine is not available: {reason}")]
    Unavailable {
        /// What happened, for a log: no secrets.
        reason: String,
    },
    /// The group does not follow the last record. Nothing was taken.
    #[error("a group that begins at {first} does not follow {last}")]
    OutOfPlace {
        /// The last record there is.
        last: Position,
        /// The first record of the group.
        first: Position,
    },
    /// The records asked for were removed after a snapshot; begin with that.
    #[error("the records behind position {after} were removed: the oldest is {oldest}")]
    Trimmed {
        /// Behind which position records were asked for.
        after: Position,
        /// The oldest position there is.
        oldest: Position,
    },
    /// There is no whole snapshot at this position (any more).
    #[error("there is no snapshot at position {at}")]
    NoSnapshot {
        /// Which one was asked for.
        at: Position,
    },
    /// What it holds is damaged, or was not written by this program.
    #[error("what is carried at position {position} is corrupt: {reason}")]
    Corrupt {
        /// The first position that cannot be vouched for.
        position: Position,
        /// What is wrong.
        reason: String,
    },
    /// The engine, as it is set up, cannot carry a journal. No use asking again before someone has
    /// changed that.
    #[error("the engine cannot carry a journal: {reason}")]
    Unusable {
        /// What is missing, and what to do about it.
        reason: String,
    },
    /// The caller asked for what cannot be.
    #[error("invalid: {0}")]
    Invalid(String),
}

impl CarrierError {
    /// Whether asking the very same again can help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// An engine that carries the journal of one shard. Safe to share: the owner appends from one thread
/// while others read, save or trim.
pub trait Carrier: fmt::Debug + Send + Sync {
    /// What it is and where, for logs and messages. Without secrets.
    fn name(&self) -> String;

    /// Makes what it needs if that is missing, and checks that the engine keeps its promises as it is
    /// set up: durable when it says so, conditional when asked for that. `Unusable` if not.
    fn prepare(&self) -> Result<(), CarrierError>;

    /// Makes `owner` the owner, if its epoch is above that of the owner before. The owner itself may
    /// ask again. `Fenced` otherwise.
    fn take_over(&self, owner: Owner) -> Result<Carried, CarrierError>;

    /// What there is, without owning it. It may be behind what an owner writes meanwhile, and never
    /// shows what could still be taken back.
    fn look(&self) -> Result<Carried, CarrierError>;

    /// Takes a group behind the last record, all or nothing; durable when it returns. Taken once if
    /// asked again by its owner.
    fn append(&self, owner: Owner, group: &Group) -> Result<(), CarrierError>;

    /// The groups that hold records behind `after`, in order: about `bytes_max` of them, at least one
    /// if there is one. The first may begin at or before `after`. `Trimmed` if some are gone.
    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Group>, CarrierError>;

    /// Takes a snapshot of the state after the record at `saved.at`, which must not be behind the
    /// last one; it counts when this returns. Older snapshots are removed some time after.
    /// `saved.bytes` is the length of `content`; another one is `Invalid`.
    fn save(&self, owner: Owner, saved: Saved, content: &mut dyn Read) -> Result<(), CarrierError>;

    /// The content of a whole snapshot. Reading may fail with an `io::Error` whose text says why, also
    /// when the snapshot is removed meanwhile.
    fn load(&self, at: Position) -> Result<Box<dyn Read + Send>, CarrierError>;

    /// Removes groups whose records are all at or before `upto`, or some of them. The caller has saved
    /// a snapshot at or behind it.
    fn trim(&self, owner: Owner, upto: Position) -> Result<(), CarrierError>;
}

/// What every carrier refuses of groups.
pub fn check_group(group: &Group) -> Result<(), CarrierError> {
    check_group_bytes(group.bytes().len())
}

fn check_group_bytes(bytes: usize) -> Result<(), CarrierError> {
    if bytes <= GROUP_BYTES_MAX {
        return Ok(());
    }
    Err(CarrierError::Invalid(format!("a group of {bytes} bytes, more than {GROUP_BYTES_MAX}")))
}

/// What every carrier refuses of snapshots.
pub fn check_saved(saved: Saved, last: u64) -> Result<(), CarrierError> {
    let at = saved.at;
    if (1..=last).contains(&at.0) {
        return Ok(());
    }
    Err(CarrierError::Invalid(format!("a snapshot at {at}, where the last record is {last}")))
}

/// Hands the content of a snapshot on in pieces of `piece_bytes`, each with its number from 0; the last
/// one may be shorter, and no content has no pieces. `Invalid`, unless the content has `bytes` bytes.
pub fn in_pieces(
    content: &mut dyn Read,
    bytes: u64,
    piece_bytes: usize,
    mut each: impl FnMut(u32, &[u8]) -> Result<(), CarrierError>,
) -> Result<(), CarrierError> {
    let invalid = |reason: String| CarrierError::Invalid(reason);
    let failed = |error: io::Error| invalid(format!("failed to read the snapshot: {error}"));
    let (mut left, mut piece, mut number) = (bytes, vec![], 0);
    while left > 0 {
        piece.clear();
        let wanted = left.min(piece_bytes as u64);
        let read = Read::take(&mut *content, wanted).read_to_end(&mut piece).map_err(failed)?;
        if read as u64 != wanted {
            return Err(invalid("the snapshot is shorter than its length".to_owned()));
        }
        each(number, &piece)?;
        left -= wanted;
        number += 1;
    }
    match content.read(&mut [0]).map_err(failed)? {
        0 => Ok(()),
        _ => Err(invalid("the snapshot is longer than its length".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_snapshots_that_cannot_be_are_refused() {
        assert!(check_group_bytes(GROUP_BYTES_MAX).is_ok());
        assert!(check_group_bytes(GROUP_BYTES_MAX + 1).is_err());
        let saved = |at| Saved { at: Position(at), epoch: Epoch(1), bytes: 0 };
        assert!(check_saved(saved(1), 1).is_ok());
        assert!(check_saved(saved(0), 1).is_err() && check_saved(saved(2), 1).is_err());
    }
}
