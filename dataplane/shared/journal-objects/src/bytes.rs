//! Reading and checking the little-endian headers of all our objects.

use bytes::Bytes;

/// Format version of all objects.
pub(crate) const VERSION: u32 = 1;

/// A header under construction.
pub(crate) struct Builder(Vec<u8>);

impl Builder {
    pub(crate) fn new(magic: [u8; 8], shard: u32) -> Self {
        let mut bytes = magic.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&shard.to_le_bytes());
        Self(bytes)
    }

    pub(crate) fn u64s(mut self, numbers: &[u64]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self
    }

    pub(crate) fn u32s(mut self, numbers: &[u32]) -> Self {
        self.0.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self
    }

    /// Closes the header with its CRC32C, and puts `body` behind it.
    pub(crate) fn seal(mut self, body: &[u8]) -> Bytes {
        self.0.extend_from_slice(&crc32c::crc32c(&self.0).to_le_bytes());
        self.0.extend_from_slice(body);
        self.0.into()
    }
}

/// The first `length` bytes if they are a header of this kind, of this shard, and intact. The last
/// four of them are the CRC of those before.
pub(crate) fn open(
    bytes: &[u8],
    length: usize,
    magic: [u8; 8],
    shard: u32,
) -> Result<&[u8], &'static str> {
    let head = bytes.get(..length).ok_or("it is cut")?;
    let (fields, _) = head.split_at(length - 4);
    if head[..8] != magic || u32_at(head, length - 4) != crc32c::crc32c(fields) {
        return Err("its header is damaged");
    }
    if u32_at(head, 8) != VERSION {
        return Err("it has a format version that this program does not know");
    }
    if u32_at(head, 12) != shard {
        return Err("it belongs to another shard");
    }
    Ok(head)
}

/// The caller has checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// The caller has checked the length.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
