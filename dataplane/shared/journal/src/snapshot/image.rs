//! The file of a snapshot in the making: chunks and trailer, under a temporary name until it is
//! whole. The file is synced piecemeal while it grows, so that finishing does not flood the disk.

use std::io::{self, Write};
use std::sync::Arc;

use super::{CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, TRAILER_BYTES, chunk_crc, encode_header};
use crate::format::{TEMPORARY_SUFFIX, snapshot_name};
use crate::prepare::remove;
use crate::{Disk, DiskFile, JournalError};

/// Bytes written between two syncs: a sync of the journal waits for no more than these.
const SYNC_EVERY_BYTES: u64 = 512 << 10;

/// Removed again when dropped before [`install`](Self::install).
#[derive(Debug)]
pub(crate) struct Image {
    disk: Arc<dyn Disk>,
    name: String,
    temporary: String,
    file: Box<dyn DiskFile>,
    chunk: Vec<u8>,
    offset: u64,
    synced: u64,
    chunks: u64,
    content_bytes: u64,
    installed: bool,
}

impl Image {
    pub(crate) fn begin(
        disk: Arc<dyn Disk>,
        shard: u32,
        at: u64,
        epoch: u64,
    ) -> Result<Self, JournalError> {
        let name = snapshot_name(at);
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        let header = encode_header(shard, at, epoch);
        let created = disk.create(&temporary).and_then(|file| {
            file.write_at(&header, 0)?;
            Ok(file)
        });
        match created {
            Ok(file) => Ok(Self {
                disk,
                name,
                temporary,
                file,
                chunk: Vec::with_capacity(CHUNK_BYTES_MAX),
                offset: header.len() as u64,
                synced: 0,
                chunks: 0,
                content_bytes: 0,
                installed: false,
            }),
            Err(error) => {
                remove(&*disk, &temporary);
                Err(JournalError::io("create", &temporary, error))
            }
        }
    }

    /// Writes the end and makes the file durable, still under its temporary name.
    pub(crate) fn complete(&mut self) -> Result<(), JournalError> {
        let io = |action, name: &str, e| JournalError::io(action, name, e);
        self.write_chunk().map_err(|e| io("write", &self.temporary, e))?;
        self.write_trailer().map_err(|e| io("write", &self.temporary, e))?;
        self.file.sync().map_err(|e| io("sync", &self.temporary, e))
    }

    /// Length of what was written, without what the file adds; all of it once that is completed.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// Gives the completed file its name, durably.
    pub(crate) fn install(&mut self) -> Result<(), JournalError> {
        let io = |action, name: &str, e| JournalError::io(action, name, e);
        let renamed = self.disk.rename(&self.temporary, &self.name);
        renamed.map_err(|e| io("rename", &self.temporary, e))?;
        self.installed = true;
        self.disk.sync_dir().map_err(|e| io("sync the folder of", &self.name, e))
    }

    fn write_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let content = std::mem::take(&mut self.chunk);
        let mut header = [0; CHUNK_HEADER_BYTES];
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
        let mut trailer = [0; CHUNK_HEADER_BYTES + TRAILER_BYTES];
        trailer[8..16].copy_from_slice(&self.chunks.to_le_bytes());
        trailer[16..].copy_from_slice(&self.content_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&trailer[8..]);
        trailer[4..8].copy_from_slice(&crc.to_le_bytes());
        self.file.write_at(&trailer, self.offset)
    }
}

impl Write for Image {
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

impl Drop for Image {
    fn drop(&mut self) {
        if !self.installed {
            remove(&*self.disk, &self.temporary);
        }
    }
}
