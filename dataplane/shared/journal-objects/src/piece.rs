//! A piece of a snapshot.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYPIEC` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | shard |
//! | 16 | 32 | position, epoch and bytes of the snapshot; attempt |
//! | 48 | 4 | index |
//! | 52 | 4 | number of bytes that follow the header, 8 MiB but in the last piece |
//! | 56 | 4 | CRC32C of these |
//! | 60 | 4 | CRC32C of the bytes before |

use bytes::Bytes;

use crate::bytes::{Builder, open, u32_at, u64_at};
use crate::control::Image;

const MAGIC: [u8; 8] = *b"ORRYPIEC";
pub(crate) const HEADER_BYTES: usize = 64;
/// Content of each piece but the last one.
pub(crate) const PIECE_BYTES: u64 = 8 << 20;

/// How many pieces a snapshot of so many bytes has. An empty one has none.
pub(crate) fn count(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX)
}

/// Bytes of content that a piece has.
pub(crate) fn content_bytes(image: &Image, index: u32) -> u64 {
    (image.bytes - u64::from(index) * PIECE_BYTES).min(PIECE_BYTES)
}

pub(crate) fn encode(shard: u32, image: &Image, index: u32, content: &[u8]) -> Bytes {
    let Image { at, epoch, bytes, attempt } = *image;
    let builder = Builder::new(MAGIC, shard).u64s(&[at, epoch, bytes, attempt]);
    let length = content.len() as u32;
    builder.u32s(&[index, length, crc32c::crc32c(content)]).seal(content)
}

/// The content of the piece that belongs here, checked.
pub(crate) fn decode(
    piece: &Bytes,
    shard: u32,
    image: &Image,
    index: u32,
) -> Result<Bytes, &'static str> {
    let head = open(piece, HEADER_BYTES, MAGIC, shard)?;
    let numbers = [16, 24, 32, 40].map(|at| u64_at(head, at));
    if numbers != [image.at, image.epoch, image.bytes, image.attempt] || u32_at(head, 48) != index {
        return Err("it is not the piece that belongs here");
    }
    let content = piece.slice(HEADER_BYTES..);
    let length = content.len() as u64;
    if length != u64::from(u32_at(head, 52)) || length != content_bytes(image, index) {
        return Err("it has another length than it should have");
    }
    if crc32c::crc32c(&content) != u32_at(head, 56) {
        return Err("its content does not match its checksum");
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_read_back_and_every_damage_is_noticed() {
        let image = Image { at: 9, epoch: 2, bytes: 5, attempt: 3 };
        let piece = encode(7, &image, 0, b"state");
        assert_eq!(decode(&piece, 7, &image, 0).as_deref(), Ok(b"state".as_slice()));
        let other = Image { attempt: 4, ..image };
        assert!(decode(&piece, 7, &other, 0).is_err(), "of another attempt");
        for end in 0..piece.len() {
            assert!(decode(&piece.slice(..end), 7, &image, 0).is_err(), "cut at {end}");
        }
        for bit in 0..piece.len() * 8 {
            let mut damaged = piece.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged.into(), 7, &image, 0).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn content_is_cut_into_pieces() {
        for (bytes, pieces) in [(0, 0), (1, 1), (PIECE_BYTES, 1), (PIECE_BYTES + 1, 2)] {
            assert_eq!(count(bytes), pieces);
        }
        let image = Image { at: 9, epoch: 2, bytes: PIECE_BYTES + 1, attempt: 3 };
        assert_eq!([0, 1].map(|index| content_bytes(&image, index)), [PIECE_BYTES, 1]);
    }
}
