//! The epoch file: who owned the journal last.
//!
//! It is replaced whole (written aside, synced, renamed, folder synced) before any record of the
//! new epoch is written, so no record can have a higher epoch than the file.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYEPOC` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | shard |
//! | 16 | 8 | epoch |
//! | 24 | 4 | CRC32C of the bytes before |

use crate::disk::read_all;
use crate::format::{EPOCH_FILE, VERSION, u32_at, u64_at};
use crate::{Disk, JournalError};

pub(crate) const MAGIC: [u8; 8] = *b"ORRYEPOC";
pub(crate) const BYTES: usize = 28;
const TEMPORARY: &str = "epoch.tmp";

fn encode(shard: u32, epoch: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&shard.to_le_bytes());
    bytes[16..24].copy_from_slice(&epoch.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8], shard: Option<u32>) -> Result<(u32, u64), JournalError> {
    let intact = bytes.len() == BYTES
        && bytes[..8] == MAGIC
        && u32_at(bytes, 24) == crc32c::crc32c(&bytes[..24]);
    if !intact {
        return Err(JournalError::corrupt(0, EPOCH_FILE, "the epoch is damaged"));
    }
    let file = || EPOCH_FILE.to_owned();
    let found = u32_at(bytes, 8);
    if found != VERSION {
        return Err(JournalError::Version { file: file(), found, known: VERSION });
    }
    let found = u32_at(bytes, 12);
    if let Some(expected) = shard.filter(|expected| *expected != found) {
        return Err(JournalError::WrongShard { file: file(), found, expected });
    }
    Ok((u32_at(bytes, 12), u64_at(bytes, 16)))
}

/// The epoch on disk. `shard`, if given, must be the one it was written for.
pub(crate) fn load(disk: &dyn Disk, shard: Option<u32>) -> Result<u64, JournalError> {
    load_with_shard(disk, shard).map(|(_, epoch)| epoch)
}

/// The same, and the shard that it was written for.
pub(crate) fn load_with_shard(
    disk: &dyn Disk,
    shard: Option<u32>,
) -> Result<(u32, u64), JournalError> {
    let bytes = read_all(disk, EPOCH_FILE).map_err(|e| JournalError::io("read", EPOCH_FILE, e))?;
    decode(&bytes, shard)
}

/// Makes `epoch` the epoch on disk. After an error either may be.
pub(crate) fn store(disk: &dyn Disk, shard: u32, epoch: u64) -> Result<(), JournalError> {
    let written = || {
        let file = disk.create(TEMPORARY)?;
        file.write_at(&encode(shard, epoch), 0)?;
        file.sync()?;
        disk.rename(TEMPORARY, EPOCH_FILE)?;
        disk.sync_dir()
    };
    written().map_err(|e| JournalError::io("write", EPOCH_FILE, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_survives_encoding() {
        assert_eq!(decode(&encode(3, 77), Some(3)).expect("intact"), (3, 77));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for bit in 0..BYTES * 8 {
            let mut bytes = encode(3, 77);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(decode(&bytes, Some(3)), Err(JournalError::Corrupt { .. })));
        }
    }

    #[test]
    fn another_shard_is_refused() {
        let refused = decode(&encode(3, 77), Some(4));
        assert!(matches!(refused, Err(JournalError::WrongShard { found: 3, expected: 4, .. })));
    }
}
