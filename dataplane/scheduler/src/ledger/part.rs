//! A part of a ledger that goes along with a snapshot, and from when on a ledger is whole.
//!
//! Must not: bridge a hole. Who has only the newest part says so.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::entry::HEADER_BYTES;
use super::file::{FIRST, Ledger, LedgerError, LedgerView, path_of, starts};

impl Ledger {
    /// Puts entries that begin at `start`, and end where the ledger is to be opened, into a folder that
    /// lacks them: beside what is there from before `start`.
    pub fn complete(folder: &Path, start: u64, entries: &[u8]) -> Result<(), LedgerError> {
        fs::create_dir_all(folder).map_err(LedgerError::io("make", folder))?;
        let end = start + entries.len() as u64;
        let has_all =
            starts(folder)?.iter().rev().find(|first| **first < end).is_some_and(|first| {
                let length = fs::metadata(path_of(folder, *first)).map_or(0, |known| known.len());
                first + length >= end
            });
        if has_all || entries.is_empty() {
            return Ok(());
        }
        for first in starts(folder)?.into_iter().filter(|first| *first >= start) {
            let path = path_of(folder, first);
            fs::remove_file(&path).map_err(LedgerError::io("remove", &path))?;
        }
        if let Some(before) = starts(folder)?.last() {
            let path = path_of(folder, *before);
            let file = OpenOptions::new().write(true).open(&path);
            let file = file.map_err(LedgerError::io("open", &path))?;
            let length = file.metadata().map_err(LedgerError::io("read", &path))?.len();
            let cut = file.set_len(length.min(start - before));
            cut.map_err(LedgerError::io("cut", &path))?;
        }
        let path = path_of(folder, start);
        let written = File::create(&path).and_then(|file| {
            file.write_all_at(entries, 0)?;
            file.sync_data()
        });
        written.map_err(LedgerError::io("write", &path))
    }
}

impl LedgerView {
    /// The newest whole entries, of `bytes_max` or a little less, and where they begin. Holes are not
    /// stepped over.
    pub fn tail(&self, bytes_max: u64) -> Result<(u64, Vec<u8>), LedgerError> {
        let mut start = self.whole_from()?;
        let mut body = Vec::new();
        // From the beginning of a file, or of what is whole, entry by entry.
        let near = self.pieces.iter().map(|piece| piece.start);
        let near = near.filter(|first| *first > start && self.end - first > bytes_max).max();
        start = near.unwrap_or(start);
        while self.end - start > bytes_max {
            self.read(start, &mut body)?;
            start += (HEADER_BYTES + body.len()) as u64;
        }
        let mut entries = Vec::new();
        for (index, piece) in self.pieces.iter().enumerate() {
            let end = self.pieces.get(index + 1).map_or(self.end, |next| next.start);
            let from = start.max(piece.start);
            if from >= end {
                continue;
            }
            let at = entries.len();
            entries.resize(at + (end - from) as usize, 0);
            let read = piece.file.read_exact_at(&mut entries[at..], from - piece.start);
            read.map_err(LedgerError::io("read", Path::new("the ledger")))?;
        }
        Ok((start, entries))
    }

    /// The offset from which on nothing is missing up to the end.
    fn whole_from(&self) -> Result<u64, LedgerError> {
        let mut from = self.end;
        for (index, piece) in self.pieces.iter().enumerate().rev() {
            let next = self.pieces.get(index + 1).map_or(self.end, |next| next.start);
            let length = piece.file.metadata().map_err(LedgerError::io("read", Path::new("")))?;
            if piece.start + length.len() < next {
                break;
            }
            from = piece.start;
        }
        Ok(from)
    }

    /// Since when, in milliseconds, everything that was decided is here: none where that is from the very
    /// first. Behind a hole that is not followed by an entry, nothing is known yet.
    pub fn known_since_ms(&self) -> Result<Option<i64>, LedgerError> {
        let from = self.whole_from()?;
        if from <= FIRST {
            return Ok(None);
        }
        Ok(Some(self.at_ms(from)?.unwrap_or(i64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::fill;
    use super::*;

    #[test]
    fn a_part_that_went_along_completes_a_folder_and_says_since_when_it_knows() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut ledger = Ledger::open(folder.path(), FIRST).unwrap();
        let offsets = fill(&mut ledger, 100);
        assert_eq!(ledger.view().known_since_ms().unwrap(), None, "from the very first");
        let (all, _) = ledger.view().tail(u64::MAX).unwrap();
        assert_eq!(all, FIRST);
        let (start, entries) = ledger.view().tail(ledger.end() - offsets[90]).unwrap();
        assert_eq!(start, offsets[90]);
        let (next, _) = ledger.view().tail(ledger.end() - offsets[90] - 1).unwrap();
        assert_eq!(next, offsets[91], "whole entries alone");
        // An empty folder, one with an older part, and one that has it all.
        let seen = |of: &Ledger| {
            let mut seen = vec![];
            let scanned = of.view().scan(0, |_, entry| {
                seen.push(entry.at_ms);
                true
            });
            scanned.unwrap();
            seen
        };
        Ledger::complete(other.path(), start, &entries).unwrap();
        let copy = Ledger::open(other.path(), ledger.end()).unwrap();
        assert_eq!(seen(&copy), (90..100).collect::<Vec<_>>());
        assert_eq!(copy.view().known_since_ms().unwrap(), Some(90));
        drop(copy);
        drop(Ledger::open(other.path(), offsets[95]).unwrap());
        Ledger::complete(other.path(), start, &entries).unwrap();
        assert_eq!(seen(&Ledger::open(other.path(), ledger.end()).unwrap()).len(), 10);
        Ledger::complete(folder.path(), start, &entries).unwrap();
        assert_eq!(seen(&Ledger::open(folder.path(), ledger.end()).unwrap()).len(), 100);
        // Nothing behind a hole: nothing is known yet.
        let copy = Ledger::open(other.path(), ledger.end() + 500).unwrap();
        assert_eq!(copy.view().known_since_ms().unwrap(), Some(i64::MAX));
    }
}
