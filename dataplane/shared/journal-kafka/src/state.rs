//! What a record of the log says: who owns the journal and what counts of it, if the record lies where
//! its writer wanted it; and, if it brings a group, one piece of that. All pieces but the last one say
//! what counted before the group.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYKLOG` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | shard |
//! | 16 | 8, 8 | epoch and token of the owner |
//! | 32 | 8, 8 | last position and its epoch |
//! | 48 | 8, 8 | the first position that counts, and the offset where its group begins |
//! | 64 | 2 × 48 | the newest snapshots, the older one first: position (0 for none), epoch, bytes, attempt, offset of its first piece, number of pieces |
//! | 160 | 8, 8 | first and last position of the group, 0 for none |
//! | 176 | 4, 4 | number of this piece, and how many there are |
//! | 184 | 8 | the offset of this record; at another one it is void |
//! | 192 | 4 | CRC32C of the bytes before |
//!
//! The piece follows. The group has checksums of its own.

use orrery_journal::carrier::{Carried, Saved};
use orrery_journal::{CarrierError, Epoch, Owner, Position};

const MAGIC: [u8; 8] = *b"ORRYKLOG";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 196;
const CHECKED_BYTES: usize = HEAD_BYTES - 4;

/// A snapshot that counts, and where it lies in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) saved: Saved,
    /// Drawn for each attempt to save, so that pieces of others are not taken for its own.
    pub(crate) attempt: u64,
    /// Offset of the first piece.
    pub(crate) begin: i64,
    pub(crate) pieces: u64,
}

/// What counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) owner: Owner,
    pub(crate) last: u64,
    pub(crate) last_epoch: u64,
    /// The first position that counts: that of the oldest group.
    pub(crate) floor: u64,
    /// Where its group begins, or would.
    pub(crate) floor_offset: i64,
    /// The two newest, the older one first.
    pub(crate) snapshots: Vec<Kept>,
}

impl Default for State {
    /// Nothing yet.
    fn default() -> Self {
        Self {
            owner: Owner { epoch: Epoch(0), token: 0 },
            last: 0,
            last_epoch: 0,
            floor: 1,
            floor_offset: 0,
            snapshots: vec![],
        }
    }
}

impl State {
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            epoch: self.owner.epoch,
            last: Position(self.last),
            last_epoch: Epoch(self.last_epoch),
            oldest: Position(self.floor),
            snapshot: self.snapshots.last().map(|kept| kept.saved),
        }
    }

    /// `Fenced`, unless this is the owner. Of a state that a write has confirmed only.
    pub(crate) fn check(&self, owner: Owner) -> Result<(), CarrierError> {
        if self.owner == owner && owner.epoch.0 > 0 {
            return Ok(());
        }
        Err(CarrierError::Fenced { held: self.owner.epoch })
    }

    /// `Fenced`, if this owner has none of the journal any more, however old the state is: owners only
    /// grow.
    pub(crate) fn admit(&self, owner: Owner) -> Result<(), CarrierError> {
        if self.owner.epoch < owner.epoch || self.owner == owner {
            return Ok(());
        }
        Err(CarrierError::Fenced { held: self.owner.epoch })
    }

    /// With one more snapshot, and without those that it makes too many.
    pub(crate) fn with_snapshot(&self, kept: Kept) -> Self {
        let mut next = self.clone();
        next.snapshots.retain(|other| other.saved.at != kept.saved.at);
        next.snapshots.push(kept);
        next.snapshots.sort_by_key(|kept| kept.saved.at.0);
        let too_many = next.snapshots.len().saturating_sub(2);
        next.snapshots.drain(..too_many);
        next
    }

    /// What lies before this offset of the topic of snapshots is not needed.
    pub(crate) fn pieces_floor(&self) -> i64 {
        self.snapshots.iter().map(|kept| kept.begin).min().unwrap_or(0)
    }
}

/// The piece of a group that a record brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// First and last position of the group, 0 for none.
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) number: u32,
    pub(crate) count: u32,
}

impl Piece {
    /// That of a record without a group.
    pub(crate) const NONE: Self = Self { first: 0, last: 0, number: 0, count: 0 };

    /// Whether its group holds a position.
    pub(crate) fn holds(self, position: u64) -> bool {
        self.first > 0 && (self.first..=self.last).contains(&position)
    }
}

/// The head of a record that is to lie at `offset`; the bytes of the piece follow it.
pub(crate) fn head(shard: u32, offset: i64, state: &State, piece: Piece) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&shard.to_le_bytes());
    let owner = state.owner;
    let numbers = [owner.epoch.0, owner.token, state.last, state.last_epoch, state.floor];
    let mut put = |number: u64| bytes.extend_from_slice(&number.to_le_bytes());
    numbers.into_iter().for_each(&mut put);
    put(state.floor_offset as u64);
    for index in 0..2 {
        let kept = state.snapshots.get(index);
        let numbers = kept.map_or([0; 6], |kept| {
            let Saved { at, epoch, bytes } = kept.saved;
            [at.0, epoch.0, bytes, kept.attempt, kept.begin as u64, kept.pieces]
        });
        numbers.into_iter().for_each(&mut put);
    }
    put(piece.first);
    put(piece.last);
    bytes.extend_from_slice(&piece.number.to_le_bytes());
    bytes.extend_from_slice(&piece.count.to_le_bytes());
    bytes.extend_from_slice(&offset.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    pub(crate) state: State,
    pub(crate) piece: Piece,
    value: Vec<u8>,
}

