//! Snapshots: pieces in a topic of their own, which count once the log says so.
//!
//! Anybody may leave pieces there. Those of an attempt have a number that was drawn for it, and the
//! log names the attempt that counts and where its pieces begin.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 8 | magic `ORRYKSNP` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | number of the piece |
//! | 16 | 8 | attempt |
//! | 24 | 4 | CRC32C of the bytes before and of the content |
//!
//! The content follows.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use orrery_journal::carrier::{Saved, in_pieces};
use orrery_journal::{CarrierError, Position};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::carrier::{Inner, persist};
use crate::failure::{Deadline, Failure};
use crate::session::PIECE_BYTES;
use crate::state::Kept;
use crate::topic::{Edge, FETCH_BYTES};

const MAGIC: [u8; 8] = *b"ORRYKSNP";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 28;
const CHECKED_BYTES: usize = 24;

fn head(attempt: u64, number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&attempt.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes), content);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// The content of a piece of an attempt, if it is one.
fn content_of(value: &[u8], attempt: u64, number: u32) -> Option<&[u8]> {
    let (found, content) = value.split_at_checked(HEAD_BYTES)?;
    (found == head(attempt, number, content)).then_some(content)
}

/// Whether a record claims to be a piece of this attempt, and which.
fn number_of(value: &[u8], attempt: u64) -> Option<u32> {
    let head = value.get(..CHECKED_BYTES)?;
    let is_ours = head[..8] == MAGIC && head[16..] == attempt.to_le_bytes();
    is_ours.then(|| u32::from_le_bytes([head[12], head[13], head[14], head[15]]))
}

/// Writes the pieces of a snapshot, which do not count yet.
pub(crate) fn write(
    inner: &Inner,
    saved: Saved,
    content: &mut dyn Read,
) -> Result<Kept, CarrierError> {
    let mut random = [0; 8];
    let drawn = SystemRandom::new().fill(&mut random);
    drawn.map_err(|_| CarrierError::Unavailable { reason: "there is no random number".into() })?;
    let attempt = u64::from_le_bytes(random);
    // One without content has a piece as well.
    let pieces = saved.bytes.div_ceil(PIECE_BYTES as u64).max(1);
    if u32::try_from(pieces).is_err() {
        return Err(CarrierError::Invalid("it is too long".to_owned()));
    }
    // Twice does no harm: a reader passes over what it has.
    let put = |number: u32, piece: &[u8]| {
        let head = head(attempt, number, piece);
        persist(&inner.cluster, Deadline::of(piece.len() as u64), |deadline| {
            inner.snapshots().produce(&[&head, piece], deadline)
        })
    };
    let mut begin = None;
    in_pieces(content, saved.bytes, PIECE_BYTES, |number, piece| {
        let offset = put(number, piece)?;
        begin.get_or_insert(offset);
        Ok(())
    })?;
    let begin = match begin {
        Some(begin) => begin,
        None => put(0, &[])?,
    };
    Ok(Kept { saved, attempt, begin, pieces })
}

/// Reads a snapshot piece by piece, and holds no connection in between.
#[derive(Debug)]
pub(crate) struct Content {
    inner: Arc<Inner>,
    kept: Kept,
    /// Where to read on, and where nothing can be any more.
    next: i64,
    end: i64,
    /// The next piece, and bytes of it and of those behind it.
    number: u32,
    left: u64,
    ready: VecDeque<Vec<u8>>,
    piece: Vec<u8>,
    used: usize,
}

impl Content {
    pub(crate) fn new(inner: Arc<Inner>, kept: Kept) -> Result<Self, CarrierError> {
        let end = persist(&inner.cluster, Deadline::of(0), |deadline| {
            inner.snapshots().edge(Edge::Latest, deadline)
        })?;
        let (next, left) = (kept.begin, kept.saved.bytes);
        let (ready, piece) = (VecDeque::new(), vec![]);
        Ok(Self { inner, kept, next, end, number: 0, left, ready, piece, used: 0 })
    }

    fn failed(at: Position, reason: &str) -> io::Error {
        io::Error::other(format!("the snapshot at {at} {reason}"))
    }

    /// Fetches what follows.
    fn fetch(&mut self) -> io::Result<()> {
        let at = self.kept.saved.at;
        if self.next >= self.end {
            return Err(Self::failed(at, "is damaged: a piece is missing"));
        }
        let (inner, next) = (&self.inner, self.next);
        let fetched = persist(&inner.cluster, Deadline::of(FETCH_BYTES as u64), |deadline| {
            let topic = inner.snapshots();
            // Removed by a newer one; asking again would not bring it back.
            if topic.edge(Edge::Earliest, deadline)? > next {
                return Ok(None);
            }
            topic.fetch(next, FETCH_BYTES, deadline).map(Some)
        });
        let fetched = fetched.map_err(|error| Self::failed(at, &error.to_string()))?;
        let Some(fetched) = fetched else {
            return Err(Self::failed(at, "was removed meanwhile"));
        };
        if fetched.next <= self.next {
            return Err(Self::failed(at, "is damaged: its topic ends before it"));
        }
        self.next = fetched.next;
        self.ready.extend(fetched.records.into_iter().map(|record| record.value));
        Ok(())
    }

    fn advance(&mut self) -> io::Result<()> {
        loop {
            let Some(value) = self.ready.pop_front() else {
                self.fetch()?;
                continue;
            };
            let attempt = self.kept.attempt;
            if number_of(&value, attempt).is_none_or(|number| number < self.number) {
                continue;
            }
            let wanted = self.left.min(PIECE_BYTES as u64);
            let content = content_of(&value, attempt, self.number);
            let content = content.filter(|content| content.len() as u64 == wanted);
            let content = content.ok_or_else(|| Self::failed(self.kept.saved.at, "is damaged"))?;
            (self.piece, self.used) = (content.to_vec(), 0);
            self.number += 1;
            self.left -= wanted;
            return Ok(());
        }
    }
}

impl Read for Content {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() && self.left > 0 {
            self.advance()?;
        }
        let read = (&self.piece[self.used..]).read(into)?;
        self.used += read;
        Ok(read)
    }
}

/// What the log says counts must not begin before what it says is not needed.
pub(crate) fn check_begin(kept: Kept, floor: i64) -> Result<(), Failure> {
    if kept.begin >= floor {
        return Ok(());
    }
    let reason = "another snapshot was saved meanwhile".to_owned();
    Err(CarrierError::Unavailable { reason }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_known_by_its_attempt_number_and_content() {
        let mut value = head(5, 2, b"content");
        value.extend_from_slice(b"content");
        assert_eq!(content_of(&value, 5, 2), Some(b"content".as_slice()));
        assert_eq!((number_of(&value, 5), number_of(&value, 6)), (Some(2), None));
        assert!(content_of(&value, 5, 1).is_none() && content_of(&value, 6, 2).is_none());
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(content_of(&damaged, 5, 2).is_none(), "bit {bit}");
        }
    }
}
