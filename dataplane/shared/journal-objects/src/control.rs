//! A control entry: who owns the shard, which snapshots are whole, and where the log begins.
//!
//! Each entry says all of it, so only the last one counts; see [`crate::chain`] for how they follow
//! each other. 160 bytes:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYCTRL` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | shard |
//! | 16 | 8 | number of the entry, as in its name |
//! | 24 | 16 | owner: epoch, token |
//! | 40 | 8 | the first slot of the log that counts |
//! | 48 | 8 | the first record that is there from that slot on |
//! | 56 | 8 | a slot the log reached when this was written, 0 for none |
//! | 64 | 8 | why it was written: 1 take-over, 2 snapshot, 3 trim; for people |
//! | 72 | 8 | number of snapshots, at most 2 |
//! | 80 | 64 | each, the newest first: position, epoch, bytes, attempt |
//! | 144 | 12 | zeros |
//! | 156 | 4 | CRC32C of the bytes before |

use bytes::Bytes;
use orrery_journal::carrier::{Carried, CarrierError, Owner, Saved};
use orrery_journal::{Epoch, Position};

use crate::bytes::{Builder, open, u64_at};

const MAGIC: [u8; 8] = *b"ORRYCTRL";
pub(crate) const CONTROL_BYTES: usize = 160;

/// Snapshots that are kept: the newest, and the one before for who is just reading it.
const KEPT: usize = 2;

/// A snapshot that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) at: u64,
    pub(crate) epoch: u64,
    pub(crate) bytes: u64,
    /// Drawn anew for each attempt to write one: names its pieces.
    pub(crate) attempt: u64,
}

/// Why an entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Nothing = 0,
    TakeOver = 1,
    Snapshot = 2,
    Trim = 3,
}

/// What the last entry says; what holds before the first is the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Control {
    /// Number of the entry, 0 before the first.
    pub(crate) number: u64,
    /// Epoch and token 0 before the first take-over.
    pub(crate) owner: Owner,
    /// The first slot that counts: what lies before is garbage.
    pub(crate) floor: u64,
    /// The first record at or behind `floor`.
    pub(crate) oldest: u64,
    /// A slot that was in use when the entry was written, 0 for none.
    pub(crate) seen: u64,
    pub(crate) reason: Reason,
    /// The newest first.
    pub(crate) images: Vec<Image>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            number: 0,
            owner: Owner { epoch: Epoch(0), token: 0 },
            floor: 1,
            oldest: 1,
            seen: 0,
            reason: Reason::Nothing,
            images: vec![],
        }
    }
}

impl Control {
    /// The entry behind this one, with the same content so far.
    pub(crate) fn next(&self, reason: Reason, seen: u64) -> Self {
        let seen = seen.max(self.seen);
        Self { number: self.number + 1, reason, seen, ..self.clone() }
    }

    /// `Fenced` for whoever does not own the shard.
    pub(crate) fn check_owner(&self, owner: Owner) -> Result<(), CarrierError> {
        if self.number > 0 && self.owner == owner {
            return Ok(());
        }
        Err(CarrierError::Fenced { held: self.owner.epoch })
    }

    /// Puts a snapshot in its place among those that are kept.
    pub(crate) fn add(&mut self, image: Image) {
        self.images.retain(|kept| kept.at != image.at);
        self.images.push(image);
        self.images.sort_unstable_by_key(|kept| std::cmp::Reverse(kept.at));
        self.images.truncate(KEPT);
    }

    pub(crate) fn newest(&self) -> Option<Saved> {
        let newest = self.images.first()?;
        let (at, epoch) = (Position(newest.at), Epoch(newest.epoch));
        Some(Saved { at, epoch, bytes: newest.bytes })
    }

    /// With the last record there is, and its epoch.
    pub(crate) fn carried(&self, last: u64, last_epoch: u64) -> Carried {
        Carried {
            epoch: self.owner.epoch,
            last: Position(last),
            last_epoch: Epoch(last_epoch),
            oldest: Position(self.oldest),
            snapshot: self.newest(),
        }
    }

    pub(crate) fn encode(&self, shard: u32) -> Bytes {
        let mut fields = vec![self.number, self.owner.epoch.0, self.owner.token];
        fields.extend([self.floor, self.oldest, self.seen, self.reason as u64]);
        fields.push(self.images.len() as u64);
        for image in &self.images {
            fields.extend([image.at, image.epoch, image.bytes, image.attempt]);
        }
        fields.resize(16, 0);
        Builder::new(MAGIC, shard).u64s(&fields).u32s(&[0, 0, 0]).seal(&[])
    }

    pub(crate) fn decode(bytes: &[u8], shard: u32, number: u64) -> Result<Self, &'static str> {
        let head = open(bytes, CONTROL_BYTES, MAGIC, shard)?;
        if bytes.len() != CONTROL_BYTES || u64_at(head, 16) != number {
            return Err("it is not the control entry that belongs here");
        }
        let image = |index: usize| {
            let at = 80 + index * 32;
            let [at, epoch, bytes, attempt] = [0, 8, 16, 24].map(|field| u64_at(head, at + field));
            Image { at, epoch, bytes, attempt }
        };
        let count = u64_at(head, 72) as usize;
        let reason = match u64_at(head, 64) {
            1 => Reason::TakeOver,
            2 => Reason::Snapshot,
            3 => Reason::Trim,
            _ => return Err("it has a reason that this program does not know"),
        };
        if count > KEPT {
            return Err("it has more snapshots than are kept");
        }
        Ok(Self {
            number,
            owner: Owner { epoch: Epoch(u64_at(head, 24)), token: u64_at(head, 32) },
            floor: u64_at(head, 40),
            oldest: u64_at(head, 48),
            seen: u64_at(head, 56),
            reason,
            images: (0..count).map(image).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(at: u64) -> Image {
        Image { at, epoch: 2, bytes: 9, attempt: at * 7 }
    }

    fn entry() -> Control {
        Control {
            number: 5,
            owner: Owner { epoch: Epoch(3), token: 77 },
            floor: 11,
            oldest: 21,
            seen: 15,
            reason: Reason::Trim,
            images: vec![image(30), image(20)],
        }
    }

    #[test]
    fn an_entry_is_read_back_and_every_damage_is_noticed() {
        let bytes = entry().encode(4);
        assert_eq!(Control::decode(&bytes, 4, 5), Ok(entry()));
        assert!(Control::decode(&bytes, 4, 6).is_err(), "in another place");
        assert!(Control::decode(&bytes, 5, 5).is_err(), "of another shard");
        for end in 0..bytes.len() {
            assert!(Control::decode(&bytes[..end], 4, 5).is_err(), "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Control::decode(&damaged, 4, 5).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn the_two_newest_snapshots_are_kept() {
        let mut entry = entry();
        entry.add(image(10));
        assert_eq!(entry.images, [image(30), image(20)]);
        entry.add(image(40));
        assert_eq!(entry.images, [image(40), image(30)]);
        let again = Image { attempt: 1, ..image(40) };
        entry.add(again);
        assert_eq!(entry.images, [again, image(30)]);
        assert_eq!(entry.newest().map(|saved| saved.at), Some(Position(40)));
    }
}
