//! Walking the frames of one segment in memory, and searching damaged bytes for frames.
//!
//! Says what it found and judges nothing: whether an end is clean, torn or corrupt is decided in
//! `recovery.rs` and `scrub.rs`.

use crate::format::{FRAME_ALIGN, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::frame::{self, FRAME_HEADER_BYTES, FrameHeader};

/// One step along a segment.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// The next record, intact and in order.
    Record(FrameHeader, &'a [u8]),
    /// No intact frame here: the end, a tear, or damage.
    End(&'static str),
    /// An intact frame that cannot stand here. No crash explains it.
    Disorder(String),
}

/// A place between two frames of a segment.
#[derive(Debug)]
pub(crate) struct Cursor {
    seed: u32,
    /// Offset of the next frame.
    pub(crate) offset: usize,
    /// Position of the last record passed.
    pub(crate) last: u64,
    /// Epoch of the last record passed.
    pub(crate) epoch: u64,
    /// Watermark of the last frame passed.
    pub(crate) watermark: u64,
    /// Where the frames begin that the last watermark does not cover.
    pub(crate) unproven: usize,
}

impl Cursor {
    /// At the first frame of a segment.
    pub(crate) fn new(header: &SegmentHeader) -> Self {
        let before = header.first.saturating_sub(1);
        Self {
            seed: header.seed(),
            offset: SEGMENT_HEADER_BYTES,
            last: before,
            epoch: header.epoch,
            watermark: before,
            unproven: SEGMENT_HEADER_BYTES,
        }
    }

    /// In front of the record behind `last`, which the caller has found at `offset`.
    pub(crate) fn jump(self, offset: usize, last: u64) -> Self {
        Self { offset, last, unproven: offset, ..self }
    }

    /// Passes the next record and any marks before it.
    pub(crate) fn step<'a>(&mut self, bytes: &'a [u8]) -> Step<'a> {
        loop {
            let rest = bytes.get(self.offset..).unwrap_or_default();
            let Some(header) = frame::decode(rest, self.seed) else {
                return Step::End("no intact frame header");
            };
            if let Err(reason) = self.check_order(&header) {
                return Step::Disorder(reason);
            }
            let Some(body) = header.body(rest) else {
                return Step::End("the record does not match its checksum");
            };
            if header.watermark > self.watermark {
                self.watermark = header.watermark;
                self.unproven = self.offset;
            }
            self.offset += header.frame_bytes();
            self.epoch = header.epoch;
            if !header.mark {
                self.last = header.position;
                return Step::Record(header, body);
            }
        }
    }

    fn check_order(&self, header: &FrameHeader) -> Result<(), String> {
        let expected = self.last + u64::from(!header.mark);
        if header.position != expected {
            return Err(format!("position {} where {expected} belongs", header.position));
        }
        if header.epoch < self.epoch {
            return Err(format!("epoch fell from {} to {}", self.epoch, header.epoch));
        }
        if header.watermark < self.watermark {
            return Err(format!(
                "the watermark fell from {} to {}",
                self.watermark, header.watermark
            ));
        }
        Ok(())
    }
}

/// What a search found behind the end of a walk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftover {
    /// Whether there is any frame of this segment.
    pub(crate) any: bool,
    /// The highest watermark of those frames: records up to here were once durable.
    pub(crate) watermark: u64,
}

/// Searches `bytes` from `offset` for intact frame headers of this segment. Frames left in a reused
/// file do not count: their seed differs and their positions lie before the segment's first.
pub(crate) fn search(bytes: &[u8], header: &SegmentHeader, offset: usize) -> Leftover {
    let seed = header.seed();
    let mut found = Leftover::default();
    let mut at = offset.next_multiple_of(FRAME_ALIGN);
    while at + FRAME_HEADER_BYTES <= bytes.len() {
        if let Some(frame) = frame::decode(&bytes[at..], seed)
            && frame.position >= header.first.saturating_sub(1)
        {
            found.any = true;
            found.watermark = found.watermark.max(frame.watermark);
        }
        at += FRAME_ALIGN;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    const HEADER: SegmentHeader = SegmentHeader { shard: 0, epoch: 2, first: 5, salt: 77 };

    /// A segment with one group for each of these positions and epochs, with these watermarks.
    fn segment(groups: &[(u64, u64, u64)]) -> Vec<u8> {
        let mut bytes = HEADER.encode();
        for (position, epoch, watermark) in groups {
            let mut group = Vec::new();
            let record = Record { stream: 0, kind: 0, time_us: 0, body: b"body" };
            frame::encode(&mut group, *position, *epoch, &record);
            frame::stamp(&mut group, HEADER.seed(), *watermark);
            bytes.extend(group);
        }
        bytes
    }

    /// Position of the last record that a walk passes, and whether disorder ended it.
    fn walk(groups: &[(u64, u64, u64)]) -> (u64, bool) {
        let (bytes, mut cursor) = (segment(groups), Cursor::new(&HEADER));
        loop {
            match cursor.step(&bytes) {
                Step::Record(..) => {}
                Step::End(_) => return (cursor.last, false),
                Step::Disorder(_) => return (cursor.last, true),
            }
        }
    }

    #[test]
    fn records_follow_each_other_without_a_gap_or_a_repetition() {
        assert_eq!(walk(&[(5, 2, 4), (6, 2, 5)]), (6, false));
        assert_eq!(walk(&[(5, 2, 4), (7, 2, 5)]), (5, true));
        assert_eq!(walk(&[(5, 2, 4), (5, 2, 5)]), (5, true));
        assert_eq!(walk(&[(6, 2, 4)]), (4, true));
    }

    #[test]
    fn epochs_and_watermarks_never_fall() {
        assert_eq!(walk(&[(5, 3, 4), (6, 3, 5), (7, 4, 5)]), (7, false));
        assert_eq!(walk(&[(5, 3, 4), (6, 2, 5)]), (5, true));
        assert_eq!(walk(&[(5, 1, 4)]), (4, true), "below that of the segment");
        assert_eq!(walk(&[(5, 2, 4), (6, 2, 5), (7, 2, 4)]), (6, true));
    }
}
