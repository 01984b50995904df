//! The files of a ledger. An entry is found by its offset, which counts through all files.
//!
//! The ledger is made from the journal: what a file lacks after a crash, or has too much, is made again
//! by the replay behind the last snapshot. So appending needs no sync; a snapshot of the machine does,
//! because the journal behind it goes. Files are named by the offset they begin with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::entry::{BODY_BYTES_MAX, Entry, HEADER_BYTES};

/// Offset of the first entry: 0 stands for "none" in chains.
pub const FIRST: u64 = 1;
/// A file is followed by another one behind this size.
const FILE_BYTES: u64 = 32 << 20;

/// Failed to keep or to read the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("failed to {action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the ledger is damaged at {offset}: {what}")]
    Damaged { offset: u64, what: &'static str },
    #[error("what was before {oldest} is no longer kept")]
    Gone { oldest: u64 },
}

impl LedgerError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// One file, and when its first entry was made.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) file: Arc<File>,
}

/// The ledger of one partition, open for appending.
#[derive(Debug)]
pub struct Ledger {
    folder: PathBuf,
    pieces: Vec<Piece>,
    end: u64,
    /// Everything before is on disk.
    synced: u64,
}

/// What may be read of a ledger: everything up to the moment it was taken.
#[derive(Debug, Clone)]
pub struct LedgerView {
    pub(super) pieces: Vec<Piece>,
    pub(super) end: u64,
}

pub(super) fn path_of(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{start:020}.ledger"))
}

/// What the files of a folder begin with, in order.
pub(super) fn starts(folder: &Path) -> Result<Vec<u64>, LedgerError> {
    let mut starts = vec![];
    for found in fs::read_dir(folder).map_err(LedgerError::io("read", folder))? {
        let found = found.map_err(LedgerError::io("read", folder))?;
        let name = found.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".ledger"));
        starts.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    starts.sort_unstable();
    Ok(starts)
}

impl Ledger {
    /// Opens the ledger as it was when it ended at `end`: what is behind goes. What should be before
    /// and is not, leaves a hole that readers are told of.
    pub fn open(folder: &Path, end: u64) -> Result<Self, LedgerError> {
        fs::create_dir_all(folder).map_err(LedgerError::io("make", folder))?;
        let mut pieces: Vec<Piece> = vec![];
        for start in starts(folder)? {
            let path = path_of(folder, start);
            if start >= end {
                fs::remove_file(&path).map_err(LedgerError::io("remove", &path))?;
                continue;
            }
            let file = OpenOptions::new().read(true).write(true).open(&path);
            let file = Arc::new(file.map_err(LedgerError::io("open", &path))?);
            pieces.push(Piece { start, file });
        }
        let mut ledger = Self { folder: folder.to_owned(), pieces, end, synced: end };
        let is_whole = match ledger.pieces.last() {
            None => false,
            Some(last) => {
                let path = path_of(folder, last.start);
                let length = last.file.metadata().map_err(LedgerError::io("read", &path))?.len();
                let wanted = end - last.start;
                if length > wanted {
                    last.file.set_len(wanted).map_err(LedgerError::io("cut", &path))?;
                }
                length >= wanted
            }
        };
        if !is_whole {
            if end > FIRST {
                tracing::warn!(end, "a part of the ledger is missing");
            }
            ledger.begin()?;
        }
        Ok(ledger)
    }

