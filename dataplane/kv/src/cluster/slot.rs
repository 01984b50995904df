//! The slot of a key, as the Redis Cluster specification defines it: CRC16 (XMODEM: polynomial 0x1021,
//! from 0) of the key or of its hash tag, modulo the number of slots.

use crc_fast::{CrcAlgorithm, checksum};
use orrery_api::kv::layout::SLOTS;

/// The slot of a key.
#[inline]
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    // 16 bits, and the number of slots is a power of two.
    checksum(CrcAlgorithm::Crc16Xmodem, tag(key)) as u16 % SLOTS
}

/// What of a key decides: between its first `{` and the next `}`, if there is anything between them,
/// else all of it. Keys with the same tag are in the same slot.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    let rest = &key[open + 1..];
    match memchr::memchr(b'}', rest) {
        Some(len) if len > 0 => &rest[..len],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        // As every Redis Cluster answers `CLUSTER KEYSLOT`.
        for (key, slot) in [("foo", 12_182), ("bar", 5061), ("hello", 866), ("somekey", 11_058)] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(slot_of(b""), 0);
    }

    #[test]
    fn the_first_tag_that_is_not_empty_decides() {
        for (key, expected) in [
            ("{user1000}.following", "user1000"),
            ("{user1000}.followers", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("{}", "{}"),
            ("foo{bar", "foo{bar"),
            ("foo}bar{", "foo}bar{"),
        ] {
            assert_eq!(tag(key.as_bytes()), expected.as_bytes(), "{key}");
        }
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
    }
}
