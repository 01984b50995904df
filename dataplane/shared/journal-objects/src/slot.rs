//! An object of the log: a header, and behind it the bytes of a group, or nothing for a fence.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYSLOT` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | shard |
//! | 16 | 8 | slot, as in its name |
//! | 24 | 16 | owner: epoch, token |
//! | 40 | 8 | session of the owner that put it |
//! | 48 | 8 | number of a control entry that was there before |
//! | 56 | 8 | position of the first record; of a fence, of the record that comes next |
//! | 64 | 8 | position of the last record of the log up to here |
//! | 72 | 8 | epoch of that record |
//! | 80 | 4 | kind: 1 fence, 2 group |
//! | 84 | 4 | number of bytes that follow the header |
//! | 88 | 4 | CRC32C of the bytes before |
//!
//! A fence is shorter than any group: so a listing tells which is which, and trimming keeps fences.

use bytes::Bytes;
use orrery_journal::carrier::{Group, Owner};
use orrery_journal::{Epoch, Position};

use crate::bytes::{Builder, open, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"ORRYSLOT";
pub(crate) const HEADER_BYTES: usize = 92;

const FENCE: u32 = 1;
const GROUP: u32 = 2;

/// The header of an object of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Which slot it is in.
    pub(crate) number: u64,
    pub(crate) owner: Owner,
    pub(crate) session: u64,
    pub(crate) control: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) last_epoch: u64,
    pub(crate) is_fence: bool,
    pub(crate) body_bytes: u32,
}

impl Slot {
    /// The object with this header. The length of `body` is what the header says.
    pub(crate) fn encode(&self, shard: u32, body: &[u8]) -> Bytes {
        let kind = if self.is_fence { FENCE } else { GROUP };
        let Owner { epoch, token } = self.owner;
        let numbers = [self.number, epoch.0, token, self.session, self.control];
        let builder = Builder::new(MAGIC, shard).u64s(&numbers);
        let builder = builder.u64s(&[self.first, self.last, self.last_epoch]);
        builder.u32s(&[kind, self.body_bytes]).seal(body)
    }

    /// Reads the header of an object of `total` bytes that stands at `slot`.
    pub(crate) fn decode(
        bytes: &[u8],
        total: u64,
        shard: u32,
        slot: u64,
    ) -> Result<Self, &'static str> {
        let head = open(bytes, HEADER_BYTES, MAGIC, shard)?;
        let kind = u32_at(head, 80);
        let found = Self {
            number: u64_at(head, 16),
            owner: Owner { epoch: Epoch(u64_at(head, 24)), token: u64_at(head, 32) },
            session: u64_at(head, 40),
            control: u64_at(head, 48),
            first: u64_at(head, 56),
            last: u64_at(head, 64),
            last_epoch: u64_at(head, 72),
            is_fence: kind == FENCE,
            body_bytes: u32_at(head, 84),
        };
        if found.number != slot {
            return Err("it is not the object that belongs here");
        }
        if total != HEADER_BYTES as u64 + u64::from(found.body_bytes) {
            return Err("it has another length than its header says");
        }
        // Of a fence the first record is the one that comes next.
        let is_sound = match kind {
            FENCE => found.first == found.last + 1 && found.body_bytes == 0,
            GROUP => (1..=found.last).contains(&found.first) && found.body_bytes > 0,
            _ => false,
        };
        if is_sound { Ok(found) } else { Err("its header contradicts itself") }
    }

    /// Why this object cannot stand behind `before`, if it cannot.
    pub(crate) fn contradiction(&self, before: &Self) -> Option<&'static str> {
        let (old, new) = (before.owner, self.owner);
        if new.epoch < old.epoch || (new.epoch == old.epoch && new.token != old.token) {
            return Some("an earlier owner wrote behind a later one");
        }
        if (new != old || self.session != before.session) && !self.is_fence {
            return Some("another session wrote without a fence");
        }
        if self.first != before.last + 1 || self.last_epoch < before.last_epoch {
            return Some("its records do not continue those before");
        }
        None
    }

    /// The group of a whole object, all of it checked.
    pub(crate) fn group(
        &self,
        object: &[u8],
        shard: u32,
    ) -> Result<Group, orrery_journal::carrier::CarrierError> {
        let body = object.get(HEADER_BYTES..).unwrap_or_default().to_vec();
        let group = Group::open(body, shard, Position(self.first))?;
        let is_same = group.last().0 == self.last && group.epoch().0 == self.last_epoch;
        if is_same { Ok(group) } else { Err(self.corrupt("its group is not that of its header")) }
    }

    pub(crate) fn corrupt(&self, reason: &str) -> orrery_journal::carrier::CarrierError {
        crate::error::corrupt(self.first, &crate::name::slot(self.number), reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot {
            number: 9,
            owner: Owner { epoch: Epoch(3), token: 8 },
            session: 4,
            control: 2,
            first: 20,
            last: 29,
            last_epoch: 3,
            is_fence: false,
            body_bytes: 5,
        }
    }

    #[test]
    fn an_object_is_read_back_and_every_damage_of_its_header_is_noticed() {
        let bytes = slot().encode(4, b"group");
        let total = bytes.len() as u64;
        assert_eq!(Slot::decode(&bytes, total, 4, 9), Ok(slot()));
        assert!(Slot::decode(&bytes, total, 4, 8).is_err(), "in another place");
        assert!(Slot::decode(&bytes, total, 3, 9).is_err(), "of another shard");
        assert!(Slot::decode(&bytes, total - 1, 4, 9).is_err(), "cut");
        for bit in 0..HEADER_BYTES * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Slot::decode(&damaged, total, 4, 9).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_cannot_follow_is_named() {
        let before = slot();
        let next = Slot { number: 10, first: 30, last: 30, ..slot() };
        assert_eq!(next.contradiction(&before), None);
        let owner = |epoch, token| Owner { epoch: Epoch(epoch), token };
        let fence = Slot { first: 30, last: 29, is_fence: true, owner: owner(4, 1), ..next };
        assert_eq!(fence.contradiction(&before), None);
        for wrong in [
            Slot { first: 31, last: 31, ..next },
            Slot { owner: owner(4, 8), ..next },
            Slot { session: 5, ..next },
            Slot { owner: owner(3, 9), ..fence },
            Slot { owner: owner(2, 8), ..fence },
            Slot { last_epoch: 2, ..next },
        ] {
            assert!(wrong.contradiction(&before).is_some(), "{wrong:?}");
        }
    }
}