    /// Begins a new file at the end.
    fn begin(&mut self) -> Result<(), LedgerError> {
        let path = path_of(&self.folder, self.end);
        let made =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = Arc::new(made.map_err(LedgerError::io("make", &path))?);
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        folder.map_err(LedgerError::io("sync", &self.folder))?;
        self.pieces.push(Piece { start: self.end, file });
        Ok(())
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    /// Appends whole entries.
    pub fn append(&mut self, entries: &[u8]) -> Result<(), LedgerError> {
        if entries.is_empty() {
            return Ok(());
        }
        let is_full = self.pieces.last().is_none_or(|last| self.end - last.start >= FILE_BYTES);
        if is_full {
            self.sync()?;
            self.begin()?;
        }
        let Some(last) = self.pieces.last() else { return Ok(()) };
        let path = path_of(&self.folder, last.start);
        let written = last.file.write_all_at(entries, self.end - last.start);
        written.map_err(LedgerError::io("write", &path))?;
        self.end += entries.len() as u64;
        Ok(())
    }

    /// Everything appended is on disk when this returns.
    pub fn sync(&mut self) -> Result<(), LedgerError> {
        if self.synced == self.end {
            return Ok(());
        }
        let Some(last) = self.pieces.last() else { return Ok(()) };
        let path = path_of(&self.folder, last.start);
        last.file.sync_data().map_err(LedgerError::io("sync", &path))?;
        self.synced = self.end;
        Ok(())
    }

    /// The file that is appended to, for whoever syncs it beside. Those before it are synced.
    pub fn last_file(&self) -> Option<Arc<File>> {
        self.pieces.last().map(|piece| Arc::clone(&piece.file))
    }

    /// Removes files whose entries are all older than `oldest_ms`. Gives how many.
    pub fn forget_before(&mut self, oldest_ms: i64) -> Result<usize, LedgerError> {
        let mut removed = 0;
        while self.pieces.len() > 1 {
            let next = &self.pieces[1];
            // The one behind begins with a newer entry than any of this one.
            let first = LedgerView { pieces: vec![next.clone()], end: self.end };
            let Ok(Some(at_ms)) = first.at_ms(next.start) else { break };
            if at_ms >= oldest_ms {
                break;
            }
            let path = path_of(&self.folder, self.pieces[0].start);
            fs::remove_file(&path).map_err(LedgerError::io("remove", &path))?;
            self.pieces.remove(0);
            removed += 1;
        }
        Ok(removed)
    }

    /// What is there now, for reading beside.
    pub fn view(&self) -> LedgerView {
        LedgerView { pieces: self.pieces.clone(), end: self.end }
    }
}

impl LedgerView {
    /// Offset of the oldest entry that is kept.
    pub fn oldest(&self) -> u64 {
        self.pieces.first().map_or(self.end, |piece| piece.start)
    }

    /// The newest files alone: what was made lately costs no more than they hold.
    #[must_use]
    pub fn newest(mut self, files: usize) -> Self {
        let cut = self.pieces.len().saturating_sub(files);
        self.pieces.drain(..cut);
        self
    }

    /// When the oldest entry that is kept was made; none without entries.
    pub fn oldest_ms(&self) -> Result<Option<i64>, LedgerError> {
        self.at_ms(self.oldest())
    }

    fn piece(&self, offset: u64) -> Option<&Piece> {
        let behind = self.pieces.partition_point(|piece| piece.start <= offset);
        self.pieces.get(behind.checked_sub(1)?)
    }

    /// The body of the entry at an offset, read into `body`.
    pub(super) fn read(&self, offset: u64, body: &mut Vec<u8>) -> Result<(), LedgerError> {
        let piece = self.piece(offset).ok_or(LedgerError::Gone { oldest: self.oldest() })?;
        let damaged = |what| LedgerError::Damaged { offset, what };
        let mut header = [0; HEADER_BYTES];
        let at = offset - piece.start;
        piece.file.read_exact_at(&mut header, at).map_err(|_| damaged("cut short"))?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        if length > BODY_BYTES_MAX {
            return Err(damaged("impossible length"));
        }
        body.resize(length, 0);
        let at = at + HEADER_BYTES as u64;
        piece.file.read_exact_at(body, at).map_err(|_| damaged("cut short"))?;
        let crc = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if crc32c::crc32c(body) != crc {
            return Err(damaged("wrong checksum"));
        }
        Ok(())
    }

