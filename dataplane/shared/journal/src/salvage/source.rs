//! The damaged folder: what is there, what of it is intact, and what it proves. Only read.

use std::io;

use super::SalvageError;
use crate::disk::{read_all, read_full};
use crate::format::{
    EPOCH_FILE, FRAME_ALIGN, Name, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name, snapshot_name,
};
use crate::frame::{self, FRAME_HEADER_BYTES};
use crate::snapshot::{self, SnapshotReader};
use crate::walk::Cursor;
use crate::{Damage, Disk, JournalError, epoch, version};

/// What cannot be read is skipped in pieces of this size: a bad sector costs one of them.
const PIECE_BYTES: usize = 4096;

/// A damaged journal.
pub(super) struct Source<'a> {
    pub(super) disk: &'a dyn Disk,
    progress: &'a mut dyn FnMut(u64, u64),
    done_bytes: u64,
    all_bytes: u64,
    segments: Vec<u64>,
    snapshots: Vec<u64>,
    shard: Option<u32>,
    epoch: u64,
    proven: u64,
    passed_over: Vec<Damage>,
}

impl<'a> Source<'a> {
    pub(super) fn look(
        disk: &'a dyn Disk,
        progress: &'a mut dyn FnMut(u64, u64),
    ) -> Result<Self, SalvageError> {
        let names = disk
            .list()
            .map_err(|error| SalvageError::Source(JournalError::io("list", "the folder", error)))?;
        version::check(disk, &names).map_err(SalvageError::Source)?;
        let mut source = Self {
            disk,
            progress,
            done_bytes: 0,
            all_bytes: 0,
            segments: Vec::new(),
            snapshots: Vec::new(),
            shard: None,
            epoch: 0,
            proven: 0,
            passed_over: Vec::new(),
        };
        for name in &names {
            match Name::parse(name) {
                Name::Segment(first) => source.segments.push(first),
                Name::Snapshot(at) => source.snapshots.push(at),
                _ => continue,
            }
            source.all_bytes += source.length(name);
        }
        source.segments.sort_unstable();
        source.snapshots.sort_unstable();
        // A name is given only when everything before it is durable.
        source.prove(source.snapshots.last().copied().unwrap_or(0));
        source.prove(source.segments.last().map_or(0, |first| first.saturating_sub(1)));
        source.look_at_headers();
        Ok(source)
    }

    /// Shard and epoch, from the epoch file and from every segment whose header is intact.
    fn look_at_headers(&mut self) {
        match epoch::load_with_shard(self.disk, None) {
            Ok((shard, epoch)) => {
                self.shard = Some(shard);
                self.epoch = epoch;
            }
            Err(error) => self.passed_over.push(Damage::new(EPOCH_FILE, &error)),
        }
        for first in self.segments.clone() {
            let name = segment_name(first);
            let mut head = vec![0; SEGMENT_HEADER_BYTES];
            let read = self.disk.open(&name).and_then(|file| read_full(&*file, &mut head, 0));
            let count = read.unwrap_or(0);
            if let Ok(header) = SegmentHeader::decode(&head[..count], &name, first, self.shard) {
                self.shard.get_or_insert(header.shard);
                self.epoch = self.epoch.max(header.epoch);
            }
        }
    }

    fn length(&self, name: &str) -> u64 {
        self.disk.open(name).and_then(|file| file.len()).unwrap_or(0)
    }

    fn prove(&mut self, position: u64) {
        self.proven = self.proven.max(position);
    }

    /// The highest position that is known to have been acknowledged.
    pub(super) fn proven(&self) -> u64 {
        self.proven
    }

    pub(super) fn has_segments(&self) -> bool {
        !self.segments.is_empty()
    }

