//! A group of records as a carrier holds it: opaque to the engine, checked by whoever reads it.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYGRUP` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | shard |
//! | 16 | 8 | position of the first record |
//! | 24 | 8 | position of the last record |
//! | 32 | 8 | epoch of all records |
//! | 40 | 4 | number of bytes that follow the header |
//! | 44 | 4 | CRC32C of the bytes before |
//!
//! The frames of the records follow as they stand in a segment, except that their CRC continues from
//! the CRC of this header: no frame passes in another group than its own.

use crate::format::{VERSION, u32_at, u64_at};
use crate::frame;
use crate::{CarrierError, Entry, Epoch, Position, Record};

const MAGIC: [u8; 8] = *b"ORRYGRUP";
pub(crate) const GROUP_HEADER_BYTES: usize = 48;

/// Records that became durable together.
#[derive(Clone, PartialEq, Eq)]
pub struct Group {
    first: u64,
    last: u64,
    epoch: u64,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({}..={} of epoch {})", self.first, self.last, self.epoch)
    }
}

fn corrupt(position: u64, reason: &str) -> CarrierError {
    CarrierError::Corrupt { position: Position(position), reason: reason.to_owned() }
}

impl Group {
    /// The group of `records`, the first of which has position `first`. There must be one.
    pub fn of(shard: u32, epoch: Epoch, first: Position, records: &[Record<'_>]) -> Self {
        let mut frames = Vec::new();
        for (index, record) in records.iter().enumerate() {
            frame::encode(&mut frames, first.0 + index as u64, epoch.0, record);
        }
        let last = first.0 + records.len() as u64 - 1;
        Self::seal(shard, epoch.0, first.0..=last, &frames)
    }

    /// Makes a group of whole frames, stamped or not.
    pub(crate) fn seal(
        shard: u32,
        epoch: u64,
        positions: std::ops::RangeInclusive<u64>,
        frames: &[u8],
    ) -> Self {
        let (first, last) = positions.into_inner();
        let mut bytes = Vec::with_capacity(GROUP_HEADER_BYTES + frames.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&shard.to_le_bytes());
        for number in [first, last, epoch] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&(frames.len() as u32).to_le_bytes());
        let seed = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&seed.to_le_bytes());
        bytes.extend_from_slice(frames);
        frame::stamp(&mut bytes[GROUP_HEADER_BYTES..], seed, first - 1);
        Self { first, last, epoch, bytes }
    }

    /// Reads a group back, and checks all of it. `expected` is the position where the engine has it.
    pub fn open(bytes: Vec<u8>, shard: u32, expected: Position) -> Result<Self, CarrierError> {
        let bad = |reason: &str| corrupt(expected.0, reason);
        let head = bytes.get(..GROUP_HEADER_BYTES).ok_or_else(|| bad("it is cut"))?;
        if head[..8] != MAGIC || u32_at(head, 44) != crc32c::crc32c(&head[..44]) {
            return Err(bad("its header is damaged"));
        }
        if u32_at(head, 8) != VERSION {
            return Err(bad("it has a format version that this program does not know"));
        }
        if u32_at(head, 12) != shard {
            return Err(bad("it belongs to another shard"));
        }
        let (first, last, epoch) = (u64_at(head, 16), u64_at(head, 24), u64_at(head, 32));
        let is_whole = bytes.len() - GROUP_HEADER_BYTES == u32_at(head, 40) as usize;
        if first != expected.0 || first == 0 || last < first || !is_whole {
            return Err(bad("its header is not that of the group which belongs here"));
        }
        let group = Self { first, last, epoch, bytes };
        let mut next = first;
        for entry in group.entries() {
            let entry = entry?;
            if entry.position.0 != next || entry.epoch.0 != epoch {
                return Err(corrupt(next, "another record stands in its place"));
            }
            next += 1;
        }
        if next == last + 1 { Ok(group) } else { Err(corrupt(next, "the record is missing")) }
    }

    /// Position of its first record.
    pub fn first(&self) -> Position {
        Position(self.first)
    }

    /// Position of its last record.
    pub fn last(&self) -> Position {
        Position(self.last)
    }

    /// Epoch of its records.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// What the engine is to hold.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records, each checked as it is given.
    pub fn entries(&self) -> Entries<'_> {
        let seed = u32_at(&self.bytes, 44);
        Entries { rest: &self.bytes[GROUP_HEADER_BYTES..], seed, next: self.first }
    }
}

/// The records of a group, in order.
#[derive(Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    seed: u32,
    next: u64,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, CarrierError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let taken = std::mem::take(&mut self.rest);
        let entry =
            frame::decode(taken, self.seed).filter(|header| !header.mark).and_then(|header| {
                let body = header.body(taken)?;
                self.rest = taken.get(header.frame_bytes()..)?;
                Some(header.entry(body))
            });
        let position = self.next;
        self.next += 1;
        Some(entry.ok_or_else(|| corrupt(position, "the record does not match its checksum")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Group {
        let record = |body| Record { stream: 1, kind: 2, time_us: -3, body };
        Group::of(4, Epoch(5), Position(7), &[record(b"one"), record(b""), record(b"three")])
    }

    #[test]
    fn what_was_sealed_is_read_back() {
        let group = group();
        let read = Group::open(group.bytes().to_vec(), 4, Position(7)).expect("intact");
        assert_eq!(read, group);
        assert_eq!((read.last(), read.epoch()), (Position(9), Epoch(5)));
        let entries: Result<Vec<Entry<'_>>, CarrierError> = read.entries().collect();
        let bodies: Vec<&[u8]> = entries.expect("intact").iter().map(|entry| entry.body).collect();
        assert_eq!(bodies, [b"one".as_slice(), b"", b"three"]);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = group().bytes().to_vec();
        for end in 0..bytes.len() {
            assert!(Group::open(bytes[..end].to_vec(), 4, Position(7)).is_err(), "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Group::open(damaged, 4, Position(7)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_belongs_elsewhere_is_refused() {
        let bytes = || group().bytes().to_vec();
        assert!(Group::open(bytes(), 3, Position(7)).is_err(), "of another shard");
        assert!(Group::open(bytes(), 4, Position(8)).is_err(), "in another place");
        let mut longer = bytes();
        longer.extend_from_slice(group().bytes());
        assert!(Group::open(longer, 4, Position(7)).is_err(), "with another one behind it");
    }
}
