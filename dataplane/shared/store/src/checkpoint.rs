//! A checkpoint: everything of a shard at one version as one stream, and loading it into an empty one.
//!
//! The stream: `orrerysc`, format (4 bytes), version (8); then receipts and rows, each behind a byte
//! that says which; then a zero byte, how many there were (8) and the CRC32C of all bytes before (4).
//! A row is the length of its key (4), its key, the length (4) and the bytes of what the engines on disk
//! keep (`row.rs`). Numbers are big-endian.
//!
//! It must not trust a length it reads, nor leave a shard behind that opens with a part of its rows.

use std::io::{self, Read, Write};

use bytes::{BufMut as _, Bytes};

use crate::engine::{Batch, Engine, Receipt, View, Visit};
use crate::row::Row;
use crate::{StoreError, Version};

const MAGIC: &[u8; 8] = b"orrerysc";
const FORMAT: u32 = 1;
const END: u8 = 0;
const RECEIPT: u8 = 1;
const ROW: u8 = 2;
/// Longer than any key that an engine takes.
const KEY_BYTES_MAX: u32 = 1 << 16;
/// Bytes that one batch of a load holds, more or less.
const BATCH_BYTES: usize = 1 << 20;

/// Versions from here on are those of a load that has not ended.
const LOADING: u64 = 1 << 62;

/// Refuses a shard that was loaded in part.
pub(crate) fn check_loaded(version: u64) -> Result<(), StoreError> {
    if version >= LOADING {
        return Err(StoreError::corrupt("loading a checkpoint into it did not end: remove it"));
    }
    Ok(())
}

struct Output<'a> {
    to: &'a mut dyn Write,
    crc: u32,
}

impl Output<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.to.write_all(bytes).map_err(|error| failed_to("write", &error))
    }
}

fn failed_to(action: &str, error: &io::Error) -> StoreError {
    StoreError::unavailable(format!("failed to {action} a checkpoint: {error}"))
}

/// Writes a checkpoint of these receipts, and of the rows that `walk` visits.
pub(crate) fn write(
    to: &mut dyn Write,
    version: u64,
    receipts: &[Receipt],
    walk: impl FnOnce(&mut Visit<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut output = Output { to, crc: 0 };
    output.put(&[&MAGIC[..], &FORMAT.to_be_bytes(), &version.to_be_bytes()].concat())?;
    let mut count = 0_u64;
    for (key, version) in receipts {
        output.put(&[&[RECEIPT], &key[..], &version.to_be_bytes()].concat())?;
        count += 1;
    }
    let mut failed = None;
    walk(&mut |key, row| {
        let row = row.encode();
        let mut head = vec![ROW];
        head.put_u32(key.len() as u32);
        head.put_slice(&key);
        head.put_u32(row.len() as u32);
        count += 1;
        failed = output.put(&head).and_then(|()| output.put(&row)).err();
        failed.is_none()
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    output.put(&[&[END], &count.to_be_bytes()[..]].concat())?;
    let crc = output.crc.to_be_bytes();
    output.put(&crc)?;
    output.to.flush().map_err(|error| failed_to("write", &error))
}

/// One thing of a checkpoint.
pub(crate) enum Part {
    Receipt(Receipt),
    Row(Bytes, Row),
}

/// Reads a checkpoint.
pub(crate) struct Input<'a> {
    from: &'a mut dyn Read,
    crc: u32,
    count: u64,
}

impl<'a> Input<'a> {
    /// Gives its version as well.
    pub(crate) fn open(from: &'a mut dyn Read) -> Result<(Self, Version), StoreError> {
        let mut input = Self { from, crc: 0, count: 0 };
        if input.array()? != *MAGIC {
            return Err(StoreError::corrupt("it is no checkpoint"));
        }
        let format = u32::from_be_bytes(input.array()?);
        if format != FORMAT {
            let reason = format!("a checkpoint of format {format}, this program knows {FORMAT}");
            return Err(StoreError::corrupt(reason));
        }
        let version = u64::from_be_bytes(input.array()?);
        check_loaded(version)?;
        Ok((input, Version(version)))
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let read = (&mut *self.from).take(length as u64).read_to_end(&mut bytes);
        read.map_err(|error| failed_to("read", &error))?;
        if bytes.len() < length {
            return Err(StoreError::corrupt("the checkpoint is cut short"));
        }
        self.crc = crc32c::crc32c_append(self.crc, &bytes);
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| StoreError::corrupt("the checkpoint is cut short"))
    }

    /// The next part; `None` behind the last, when all of it was whole.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, StoreError> {
        let [kind] = self.array()?;
        self.count += 1;
        match kind {
            RECEIPT => {
                let key = self.array()?;
                Ok(Some(Part::Receipt((key, u64::from_be_bytes(self.array()?)))))
            }
            ROW => {
                let length = u32::from_be_bytes(self.array()?);
                if length > KEY_BYTES_MAX {
                    return Err(StoreError::corrupt("the checkpoint has a key that cannot be"));
                }
                let key = self.bytes(length as usize)?.into();
                let length = u32::from_be_bytes(self.array()?);
                let row = Row::decode(&self.bytes(length as usize)?)?;
                Ok(Some(Part::Row(key, row)))
            }
            END => {
                let count = u64::from_be_bytes(self.array()?);
                let crc = self.crc;
                let is_whole = count + 1 == self.count && u32::from_be_bytes(self.array()?) == crc;
                if is_whole {
                    return Ok(None);
                }
                Err(StoreError::corrupt("the checkpoint does not have the checksum it says"))
            }
            _ => Err(StoreError::corrupt("the checkpoint has a part of no known kind")),
        }
    }
}

/// Refuses a shard that has anything.
fn check_empty(view: &dyn View) -> Result<(), StoreError> {
    let mut is_empty = view.version() == 0;
    view.walk(b"", b"", false, &mut |_, _| {
        is_empty = false;
        false
    })?;
    if is_empty { Ok(()) } else { Err(StoreError::invalid("the shard is not empty")) }
}

/// Loads a checkpoint into an engine without rows. Until the last batch the version says that it has
/// not ended.
pub(crate) fn load<E: Engine>(engine: &E, from: &mut dyn Read) -> Result<(), StoreError> {
    check_empty(&*engine.view()?)?;
    let (mut input, version) = Input::open(from)?;
    let (mut batch, mut bytes, mut loading) = (Batch::default(), 0, LOADING);
    while let Some(part) = input.next()? {
        match part {
            Part::Receipt((key, version)) => {
                bytes += key.len();
                batch.receipts.insert(key, Some(version));
            }
            Part::Row(key, row) => {
                bytes += key.len() + row.value.len();
                batch.rows.insert(key, Some(row));
            }
        }
        if bytes >= BATCH_BYTES {
            (batch.version, bytes) = (loading, 0);
            loading += 1;
            engine.apply(std::mem::take(&mut batch))?;
        }
    }
    batch.version = version.0;
    engine.apply(batch)
}
