//! Reading along while records are appended: how followers are fed.
//!
//! Gives durable records only, so what was given is never taken back, whatever happens to this
//! process. Reads the files, of which the newest part is in the page cache; holds nothing up, keeps
//! nothing in memory but one piece of a segment, and has the segments it still needs kept.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::disk::read_full;
use crate::format::{SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use crate::frame::{self, FRAME_HEADER_BYTES, FrameHeader};
use crate::shared::Shared;
use crate::{DiskFile, Entry, JournalError, Position, SnapshotReader};

/// Read from a segment at once.
const READ_BYTES: usize = 256 << 10;

/// Access to a journal for readers. Keeps its folder locked, like the journal itself.
#[derive(Clone, Debug)]
pub struct Feed {
    pub(crate) shared: Arc<Shared>,
}

impl Feed {
    /// Everything up to here is on disk.
    pub fn durable(&self) -> Position {
        Position(self.shared.durable())
    }

    /// Wakes every [`Tail::next_unless`], to look again whether it is over.
    pub fn wake(&self) {
        self.shared.waiters.nudge();
    }

    /// The newest snapshot; `None` if there is none. Stays readable when a newer one replaces it.
    pub fn snapshot(&self) -> Result<Option<SnapshotReader>, JournalError> {
        // Under the lock, so that it is not removed between the look and the opening.
        self.shared.with_files(|files| {
            let newest = files.snapshots.last().copied();
            newest.map(|at| SnapshotReader::open(&*self.shared.disk, at, None)).transpose()
        })
    }

    /// Has what is there of the records behind `after` kept.
    pub fn hold(&self, after: Position) -> Hold {
        let number = self.shared.with_files(|files| {
            files.next_tail += 1;
            files.tails.insert(files.next_tail, after.0);
            files.next_tail
        });
        Hold { shared: Arc::clone(&self.shared), number }
    }

    /// The records behind `after`, as they become durable. `Trimmed` when some were removed.
    pub fn tail(&self, after: Position) -> Result<Tail, JournalError> {
        let number = self.shared.with_files(|files| {
            let oldest = files.segments.first().copied().unwrap_or(u64::MAX);
            if oldest > after.0 + 1 {
                return Err(JournalError::Trimmed { after, oldest: Position(oldest) });
            }
            files.next_tail += 1;
            files.tails.insert(files.next_tail, after.0);
            Ok(files.next_tail)
        })?;
        Ok(Tail {
            shared: Arc::clone(&self.shared),
            number,
            last: after.0,
            proven: 0,
            reading: None,
        })
    }
}

/// Has the records behind a position kept, like a [`Tail`] and within the same bound, without
/// reading them.
pub struct Hold {
    shared: Arc<Shared>,
    number: u64,
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Hold {
    /// Needs what is behind `after` from now on.
    pub fn move_to(&self, after: Position) {
        self.shared.with_files(|files| files.tails.insert(self.number, after.0));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.with_files(|files| files.tails.remove(&self.number));
    }
}

struct Reading {
    name: String,
    first: u64,
    file: Box<dyn DiskFile>,
    seed: u32,
    /// Where `bytes` begins in the file.
    offset: u64,
    bytes: Vec<u8>,
    /// How much of `bytes` is done with.
    at: usize,
}

impl Reading {
    /// Has at least `count` bytes behind `at`, if the file has them.
    fn fill(&mut self, count: usize) -> Result<(), JournalError> {
        let have = self.bytes.len() - self.at;
        if have >= count {
            return Ok(());
        }
        self.bytes.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let wanted = count.next_multiple_of(READ_BYTES);
        self.bytes.resize(wanted, 0);
        let read = read_full(&*self.file, &mut self.bytes[have..], self.offset + have as u64);
        let read = read.map_err(|e| JournalError::io("read", &self.name, e))?;
        self.bytes.truncate(have + read);
        Ok(())
    }

    /// Forgets what was read ahead: it may have been written over since.
    fn forget(&mut self) {
        self.offset += self.at as u64;
        self.bytes.clear();
        self.at = 0;
    }
}

/// The durable records of a running journal, one after the other.
pub struct Tail {
    shared: Arc<Shared>,
    number: u64,
    /// Position of the last record given.
    last: u64,
    /// What has been read ahead is whole up to here.
    proven: u64,
    reading: Option<Reading>,
}

impl fmt::Debug for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tail").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Tail {
    /// The position of the record given last.
    pub fn last(&self) -> Position {
        Position(self.last)
    }

    /// The next record. Waits for it until the deadline, then gives `None`. Fails with `Unknown`
    /// when the journal failed or was closed, and with `Trimmed` when it fell too far behind.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<Entry<'_>>, JournalError> {
        self.next_unless(deadline, || false)
    }

    /// The same, and gives `None` as well when there is no record and `is_over` is true. Whoever makes
    /// it true has to call [`Feed::wake`] afterwards.
    pub fn next_unless(
        &mut self,
        deadline: Instant,
        is_over: impl Fn() -> bool,
    ) -> Result<Option<Entry<'_>>, JournalError> {
        match self.shared.wait_unless(self.last + 1, deadline, is_over) {
            Ok(_) => {}
            Err(JournalError::Deadline { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
        let expected = self.last + 1;
        self.enter_segment(expected)?;
        loop {
            let header = self.frame(expected)?;
            if !header.mark && header.position == expected {
                self.last = expected;
                return self.entry(&header).map(Some);
            }
            if header.position >= expected {
                return Err(self.damaged(expected, "another record stands in its place"));
            }
            self.skip(&header);
        }
    }

    /// Opens the segment that holds `position`, unless it is the one being read.
    fn enter_segment(&mut self, position: u64) -> Result<(), JournalError> {
        let (number, last) = (self.number, self.last);
        let (first, oldest) = self.shared.with_files(|files| {
            let behind = files.segments.partition_point(|first| *first <= position);
            let first = behind.checked_sub(1).map(|at| files.segments[at]);
            let is_next = self.reading.as_ref().is_none_or(|reading| Some(reading.first) != first);
            if is_next {
                files.tails.insert(number, last);
            }
            (first, files.segments.first().copied().unwrap_or(0))
        });
        let Some(first) = first else {
            let after = Position(position - 1);
            return Err(JournalError::Trimmed { after, oldest: Position(oldest) });
        };
        if self.reading.as_ref().is_some_and(|reading| reading.first == first) {
            return Ok(());
        }
        let name = segment_name(first);
        let io = |e| JournalError::io("read", &name, e);
        let file = self.shared.disk.open(&name).map_err(io)?;
        let mut head = vec![0; SEGMENT_HEADER_BYTES];
        let count = read_full(&*file, &mut head, 0).map_err(io)?;
        let header = SegmentHeader::decode(&head[..count], &name, first, None)
            .map_err(|error| judged(&self.shared, first, position, error))?;
        self.reading = Some(Reading {
            seed: header.seed(),
            name,
            first,
            file,
            offset: SEGMENT_HEADER_BYTES as u64,
            bytes: Vec::new(),
            at: 0,
        });
        Ok(())
    }

    fn damaged(&self, position: u64, reason: &str) -> JournalError {
        let Some(reading) = &self.reading else {
            return JournalError::corrupt(position, "the segment", reason);
        };
        let error = JournalError::corrupt(position, &reading.name, reason);
        judged(&self.shared, reading.first, position, error)
    }

    /// The frame at hand, whole in memory.
    fn frame(&mut self, expected: u64) -> Result<FrameHeader, JournalError> {
        if expected > self.proven {
            // In this order: what is durable before the read is whole in what was read.
            self.proven = self.shared.durable();
            if let Some(reading) = &mut self.reading {
                reading.forget();
            }
        }
        let header = match &mut self.reading {
            Some(reading) => {
                reading.fill(FRAME_HEADER_BYTES)?;
                let header = frame::decode(&reading.bytes[reading.at..], reading.seed);
                if let Some(header) = &header {
                    reading.fill(header.frame_bytes())?;
                }
                header
            }
            None => None,
        };
        header.ok_or_else(|| self.damaged(expected, "no intact frame header"))
    }

    fn skip(&mut self, header: &FrameHeader) {
        if let Some(reading) = &mut self.reading {
            reading.at = (reading.at + header.frame_bytes()).min(reading.bytes.len());
        }
    }

    fn entry(&mut self, header: &FrameHeader) -> Result<Entry<'_>, JournalError> {
        let position = header.position;
        let Some(reading) = &mut self.reading else {
            return Err(JournalError::corrupt(position, "the segment", "it is not open"));
        };
        let start = reading.at;
        reading.at = (start + header.frame_bytes()).min(reading.bytes.len());
        let Some(body) = header.body(&reading.bytes[start..]) else {
            let reason = "the record does not match its checksum";
            let error = JournalError::corrupt(position, &reading.name, reason);
            return Err(judged(&self.shared, reading.first, position, error));
        };
        Ok(header.entry(body))
    }
}

/// What looks damaged while `position` was read in the segment that begins at `first` is none if that
/// was trimmed meanwhile, and perhaps written over: then the reader has fallen too far behind.
fn judged(shared: &Shared, first: u64, position: u64, error: JournalError) -> JournalError {
    shared.with_files(|files| {
        if files.segments.contains(&first) {
            return error;
        }
        let oldest = Position(files.segments.first().copied().unwrap_or(0));
        JournalError::Trimmed { after: Position(position - 1), oldest }
    })
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.shared.with_files(|files| files.tails.remove(&self.number));
    }
}
