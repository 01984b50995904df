//! What an opened journal holds: a snapshot, then the records behind it, in order.
//!
//! Opening has verified all of it; replay verifies each record again as it reads it, so a disk that
//! changes its mind is still noticed.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::disk::read_all_into;
use crate::format::{SegmentHeader, segment_name};
use crate::snapshot::SnapshotReader;
use crate::walk::{Cursor, Step};
use crate::{Disk, Epoch, JournalError, Position};

/// A record read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its index in the journal.
    pub position: Position,
    /// The epoch it was appended in.
    pub epoch: Epoch,
    /// As appended.
    pub stream: u32,
    /// As appended.
    pub kind: u8,
    /// As appended, microseconds since the Unix epoch.
    pub time_us: i64,
    /// As appended.
    pub body: &'a [u8],
}

#[derive(Debug)]
struct Reading {
    name: String,
    bytes: Vec<u8>,
    cursor: Cursor,
    last: u64,
}

/// The state to start from. Read it to its end before the first snapshot is finished: that one may
/// remove the files this reads.
#[derive(Debug)]
pub struct Recovery {
    disk: Arc<dyn Disk>,
    shard: u32,
    snapshot: u64,
    last: u64,
    /// First and last positions of the segments still to read.
    segments: VecDeque<(u64, u64)>,
    reading: Option<Reading>,
}

impl Recovery {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        shard: u32,
        snapshot: u64,
        last: u64,
        firsts: &[u64],
    ) -> Self {
        let lasts = firsts.iter().skip(1).map(|next| next - 1).chain([last]);
        let tail = |(_, segment_last): &(u64, u64)| *segment_last > snapshot;
        let segments = firsts.iter().copied().zip(lasts).filter(tail).collect();
        Self { disk, shard, snapshot, last, segments, reading: None }
    }

    /// The newest intact snapshot; `None` if the journal has none. Can be asked for again.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, JournalError> {
        if self.snapshot == 0 {
            return Ok(None);
        }
        SnapshotReader::open(&*self.disk, self.snapshot, Some(self.shard)).map(Some)
    }

    /// Position of the snapshot, 0 if there is none. Records begin behind it.
    pub fn snapshot_position(&self) -> Position {
        Position(self.snapshot)
    }

    /// Position of the last record.
    pub fn last_position(&self) -> Position {
        Position(self.last)
    }

    /// The next record behind the snapshot, in order of position; `None` after the last.
    pub fn next_record(&mut self) -> Result<Option<Entry<'_>>, JournalError> {
        while self.reading.as_ref().is_none_or(|reading| reading.cursor.last >= reading.last) {
            let bytes = self.reading.take().map(|reading| reading.bytes).unwrap_or_default();
            let Some((first, last)) = self.segments.pop_front() else {
                return Ok(None);
            };
            self.reading = Some(self.load(first, last, bytes)?);
        }
        let Some(reading) = &mut self.reading else {
            return Ok(None);
        };
        let bad = reading.cursor.last + 1;
        match reading.cursor.step(&reading.bytes) {
            Step::Record(header, body) => Ok(Some(header.entry(body))),
            Step::End(reason) => Err(JournalError::corrupt(bad, &reading.name, reason)),
            Step::Disorder(reason) => Err(JournalError::corrupt(bad, &reading.name, reason)),
        }
    }

    /// Reads a segment, into the memory of another one, and passes the records the snapshot covers.
    fn load(&self, first: u64, last: u64, mut bytes: Vec<u8>) -> Result<Reading, JournalError> {
        let name = segment_name(first);
        let read = read_all_into(&*self.disk, &name, &mut bytes);
        read.map_err(|e| JournalError::io("read", &name, e))?;
        let header = SegmentHeader::decode(&bytes, &name, first, Some(self.shard))?;
        let mut cursor = Cursor::new(&header);
        while cursor.last < self.snapshot {
            let bad = cursor.last + 1;
            if !matches!(cursor.step(&bytes), Step::Record(..)) {
                return Err(JournalError::corrupt(bad, &name, "the record is damaged"));
            }
        }
        Ok(Reading { name, bytes, cursor, last })
    }
}
