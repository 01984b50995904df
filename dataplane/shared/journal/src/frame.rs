//! One record in a segment: a header of 56 bytes, the body, zeros up to a multiple of 8.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | CRC32C of bytes 4 to 56, starting from the segment's seed |
//! | 4 | 4 | CRC32C of the body and its padding |
//! | 8 | 4 | length of the body, without padding |
//! | 12 | 4 | stream |
//! | 16 | 8 | position |
//! | 24 | 8 | watermark: every record up to here was durable before this frame was written |
//! | 32 | 8 | time, microseconds since the Unix epoch, signed |
//! | 40 | 8 | epoch |
//! | 48 | 1 | kind |
//! | 49 | 1 | flags: bit 0 = mark |
//! | 50 | 6 | zeros |
//!
//! A *mark* has no body and repeats the position of the record before it; it is written when the
//! journal is closed, so that its watermark vouches for the last group.
//!
//! The header has a CRC of its own so that a search for frames in damaged bytes reads every byte
//! once, whatever lengths those bytes claim. The seed comes from the segment's salt, which no
//! client knows, so that no body can contain what looks like a frame of the segment it is in.

use crate::format::{FRAME_ALIGN, u32_at, u64_at};
use crate::{Entry, Epoch, Position, RECORD_BYTES_MAX, Record};

/// Bytes before the body.
pub(crate) const FRAME_HEADER_BYTES: usize = 56;

const FLAG_MARK: u8 = 1;

/// A frame's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) body_crc: u32,
    pub(crate) body_len: u32,
    pub(crate) stream: u32,
    pub(crate) position: u64,
    pub(crate) watermark: u64,
    pub(crate) time_us: i64,
    pub(crate) epoch: u64,
    pub(crate) kind: u8,
    pub(crate) mark: bool,
}

/// Bytes of the body with its padding.
fn padded(body_len: usize) -> usize {
    body_len.next_multiple_of(FRAME_ALIGN)
}

/// Bytes a record takes in a segment.
pub(crate) fn frame_bytes(body_len: usize) -> usize {
    FRAME_HEADER_BYTES + padded(body_len)
}

/// Appends a frame whose watermark and header CRC are still missing: see [`stamp`].
pub(crate) fn encode(into: &mut Vec<u8>, position: u64, epoch: u64, record: &Record<'_>) {
    debug_assert!(record.body.len() <= RECORD_BYTES_MAX);
    let start = into.len();
    into.reserve(frame_bytes(record.body.len()));
    into.resize(start + FRAME_HEADER_BYTES, 0);
    into.extend_from_slice(record.body);
    into.resize(start + frame_bytes(record.body.len()), 0);
    let (header, body) = into[start..].split_at_mut(FRAME_HEADER_BYTES);
    header[4..8].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    header[8..12].copy_from_slice(&(record.body.len() as u32).to_le_bytes());
    header[12..16].copy_from_slice(&record.stream.to_le_bytes());
    header[16..24].copy_from_slice(&position.to_le_bytes());
    header[32..40].copy_from_slice(&record.time_us.to_le_bytes());
    header[40..48].copy_from_slice(&epoch.to_le_bytes());
    header[48] = record.kind;
}

/// Appends an unstamped mark after the record at `position`.
pub(crate) fn encode_mark(into: &mut Vec<u8>, position: u64, epoch: u64) {
    let start = into.len();
    encode(into, position, epoch, &Record { stream: 0, kind: 0, time_us: 0, body: &[] });
    into[start + 49] = FLAG_MARK;
}

/// Completes every frame of a group with its watermark and header CRC. Done when the group is
/// formed, because only then is it known where it goes and what is durable. Gives the epoch of the
/// last one.
pub(crate) fn stamp(group: &mut [u8], seed: u32, watermark: u64) -> u64 {
    let (mut rest, mut epoch) = (group, 0);
    while rest.len() >= FRAME_HEADER_BYTES {
        let bytes = frame_bytes(u32_at(rest, 8) as usize);
        rest[24..32].copy_from_slice(&watermark.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &rest[4..FRAME_HEADER_BYTES]);
        rest[..4].copy_from_slice(&crc.to_le_bytes());
        epoch = u64_at(rest, 40);
        rest = &mut rest[bytes..];
    }
    debug_assert!(rest.is_empty(), "a group is a sequence of whole frames");
    epoch
}

/// The epoch of the first frame of a group.
pub(crate) fn first_epoch(group: &[u8]) -> u64 {
    u64_at(group, 40)
}

/// Decodes the header at the start of `bytes`, or `None` if there is no intact one.
pub(crate) fn decode(bytes: &[u8], seed: u32) -> Option<FrameHeader> {
    let bytes = bytes.get(..FRAME_HEADER_BYTES)?;
    // No frame has position 0, and blank space is the commonest thing by far in a search.
    let position = Some(u64_at(bytes, 16)).filter(|position| *position > 0)?;
    let header = FrameHeader {
        body_crc: u32_at(bytes, 4),
        body_len: u32_at(bytes, 8),
        stream: u32_at(bytes, 12),
        position,
        watermark: u64_at(bytes, 24),
        time_us: u64_at(bytes, 32) as i64,
        epoch: u64_at(bytes, 40),
        kind: bytes[48],
        mark: bytes[49] == FLAG_MARK,
    };
    // Bytes that are no header mostly fail here; only the rest costs a CRC.
    let sane = header.watermark <= header.position
        && header.body_len as usize <= RECORD_BYTES_MAX
        && bytes[49] & !FLAG_MARK == 0
        && bytes[50..] == [0; 6];
    let intact = sane && u32_at(bytes, 0) == crc32c::crc32c_append(seed, &bytes[4..]);
    intact.then_some(header)
}

impl FrameHeader {
    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> usize {
        frame_bytes(self.body_len as usize)
    }

    /// The record, once its body is known to be intact.
    pub(crate) fn entry<'a>(&self, body: &'a [u8]) -> Entry<'a> {
        Entry {
            position: Position(self.position),
            epoch: Epoch(self.epoch),
            stream: self.stream,
            kind: self.kind,
            time_us: self.time_us,
            body,
        }
    }

    /// The body of the frame that starts at the beginning of `bytes`, if it is intact.
    pub(crate) fn body<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let body = bytes.get(FRAME_HEADER_BYTES..self.frame_bytes())?;
        (crc32c::crc32c(body) == self.body_crc).then(|| &body[..self.body_len as usize])
    }
}

#[cfg(test)]
mod tests;