    /// The highest epoch known.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(super) fn shard(&self) -> Result<u32, SalvageError> {
        let nothing = || "neither the epoch nor the header of any segment is intact".to_owned();
        self.shard.ok_or_else(|| SalvageError::NothingLeft { reason: nothing() })
    }

    pub(super) fn take_passed_over(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.passed_over)
    }

    fn advance(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        (self.progress)(self.done_bytes.min(self.all_bytes), self.all_bytes);
    }

    /// Position of the newest intact snapshot, 0 for none.
    pub(super) fn newest_snapshot(&mut self) -> u64 {
        let mut newest = 0;
        for at in self.snapshots.clone().into_iter().rev() {
            let name = snapshot_name(at);
            let bytes = self.length(&name);
            if newest == 0 {
                match snapshot::verify(self.disk, at, self.shard) {
                    Ok(()) => newest = at,
                    Err(error) => self.passed_over.push(Damage::new(&name, &error)),
                }
            }
            self.advance(bytes);
        }
        newest
    }

    /// The content of an intact snapshot.
    pub(super) fn reader(&self, at: u64) -> Result<SnapshotReader, JournalError> {
        SnapshotReader::open(self.disk, at, self.shard)
    }

    /// First positions of the segments that may hold records behind `snapshot`, each with that of the
    /// one behind it.
    pub(super) fn segments_behind(&self, snapshot: u64) -> Vec<(u64, Option<u64>)> {
        let below = self.segments.partition_point(|first| *first <= snapshot + 1);
        let tail = &self.segments[below.saturating_sub(1)..];
        let nexts = tail.iter().skip(1).copied().map(Some).chain([None]);
        tail.iter().copied().zip(nexts).collect()
    }

    /// A segment in memory, or why it holds nothing that can be trusted.
    pub(super) fn segment(&mut self, first: u64) -> Result<Segment, Damage> {
        let name = segment_name(first);
        let read = read_all(self.disk, &name).or_else(|_| read_what_can_be(self.disk, &name));
        let bytes =
            read.map_err(|error| Damage::new(&name, &JournalError::io("read", &name, error)))?;
        self.advance(bytes.len() as u64);
        let header = SegmentHeader::decode(&bytes, &name, first, self.shard)
            .map_err(|error| Damage::new(&name, &error))?;
        Ok(Segment { name, bytes, header })
    }
}

/// A file piece by piece, with zeros for what cannot be read: no frame is made of them.
fn read_what_can_be(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    for (index, piece) in bytes.chunks_mut(PIECE_BYTES).enumerate() {
        if let Err(error) = read_full(&*file, piece, (index * PIECE_BYTES) as u64) {
            tracing::warn!(file = name, %error, offset = index * PIECE_BYTES, "skipped");
            piece.fill(0);
        }
    }
    Ok(bytes)
}

/// A segment in memory, with an intact header.
pub(super) struct Segment {
    name: String,
    bytes: Vec<u8>,
    header: SegmentHeader,
}

impl Segment {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The epoch below which none of its records is.
    pub(super) fn epoch(&self) -> u64 {
        self.header.epoch
    }

    pub(super) fn damage(&self, position: u64, reason: &str) -> Damage {
        Damage::new(&self.name, &JournalError::corrupt(position, &self.name, reason))
    }

    /// A cursor in front of the record behind `last`. Damage before that one is stepped over: what it
    /// hit is in the snapshot, or written already.
    pub(super) fn cursor_behind(&self, last: u64) -> Option<Cursor> {
        let start = Cursor::new(&self.header);
        if start.last == last {
            return Some(start);
        }
        let mut at = SEGMENT_HEADER_BYTES;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| rest.len() >= FRAME_HEADER_BYTES)
        {
            let header = frame::decode(rest, self.header.seed());
            let found = header.filter(|header| header.body(rest).is_some());
            if found.is_some_and(|header| !header.mark && header.position == last + 1) {
                return Some(start.jump(at, last));
            }
            at += found.map_or(FRAME_ALIGN, |header| header.frame_bytes());
        }
        None
    }

    /// Whether a frame header from `offset` on says that the record at `position` was acknowledged.
    pub(super) fn proves(&self, position: u64, offset: usize) -> bool {
        crate::walk::search(&self.bytes, &self.header, offset).watermark >= position
    }

    /// Intact records behind `last`; `source` hears what all frames here prove.
    pub(super) fn count_behind(&self, last: u64, source: &mut Source<'_>) -> u64 {
        let (mut highest, mut count) = (last, 0);
        let mut at = SEGMENT_HEADER_BYTES;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| rest.len() >= FRAME_HEADER_BYTES)
        {
            let Some(header) = frame::decode(rest, self.header.seed()) else {
                at += FRAME_ALIGN;
                continue;
            };
            source.prove(header.watermark);
            source.epoch = source.epoch.max(header.epoch);
            let is_whole = header.body(rest).is_some();
            if is_whole && !header.mark && header.position > highest {
                highest = header.position;
                count += 1;
            }
            at += if is_whole { header.frame_bytes() } else { FRAME_ALIGN };
        }
        count
    }
}
