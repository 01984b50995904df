//! Which version of the format a folder has, asked before anything in it is changed.
//!
//! Every file that counts begins with a magic of 8 bytes, the version in 4, and a header that ends with
//! its CRC. Names, magics, lengths of headers and places of their CRCs are the same in every version:
//! so one that this program does not know is told from damage, and refused, however new it is. What
//! does change is what a header says and what follows it.

use crate::disk::read_full;
use crate::format::{
    EPOCH_FILE, Name, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, VERSION, segment_name, snapshot_name,
    u32_at,
};
use crate::{Disk, JournalError, epoch, snapshot};

/// Refuses a folder in which any file is of another version. Damaged files are for others to judge.
pub(crate) fn check(disk: &dyn Disk, names: &[String]) -> Result<(), JournalError> {
    for name in names {
        let (file, magic, bytes) = match Name::parse(name) {
            Name::Segment(first) => (segment_name(first), SEGMENT_MAGIC, SEGMENT_HEADER_BYTES),
            Name::Snapshot(at) => (snapshot_name(at), snapshot::MAGIC, snapshot::HEADER_BYTES),
            Name::Epoch => (EPOCH_FILE.to_owned(), epoch::MAGIC, epoch::BYTES),
            Name::Spare(_) | Name::Temporary | Name::Foreign => continue,
        };
        match version_of(disk, &file, magic, bytes) {
            Some(found) if found != VERSION => {
                return Err(JournalError::Version { file, found, known: VERSION });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The version of a file whose header is intact.
fn version_of(disk: &dyn Disk, file: &str, magic: [u8; 8], bytes: usize) -> Option<u32> {
    let mut header = vec![0; bytes];
    let read = disk.open(file).and_then(|file| read_full(&*file, &mut header, 0)).ok()?;
    let crc = crc32c::crc32c(&header[..bytes - 4]);
    let is_intact = read == bytes && header[..8] == magic && u32_at(&header, bytes - 4) == crc;
    is_intact.then(|| u32_at(&header, 8))
}