impl Entry {
    /// Reads a record back, unless it is void. What is wrong is `Corrupt` without a position: the caller
    /// knows it.
    pub(crate) fn open(
        offset: i64,
        value: Vec<u8>,
        shard: u32,
    ) -> Result<Option<Self>, CarrierError> {
        let bad = |reason: &str| CarrierError::Corrupt {
            position: Position(0),
            reason: format!("the record at offset {offset} {reason}"),
        };
        let head = value.get(..HEAD_BYTES).ok_or_else(|| bad("was not written by this program"))?;
        if head[..8] != MAGIC {
            return Err(bad("was not written by this program"));
        }
        let u32_at =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if u32_at(CHECKED_BYTES) != crc32c::crc32c(&head[..CHECKED_BYTES]) {
            return Err(bad("does not match its checksum"));
        }
        if u32_at(8) != VERSION {
            return Err(bad("has a format version that this program does not know"));
        }
        if u32_at(12) != shard {
            let reason = format!("the topic is that of shard {}, not of {shard}", u32_at(12));
            return Err(CarrierError::Unusable { reason });
        }
        let snapshot = |at: usize| Kept {
            saved: Saved {
                at: Position(u64_at(at)),
                epoch: Epoch(u64_at(at + 8)),
                bytes: u64_at(at + 16),
            },
            attempt: u64_at(at + 24),
            begin: u64_at(at + 32) as i64,
            pieces: u64_at(at + 40),
        };
        let snapshots = [64, 112].map(snapshot).into_iter().filter(|kept| kept.saved.at.0 > 0);
        let state = State {
            owner: Owner { epoch: Epoch(u64_at(16)), token: u64_at(24) },
            last: u64_at(32),
            last_epoch: u64_at(40),
            floor: u64_at(48),
            floor_offset: u64_at(56) as i64,
            snapshots: snapshots.collect(),
        };
        let (first, last) = (u64_at(160), u64_at(168));
        let piece = Piece { first, last, number: u32_at(176), count: u32_at(180) };
        let is_void = u64_at(184) as i64 != offset;
        Ok((!is_void).then_some(Self { offset, state, piece, value }))
    }

    /// The bytes of the piece.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.value[HEAD_BYTES..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(at: u64, begin: i64) -> Kept {
        let saved = Saved { at: Position(at), epoch: Epoch(1), bytes: 9 };
        Kept { saved, attempt: at * 7, begin, pieces: 1 }
    }

    fn state() -> State {
        State {
            owner: Owner { epoch: Epoch(3), token: u64::MAX },
            last: 20,
            last_epoch: 2,
            floor: 4,
            floor_offset: 9,
            snapshots: vec![kept(3, 5), kept(12, 40)],
        }
    }

    #[test]
    fn what_is_written_is_read_and_every_damage_of_the_head_noticed() {
        let piece = Piece { first: 19, last: 20, number: 1, count: 3 };
        let mut value = head(7, 50, &state(), piece);
        assert_eq!(value.len(), HEAD_BYTES);
        value.extend_from_slice(b"piece");
        let entry = Entry::open(50, value.clone(), 7).expect("intact").expect("in its place");
        assert_eq!(
            (&entry.state, entry.piece, entry.bytes()),
            (&state(), piece, b"piece".as_slice())
        );
        assert_eq!(Entry::open(51, value.clone(), 7).expect("intact"), None, "it was moved");
        assert!(matches!(Entry::open(50, value.clone(), 8), Err(CarrierError::Unusable { .. })));
        for bit in 0..HEAD_BYTES * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let opened = Entry::open(50, damaged, 7);
            assert!(matches!(opened, Err(CarrierError::Corrupt { .. })), "bit {bit}");
        }
    }

    #[test]
    fn the_two_newest_snapshots_are_kept() {
        let state = State::default();
        let state = state.with_snapshot(kept(5, 10)).with_snapshot(kept(9, 20));
        assert_eq!(state.pieces_floor(), 10);
        let again = state.with_snapshot(kept(5, 30));
        assert_eq!((again.snapshots.len(), again.pieces_floor()), (2, 20));
        let next = again.with_snapshot(kept(11, 40));
        assert_eq!(next.snapshots, [kept(9, 20), kept(11, 40)]);
        assert_eq!(next.carried().snapshot, Some(kept(11, 40).saved));
    }
}
