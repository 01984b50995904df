//! Snapshots: the state at a position, as the owner serialises it, in one file.
//!
//! A header of 64 bytes, chunks, a trailer. A file under the final name was synced before it was
//! renamed, so a snapshot that does not end in its trailer is damaged, not unfinished.
//!
//! | offset | bytes | header field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYSNAP` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | shard |
//! | 16 | 8 | position: the state after this record |
//! | 24 | 8 | epoch when it was begun |
//! | 32 | 28 | zeros |
//! | 60 | 4 | CRC32C of the bytes before |
//!
//! A chunk is its length (4 bytes, 1 to 256 KiB), the CRC32C (4 bytes) of its index as 8 bytes
//! followed by its content, and the content. The trailer is a length of 0, the CRC32C of the 16
//! bytes that follow, the number of chunks (8 bytes), and the sum of their lengths (8 bytes).

mod copy;
mod image;
mod reader;
mod writer;

use crate::JournalError;
use crate::format::{VERSION, u32_at, u64_at};

pub use copy::CopyWriter;
pub use reader::SnapshotReader;
pub use writer::SnapshotWriter;

pub(crate) use reader::verify;

pub(crate) const MAGIC: [u8; 8] = *b"ORRYSNAP";
pub(crate) const HEADER_BYTES: usize = 64;
const CHUNK_HEADER_BYTES: usize = 8;
const CHUNK_BYTES_MAX: usize = 256 << 10;
const TRAILER_BYTES: usize = 16;

fn encode_header(shard: u32, position: u64, epoch: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..16].copy_from_slice(&shard.to_le_bytes());
    bytes[16..24].copy_from_slice(&position.to_le_bytes());
    bytes[24..32].copy_from_slice(&epoch.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Checks the header of the snapshot `file`, which its name says is of `position`.
fn check_header(
    bytes: &[u8],
    file: &str,
    position: u64,
    shard: Option<u32>,
) -> Result<(), JournalError> {
    let intact = bytes.len() == HEADER_BYTES
        && bytes[..8] == MAGIC
        && u32_at(bytes, 60) == crc32c::crc32c(&bytes[..60]);
    if !intact {
        return Err(JournalError::corrupt(position, file, "the snapshot header is damaged"));
    }
    let found = u32_at(bytes, 8);
    if found != VERSION {
        return Err(JournalError::Version { file: file.to_owned(), found, known: VERSION });
    }
    let found = u32_at(bytes, 12);
    if let Some(expected) = shard.filter(|expected| *expected != found) {
        return Err(JournalError::WrongShard { file: file.to_owned(), found, expected });
    }
    if u64_at(bytes, 16) != position {
        return Err(JournalError::corrupt(position, file, "the file is not the one it is named"));
    }
    Ok(())
}

fn chunk_crc(index: u64, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&index.to_le_bytes()), content)
}
