//! Writing a snapshot, on any thread, beside the running journal.
//!
//! A failure costs the snapshot and nothing else. The file is synced piecemeal while it grows, so
//! that finishing does not flood the disk under the committer.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{CHUNK_BYTES_MAX, chunk_crc, encode_header};
use crate::format::{TEMPORARY_SUFFIX, snapshot_name};
use crate::prepare::remove;
use crate::shared::Shared;
use crate::{DiskFile, JournalError, Position, trim};

/// Bytes written between two syncs.
const SYNC_EVERY_BYTES: u64 = 8 << 20;
/// How long `finish` waits for the journal to become durable up to the snapshot's position.
const DURABLE_WAIT: Duration = Duration::from_secs(30);

/// Takes the serialised state. Without [`finish`](Self::finish) nothing is kept.
#[derive(Debug)]
pub struct SnapshotWriter {
    shared: Arc<Shared>,
    at: u64,
    temporary: String,
    file: Box<dyn DiskFile>,
    chunk: Vec<u8>,
    offset: u64,
    synced: u64,
    chunks: u64,
    content_bytes: u64,
    finished: bool,
}

impl SnapshotWriter {
    pub(crate) fn begin(shared: Arc<Shared>, at: u64, epoch: u64) -> Result<Self, JournalError> {
        if shared.snapshot_running.swap(true, Ordering::AcqRel) {
            return Err(JournalError::SnapshotBusy);
        }
        let temporary = format!("{}{TEMPORARY_SUFFIX}", snapshot_name(at));
        let header = encode_header(shared.options.shard, at, epoch);
        let created = shared.disk.create(&temporary).and_then(|file| {
            file.write_at(&header, 0)?;
            Ok(file)
        });
        match created {
            Ok(file) => Ok(Self {
                shared,
                at,
                temporary,
                file,
                chunk: Vec::with_capacity(CHUNK_BYTES_MAX),
                offset: header.len() as u64,
                synced: 0,
                chunks: 0,
                content_bytes: 0,
                finished: false,
            }),
            Err(error) => {
                remove(&*shared.disk, &temporary);
                shared.snapshot_running.store(false, Ordering::Release);
                Err(JournalError::io("create", &temporary, error))
            }
        }
    }

    /// The position whose state this is.
    pub fn position(&self) -> Position {
        Position(self.at)
    }

    /// Makes the snapshot durable under its name, then removes what it makes superfluous: older
    /// snapshots and the segments before the oldest that is kept.
    ///
    /// Waits for the journal to be durable up to the position of the snapshot, and gives
    /// `SnapshotAhead` if it does not get there. After an error the journal is as before, except
    /// that the snapshot may be there too.
    pub fn finish(mut self) -> Result<Position, JournalError> {
        let io = |action, name: &str, e| JournalError::io(action, name, e);
        self.write_chunk().map_err(|e| io("write", &self.temporary, e))?;
        self.write_trailer().map_err(|e| io("write", &self.temporary, e))?;
        self.file.sync().map_err(|e| io("sync", &self.temporary, e))?;
        self.await_journal()?;
        let name = snapshot_name(self.at);
        let disk = &*self.shared.disk;
        disk.rename(&self.temporary, &name).map_err(|e| io("rename", &self.temporary, e))?;
        self.finished = true;
        disk.sync_dir().map_err(|e| io("sync the folder of", &name, e))?;
        self.shared.with_files(|files| {
            files.snapshots.retain(|known| *known != self.at);
            files.snapshots.push(self.at);
            files.snapshots.sort_unstable();
        });
        trim::run(&self.shared);
        Ok(Position(self.at))
    }

    fn await_journal(&self) -> Result<(), JournalError> {
        if self.shared.durable() >= self.at {
            return Ok(());
        }
        if self.shared.options.threaded {
            let waited = self.shared.wait_until(self.at, Instant::now() + DURABLE_WAIT);
            if waited.is_ok() {
                return Ok(());
            }
        }
        let durable = Position(self.shared.durable());
        Err(JournalError::SnapshotAhead { at: Position(self.at), durable })
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let content = std::mem::take(&mut self.chunk);
        let mut header = [0; super::CHUNK_HEADER_BYTES];
        header[..4].copy_from_slice(&(content.len() as u32).to_le_bytes());
        header[4..].copy_from_slice(&chunk_crc(self.chunks, &content).to_le_bytes());
        self.file.write_at(&header, self.offset)?;
        self.file.write_at(&content, self.offset + header.len() as u64)?;
        self.offset += (header.len() + content.len()) as u64;
        self.chunks += 1;
        self.content_bytes += content.len() as u64;
        self.chunk = content;
        self.chunk.clear();
        if self.offset - self.synced >= SYNC_EVERY_BYTES {
            self.file.sync()?;
            self.synced = self.offset;
        }
        Ok(())
    }

    fn write_trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; super::CHUNK_HEADER_BYTES + super::TRAILER_BYTES];
        trailer[8..16].copy_from_slice(&self.chunks.to_le_bytes());
        trailer[16..].copy_from_slice(&self.content_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&trailer[8..]);
        trailer[4..8].copy_from_slice(&crc.to_le_bytes());
        self.file.write_at(&trailer, self.offset)
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES_MAX - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == CHUNK_BYTES_MAX {
            self.write_chunk()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_chunk()
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            remove(&*self.shared.disk, &self.temporary);
        }
        self.shared.snapshot_running.store(false, Ordering::Release);
    }
}