    /// Hands the entry at an offset to `with`.
    pub fn entry<T>(
        &self,
        offset: u64,
        with: impl FnOnce(Entry<'_>) -> T,
    ) -> Result<T, LedgerError> {
        let mut body = Vec::new();
        self.read(offset, &mut body)?;
        let entry = Entry::decode(offset, &body)
            .map_err(|error| LedgerError::Damaged { offset, what: error.what })?;
        Ok(with(entry))
    }

    /// When the entry at an offset was made; none behind the end.
    pub(super) fn at_ms(&self, offset: u64) -> Result<Option<i64>, LedgerError> {
        if offset >= self.end {
            return Ok(None);
        }
        self.entry(offset, |entry| Some(entry.at_ms))
    }

    /// Hands every entry to `with`, oldest first, beginning with the file in which those made at
    /// `since_ms` lie, until it says `false`. Holes are passed over: the offsets tell.
    pub fn scan(
        &self,
        since_ms: i64,
        mut with: impl FnMut(u64, Entry<'_>) -> bool,
    ) -> Result<(), LedgerError> {
        let mut first = 0;
        for (index, piece) in self.pieces.iter().enumerate() {
            if self.at_ms(piece.start)?.is_some_and(|at_ms| at_ms < since_ms) {
                first = index;
            }
        }
        for (index, piece) in self.pieces.iter().enumerate().skip(first) {
            let end = self.pieces.get(index + 1).map_or(self.end, |next| next.start);
            let length = piece.file.metadata().map_err(LedgerError::io("read", Path::new("")))?;
            let length = length.len().min(end - piece.start);
            let mut bytes = vec![0; length as usize];
            piece
                .file
                .read_exact_at(&mut bytes, 0)
                .map_err(LedgerError::io("read", Path::new("the ledger")))?;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let offset = piece.start + (bytes.len() - rest.len()) as u64;
                let damaged = |what| LedgerError::Damaged { offset, what };
                let mut header = [0; HEADER_BYTES];
                rest.read_exact(&mut header).map_err(|_| damaged("cut short"))?;
                let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
                let crc = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
                let (body, behind) =
                    rest.split_at_checked(length as usize).ok_or(damaged("cut short"))?;
                if crc32c::crc32c(body) != crc {
                    return Err(damaged("wrong checksum"));
                }
                let entry = Entry::decode(offset, body).map_err(|error| damaged(error.what))?;
                if !with(offset, entry) {
                    return Ok(());
                }
                rest = behind;
            }
        }
        Ok(())
    }

    /// Follows the entries of one job backwards from `newest`, until `with` says `false` or the oldest
    /// that is kept was seen. An empty chain is 0.
    pub fn follow(
        &self,
        newest: u64,
        mut with: impl FnMut(u64, Entry<'_>) -> bool,
    ) -> Result<(), LedgerError> {
        let mut at = Some(newest).filter(|newest| *newest > 0);
        while let Some(offset) = at.filter(|offset| *offset >= self.oldest()) {
            let (goes_on, before) =
                self.entry(offset, |entry| (with(offset, entry.clone()), entry.before))?;
            at = before.filter(|_| goes_on);
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ledger::entry::Fact;

    fn skipped(at_ms: i64, before: Option<u64>) -> Entry<'static> {
        let cause = crate::machine::Cause::Schedule;
        let reason = crate::machine::SkipReason::Overlap;
        Entry { at_ms, job: 7, before, fact: Fact::Skipped { nominal: at_ms, cause, reason } }
    }

    pub(in crate::ledger) fn fill(ledger: &mut Ledger, count: i64) -> Vec<u64> {
        let mut offsets = vec![];
        for at_ms in 0..count {
            let mut bytes = vec![];
            skipped(at_ms, offsets.last().copied()).encode(ledger.end(), &mut bytes);
            offsets.push(ledger.end());
            ledger.append(&bytes).unwrap();
        }
        offsets
    }

    #[test]
    fn entries_are_found_in_order_and_along_the_chain_of_their_job() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), FIRST).unwrap();
        let offsets = fill(&mut ledger, 100);
        let view = ledger.view();
        let mut seen = vec![];
        view.scan(0, |offset, entry| {
            seen.push((offset, entry.at_ms));
            true
        })
        .unwrap();
        assert_eq!(seen, offsets.iter().copied().zip(0..100).collect::<Vec<_>>());
        let mut back = vec![];
        view.follow(offsets[99], |_, entry| {
            back.push(entry.at_ms);
            back.len() < 3
        })
        .unwrap();
        assert_eq!(back, [99, 98, 97]);
    }

    #[test]
    fn what_is_behind_the_end_of_a_snapshot_goes_and_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), FIRST).unwrap();
        let offsets = fill(&mut ledger, 10);
        drop(ledger);
        let mut ledger = Ledger::open(folder.path(), offsets[4]).unwrap();
        let mut bytes = vec![];
        skipped(99, Some(offsets[3])).encode(ledger.end(), &mut bytes);
        ledger.append(&bytes).unwrap();
        let mut seen = vec![];
        ledger
            .view()
            .scan(0, |_, entry| {
                seen.push(entry.at_ms);
                true
            })
            .unwrap();
        assert_eq!(seen, [0, 1, 2, 3, 99]);
    }

    #[test]
    fn a_part_that_is_missing_is_a_hole_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(folder.path(), FIRST).unwrap();
        let offsets = fill(&mut ledger, 3);
        drop(ledger);
        let mut ledger = Ledger::open(folder.path(), offsets[2] + 1000).unwrap();
        let mut bytes = vec![];
        skipped(5, None).encode(ledger.end(), &mut bytes);
        ledger.append(&bytes).unwrap();
        let mut seen = vec![];
        ledger
            .view()
            .scan(0, |_, entry| {
                seen.push(entry.at_ms);
                true
            })
            .unwrap();
        assert_eq!(seen, [0, 1, 2, 5]);
        let path = path_of(folder.path(), FIRST);
        let mut bytes = fs::read(&path).unwrap();
        bytes[HEADER_BYTES + 2] ^= 1;
        fs::write(&path, bytes).unwrap();
        let found = ledger.view().scan(0, |_, _| true);
        assert!(matches!(found, Err(LedgerError::Damaged { offset: FIRST, .. })), "{found:?}");
    }
}
