//! Writes an RDB stream.

use std::io::{self, Write};

use crc_fast::{CrcAlgorithm, Digest};

use super::{
    ENC_INT8, ENC_INT16, ENC_INT32, OP_AUX, OP_EOF, OP_EXPIRE_MS, OP_SELECT_DB, TYPE_HASH,
    TYPE_LIST, TYPE_SET, TYPE_STRING, VERSION,
};

/// Bytes collected before they are handed on.
const CHUNK_BYTES: usize = 64 * 1024;

/// An RDB stream in the making. Keys must come database by database.
pub struct Writer<W: Write> {
    to: W,
    digest: Digest,
    chunk: Vec<u8>,
    db: Option<u32>,
    keys: u64,
}

/// Shape of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Elements, head first.
    List,
    Set,
    /// Fields, each followed by its value.
    Hash,
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("db", &self.db)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

impl<W: Write> Writer<W> {
    /// Begins a stream with its header.
    pub fn new(to: W) -> io::Result<Self> {
        let mut writer = Self {
            to,
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
            chunk: Vec::with_capacity(CHUNK_BYTES + 1024),
            db: None,
            keys: 0,
        };
        writer.chunk.extend_from_slice(format!("REDIS{VERSION:04}").as_bytes());
        Ok(writer)
    }

    /// Keys written so far.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// A named field of the header.
    pub fn aux(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        self.chunk.push(OP_AUX);
        put_string(&mut self.chunk, name.as_bytes());
        put_string(&mut self.chunk, value);
        self.drain()
    }

    pub fn string(
        &mut self,
        db: u32,
        key: &[u8],
        expires_ms: Option<i64>,
        value: &[u8],
    ) -> io::Result<()> {
        self.key(db, key, expires_ms, TYPE_STRING);
        put_string(&mut self.chunk, value);
        self.drain()
    }

    /// Begins a collection of `len` elements (fields with values for a hash), each of which
    /// follows as one or two calls of [`Writer::element`].
    pub fn collection(
        &mut self,
        db: u32,
        key: &[u8],
        expires_ms: Option<i64>,
        shape: Shape,
        len: usize,
    ) -> io::Result<()> {
        let kind = match shape {
            Shape::List => TYPE_LIST,
            Shape::Set => TYPE_SET,
            Shape::Hash => TYPE_HASH,
        };
        self.key(db, key, expires_ms, kind);
        put_length(&mut self.chunk, len as u64);
        self.drain()
    }

    /// An element, member, field or value of the collection begun last.
    pub fn element(&mut self, bytes: &[u8]) -> io::Result<()> {
        put_string(&mut self.chunk, bytes);
        self.drain()
    }

    fn key(&mut self, db: u32, key: &[u8], expires_ms: Option<i64>, kind: u8) {
        if self.db != Some(db) {
            self.chunk.push(OP_SELECT_DB);
            put_length(&mut self.chunk, u64::from(db));
            self.db = Some(db);
        }
        if let Some(at) = expires_ms {
            self.chunk.push(OP_EXPIRE_MS);
            self.chunk.extend_from_slice(&at.to_le_bytes());
        }
        self.chunk.push(kind);
        put_string(&mut self.chunk, key);
        self.keys += 1;
    }

    /// Hands full chunks on.
    fn drain(&mut self) -> io::Result<()> {
        if self.chunk.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.digest.update(&self.chunk);
        self.to.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }

    /// Ends the stream with its checksum and returns what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.chunk.push(OP_EOF);
        self.flush()?;
        let checksum = self.digest.finalize();
        self.to.write_all(&checksum.to_le_bytes())?;
        self.to.flush()?;
        Ok(self.to)
    }
}

fn put_length(out: &mut Vec<u8>, len: u64) {
    match len {
        0..=0x3f => out.push(len as u8),
        0x40..=0x3fff => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
        0x4000..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    if let Some(number) = small_integer(bytes) {
        let number_bytes = number.to_le_bytes();
        if i8::try_from(number).is_ok() {
            out.extend_from_slice(&[0xc0 | ENC_INT8, number_bytes[0]]);
        } else if i16::try_from(number).is_ok() {
            out.extend_from_slice(&[0xc0 | ENC_INT16, number_bytes[0], number_bytes[1]]);
        } else {
            out.push(0xc0 | ENC_INT32);
            out.extend_from_slice(&number_bytes);
        }
        return;
    }
    put_length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The number that `bytes` is the canonical text of.
fn small_integer(bytes: &[u8]) -> Option<i32> {
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits[0] == b'0' && bytes.len() > 1 {
        return None;
    }
    std::str::from_utf8(bytes).ok()?.parse().ok()
}
