//! Reading a snapshot back. The whole file is verified once before the first byte is handed out, so
//! that a damaged snapshot is passed over before anyone has taken half of it.

use std::io::{self, Read};

use super::{
    CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, HEADER_BYTES, TRAILER_BYTES, check_header, chunk_crc,
};
use crate::disk::read_full;
use crate::format::{snapshot_name, u32_at, u64_at};
use crate::{Disk, DiskFile, JournalError, Position};

/// The content of a snapshot, as it was written.
#[derive(Debug)]
pub struct SnapshotReader {
    at: u64,
    file: Box<dyn DiskFile>,
    offset: u64,
    chunk: Vec<u8>,
    taken: usize,
    chunks: u64,
    content_bytes: u64,
    ended: bool,
}

/// A chunk that is not what its checksum says.
fn damaged(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

impl SnapshotReader {
    /// Opens and checks the header only.
    pub(crate) fn open(disk: &dyn Disk, at: u64, shard: Option<u32>) -> Result<Self, JournalError> {
        let name = snapshot_name(at);
        let mut header = [0; HEADER_BYTES];
        let opened = disk.open(&name).and_then(|file| {
            let count = read_full(&*file, &mut header, 0)?;
            Ok((file, count))
        });
        let (file, count) = opened.map_err(|e| JournalError::io("read", &name, e))?;
        check_header(&header[..count], &name, at, shard)?;
        Ok(Self {
            at,
            file,
            offset: HEADER_BYTES as u64,
            chunk: Vec::new(),
            taken: 0,
            chunks: 0,
            content_bytes: 0,
            ended: false,
        })
    }

    /// The position whose state this is.
    pub fn position(&self) -> Position {
        Position(self.at)
    }

    /// Bytes of the whole file: a little more than its content.
    pub fn file_bytes(&self) -> io::Result<u64> {
        self.file.len()
    }

    /// Loads the next chunk, or finds the trailer.
    fn load(&mut self) -> io::Result<()> {
        let mut header = [0; CHUNK_HEADER_BYTES];
        if read_full(&*self.file, &mut header, self.offset)? < CHUNK_HEADER_BYTES {
            return Err(damaged("the snapshot is cut short"));
        }
        self.offset += CHUNK_HEADER_BYTES as u64;
        let (bytes, crc) = (u32_at(&header, 0) as usize, u32_at(&header, 4));
        if bytes == 0 {
            return self.check_trailer(crc);
        }
        if bytes > CHUNK_BYTES_MAX {
            return Err(damaged("a chunk has an impossible length"));
        }
        self.chunk.resize(bytes, 0);
        self.taken = 0;
        if read_full(&*self.file, &mut self.chunk, self.offset)? < bytes {
            return Err(damaged("the snapshot is cut short"));
        }
        if chunk_crc(self.chunks, &self.chunk) != crc {
            return Err(damaged("a chunk does not match its checksum"));
        }
        self.offset += bytes as u64;
        self.chunks += 1;
        self.content_bytes += bytes as u64;
        Ok(())
    }

    fn check_trailer(&mut self, crc: u32) -> io::Result<()> {
        let mut trailer = [0; TRAILER_BYTES];
        let whole = read_full(&*self.file, &mut trailer, self.offset)? == TRAILER_BYTES;
        let at_end = self.file.len()? == self.offset + TRAILER_BYTES as u64;
        let agrees = crc32c::crc32c(&trailer) == crc
            && u64_at(&trailer, 0) == self.chunks
            && u64_at(&trailer, 8) == self.content_bytes;
        if !(whole && at_end && agrees) {
            return Err(damaged("the trailer does not fit the snapshot"));
        }
        self.ended = true;
        Ok(())
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.chunk.len() && !self.ended {
            self.chunk.clear();
            self.taken = 0;
            self.load()?;
        }
        let rest = &self.chunk[self.taken..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// Reads the whole snapshot and says whether it is intact.
pub(crate) fn verify(disk: &dyn Disk, at: u64, shard: Option<u32>) -> Result<(), JournalError> {
    let mut reader = SnapshotReader::open(disk, at, shard)?;
    while !reader.ended {
        reader.chunk.clear();
        reader.load().map_err(|error| {
            let name = snapshot_name(at);
            if error.kind() == io::ErrorKind::InvalidData {
                JournalError::corrupt(at, &name, error.to_string())
            } else {
                JournalError::io("read", &name, error)
            }
        })?;
    }
    Ok(())
}

#[cfg(all(test, feature = "sim"))]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use super::*;
    use crate::sim::SimDisk;
    use crate::snapshot::image::Image;

    const NAME: &str = "snapshot-00000000000000000009";

    /// A snapshot of two whole chunks and a short one.
    fn written() -> SimDisk {
        let disk = SimDisk::new(0);
        let mut image = Image::begin(Arc::new(disk.clone()), 1, 9, 2).expect("room");
        image.write_all(&vec![5; 2 * CHUNK_BYTES_MAX + 100]).expect("room");
        image.complete().expect("it can be synced");
        image.install().expect("it can be renamed");
        disk
    }

    #[test]
    fn damage_to_any_chunk_and_to_the_trailer_is_noticed() {
        let disk = written();
        verify(&disk, 9, Some(1)).expect("intact");
        let bytes = disk.content(NAME).expect("it is there").len();
        let chunk = CHUNK_HEADER_BYTES + CHUNK_BYTES_MAX;
        let chunks = (0..3).map(|index| HEADER_BYTES + index * chunk);
        let places = chunks.flat_map(|at| [at, at + 4, at + 8, at + 50]);
        for at in places.chain(bytes - CHUNK_HEADER_BYTES - TRAILER_BYTES..bytes) {
            let copy = disk.fork();
            copy.flip_bit(NAME, at * 8 + at % 8);
            let found = verify(&copy, 9, Some(1));
            assert!(matches!(found, Err(JournalError::Corrupt { .. })), "byte {at}: {found:?}");
        }
    }

    #[test]
    fn a_chunk_that_is_missing_or_in_anothers_place_is_noticed() {
        let whole = written().content(NAME).expect("it is there");
        let chunk = CHUNK_HEADER_BYTES + CHUNK_BYTES_MAX;
        let (first, second) = (HEADER_BYTES, HEADER_BYTES + chunk);
        let last = second + chunk;
        let end = whole.len() - CHUNK_HEADER_BYTES - TRAILER_BYTES;
        let piece = |from: usize, to: usize| whole[from..to].to_vec();
        let head = piece(0, first);
        let swapped =
            [head.clone(), piece(second, last), piece(first, second), piece(last, whole.len())];
        let without_first = [head.clone(), piece(second, whole.len()), vec![], vec![]];
        let without_last = [piece(0, last), piece(end, whole.len()), vec![], vec![]];
        let cut = [piece(0, end), vec![], vec![], vec![]];
        let longer = [whole.clone(), vec![0], vec![], vec![]];
        for wrong in [swapped, without_first, without_last, cut, longer] {
            let disk = SimDisk::new(1);
            disk.create(NAME).and_then(|file| file.write_at(&wrong.concat(), 0)).expect("room");
            let found = verify(&disk, 9, Some(1));
            assert!(matches!(found, Err(JournalError::Corrupt { .. })), "{found:?}");
        }
    }
}
