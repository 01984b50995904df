//! Names, constants and the segment header: the parts of the format that are not frames.
//!
//! All numbers are little-endian. A segment is a header block of 4,096 bytes, then frames
//! (`frame.rs`), each starting at a multiple of 8, then anything. The header has a block of its own
//! so that no later write touches the disk sector it lies in.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYSEGM` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | shard |
//! | 16 | 8 | epoch when the segment was begun |
//! | 24 | 8 | position of its first record |
//! | 32 | 8 | salt, unguessable, different for every segment |
//! | 40 | 4,052 | zeros |
//! | 4,092 | 4 | CRC32C of the bytes before |

use crate::JournalError;

/// Version of segments, snapshots and the epoch file.
pub(crate) const VERSION: u32 = 1;
/// Bytes before the first frame.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 4096;
/// Writes end at a multiple of this, so that the page they end in need not be read first.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Frames start at multiples of this.
pub(crate) const FRAME_ALIGN: usize = 8;

pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"ORRYSEGM";
const SEGMENT_CRC_AT: usize = SEGMENT_HEADER_BYTES - 4;

const SEGMENT_PREFIX: &str = "segment-";
const SNAPSHOT_PREFIX: &str = "snapshot-";
const SPARE_PREFIX: &str = "spare-";
/// Files being written under a name that means nothing yet.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";
/// The file that holds the epoch.
pub(crate) const EPOCH_FILE: &str = "epoch";

/// A file of the journal, as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A segment and its first position.
    Segment(u64),
    /// A snapshot and its position.
    Snapshot(u64),
    /// A prepared segment without content, and its number.
    Spare(u64),
    Epoch,
    Temporary,
    Foreign,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Self {
        let number = |digits: &str| {
            let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse().ok()).flatten()
        };
        let numbered = |prefix| name.strip_prefix(prefix).and_then(number);
        if name == EPOCH_FILE {
            Self::Epoch
        } else if name.ends_with(TEMPORARY_SUFFIX) {
            Self::Temporary
        } else if let Some(first) = numbered(SEGMENT_PREFIX) {
            Self::Segment(first)
        } else if let Some(at) = numbered(SNAPSHOT_PREFIX) {
            Self::Snapshot(at)
        } else if let Some(number) = numbered(SPARE_PREFIX) {
            Self::Spare(number)
        } else {
            Self::Foreign
        }
    }
}

pub(crate) fn segment_name(first: u64) -> String {
    format!("{SEGMENT_PREFIX}{first:020}")
}

pub(crate) fn snapshot_name(at: u64) -> String {
    format!("{SNAPSHOT_PREFIX}{at:020}")
}

pub(crate) fn spare_name(number: u64) -> String {
    format!("{SPARE_PREFIX}{number:020}")
}

/// The four bytes at `at`; the caller has checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

/// The eight bytes at `at`; the caller has checked the length.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) shard: u32,
    pub(crate) epoch: u64,
    pub(crate) first: u64,
    pub(crate) salt: u64,
}

impl SegmentHeader {
    /// The state from which the CRC of every frame header of this segment starts.
    pub(crate) fn seed(&self) -> u32 {
        crc32c::crc32c(&self.salt.to_le_bytes())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut block = vec![0; SEGMENT_HEADER_BYTES];
        block[..8].copy_from_slice(&SEGMENT_MAGIC);
        block[8..12].copy_from_slice(&VERSION.to_le_bytes());
        block[12..16].copy_from_slice(&self.shard.to_le_bytes());
        block[16..24].copy_from_slice(&self.epoch.to_le_bytes());
        block[24..32].copy_from_slice(&self.first.to_le_bytes());
        block[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let crc = crc32c::crc32c(&block[..SEGMENT_CRC_AT]);
        block[SEGMENT_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        block
    }

    /// Reads the header of the segment `file`, which its name says begins at `first`.
    pub(crate) fn decode(
        bytes: &[u8],
        file: &str,
        first: u64,
        shard: Option<u32>,
    ) -> Result<Self, JournalError> {
        if bytes.len() < SEGMENT_HEADER_BYTES {
            return Err(JournalError::corrupt(first, file, "the segment header is cut short"));
        }
        let crc = crc32c::crc32c(&bytes[..SEGMENT_CRC_AT]);
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, SEGMENT_CRC_AT) != crc {
            return Err(JournalError::corrupt(first, file, "the segment header is damaged"));
        }
        let found = u32_at(bytes, 8);
        if found != VERSION {
            return Err(JournalError::Version { file: file.to_owned(), found, known: VERSION });
        }
        let header = Self {
            shard: u32_at(bytes, 12),
            epoch: u64_at(bytes, 16),
            first: u64_at(bytes, 24),
            salt: u64_at(bytes, 32),
        };
        if let Some(expected) = shard.filter(|expected| *expected != header.shard) {
            let file = file.to_owned();
            return Err(JournalError::WrongShard { file, found: header.shard, expected });
        }
        if header.first != first {
            return Err(JournalError::corrupt(first, file, "the file is not the one it is named"));
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader =
        SegmentHeader { shard: 2, epoch: 3, first: 4, salt: 0x1122_3344_5566_7788 };

    #[test]
    fn names_and_numbers_agree() {
        assert_eq!(segment_name(42), "segment-00000000000000000042");
        assert_eq!(Name::parse(&segment_name(u64::MAX)), Name::Segment(u64::MAX));
        assert_eq!(Name::parse(&snapshot_name(7)), Name::Snapshot(7));
        assert_eq!(Name::parse(&spare_name(7)), Name::Spare(7));
        assert_eq!(Name::parse("epoch"), Name::Epoch);
        assert_eq!(Name::parse("snapshot-00000000000000000007.tmp"), Name::Temporary);
        for foreign in ["lock", "segment-7", "segment-+0000000000000000007", "lost+found"] {
            assert_eq!(Name::parse(foreign), Name::Foreign);
        }
    }

    #[test]
    fn the_bytes_of_a_segment_header_are_fixed() {
        let block = HEADER.encode();
        assert_eq!(&block[..8], b"ORRYSEGM");
        let fields = [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(block[8..32], fields);
        assert_eq!(block[32..40], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
        assert!(block[40..4092].iter().all(|byte| *byte == 0));
        assert_eq!(block[4092..], [157, 51, 148, 146]);
        assert_eq!(HEADER.seed(), 0xaf59_5116);
    }

    #[test]
    fn any_damage_to_a_segment_header_is_noticed() {
        let block = HEADER.encode();
        for bit in 0..block.len() * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let decoded = SegmentHeader::decode(&damaged, "f", 4, Some(2));
            assert!(matches!(decoded, Err(JournalError::Corrupt { .. })), "bit {bit}");
        }
        assert_eq!(SegmentHeader::decode(&block, "f", 4, Some(2)).expect("intact"), HEADER);
        assert!(SegmentHeader::decode(&block[..4000], "f", 4, Some(2)).is_err());
    }

    #[test]
    fn another_shard_version_or_name_is_refused() {
        let block = HEADER.encode();
        let decode = |block: &[u8], first, shard| {
            SegmentHeader::decode(block, "f", first, Some(shard)).expect_err("refused")
        };
        assert!(matches!(decode(&block, 4, 3), JournalError::WrongShard { found: 2, .. }));
        assert!(matches!(decode(&block, 5, 2), JournalError::Corrupt { .. }));
        let mut later = block;
        later[8] = 2;
        let crc = crc32c::crc32c(&later[..SEGMENT_CRC_AT]);
        later[SEGMENT_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        assert!(matches!(decode(&later, 4, 2), JournalError::Version { found: 2, .. }));
    }
}
