//! Reads an RDB stream, item by item.

use std::io::{self, Read};

use crc_fast::{CrcAlgorithm, Digest};

use super::{
    ENC_INT8, ENC_INT16, ENC_INT32, ENC_LZF, Item, OP_AUX, OP_EOF, OP_EXPIRE_MS, OP_EXPIRE_SECONDS,
    OP_FREQ, OP_FUNCTION2, OP_IDLE, OP_MODULE_AUX, OP_RESIZE_DB, OP_SELECT_DB, RdbError, TYPE_HASH,
    TYPE_HASH_LISTPACK, TYPE_LIST, TYPE_LIST_QUICKLIST_2, TYPE_SET, TYPE_SET_INTSET, TYPE_STRING,
    VERSION, Value, lzf, packed,
};

/// Most memory that is set aside on the word of a length field alone.
const TRUST_BYTES: usize = 1 << 20;
const BUFFER_BYTES: usize = 256 * 1024;
const PLAIN_NODE: u64 = 1;

/// An RDB stream being read. Yields items until the end, whose checksum it verifies.
pub struct Reader<R: Read> {
    from: R,
    /// Over everything read before `buffer`.
    digest: Digest,
    buffer: Vec<u8>,
    at: usize,
    db: u32,
    ended: bool,
}

impl<R: Read> std::fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("db", &self.db)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

enum Length {
    Plain(u64),
    Encoded(u8),
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    pub fn new(from: R) -> Result<Self, RdbError> {
        let mut reader = Self {
            from,
            digest: Digest::new(CrcAlgorithm::Crc64Redis),
            buffer: Vec::new(),
            at: 0,
            db: 0,
            ended: false,
        };
        let header = reader.array::<9>()?;
        let version = header
            .strip_prefix(b"REDIS")
            .and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok())
            .ok_or(RdbError::NotRdb)?;
        if version == 0 || version > VERSION {
            return Err(RdbError::Newer(version));
        }
        Ok(reader)
    }

    fn next_item(&mut self) -> Result<Option<Item>, RdbError> {
        let mut expires_ms = None;
        loop {
            match self.byte()? {
                OP_EOF => return self.verify_end().map(|()| None),
                OP_SELECT_DB => {
                    self.db = u32::try_from(self.length()?)
                        .map_err(|_| RdbError::Malformed("database number too large"))?;
                }
                OP_RESIZE_DB => {
                    self.length()?;
                    self.length()?;
                }
                OP_AUX => {
                    let (name, value) = (self.string()?, self.string()?);
                    return Ok(Some(Item::Aux { name, value }));
                }
                OP_EXPIRE_MS => expires_ms = Some(i64::from_le_bytes(self.array()?)),
                OP_EXPIRE_SECONDS => {
                    expires_ms = Some(i64::from(i32::from_le_bytes(self.array()?)) * 1000);
                }
                OP_FREQ => _ = self.byte()?,
                OP_IDLE => _ = self.length()?,
                op @ (OP_FUNCTION2 | OP_MODULE_AUX | 0xf6) => {
                    return Err(RdbError::UnsupportedOpcode(op));
                }
                kind => {
                    let key = self.string()?;
                    let value = self.value(kind, &key)?;
                    return Ok(Some(Item::Key { db: self.db, key, expires_ms, value }));
                }
            }
        }
    }

    fn value(&mut self, kind: u8, key: &[u8]) -> Result<Value, RdbError> {
        match kind {
            TYPE_STRING => Ok(Value::String(self.string()?)),
            TYPE_LIST => Ok(Value::List(self.strings()?)),
            TYPE_SET => Ok(Value::Set(self.strings()?)),
            TYPE_HASH => {
                let len = self.length()?;
                let mut fields = Vec::with_capacity(trusted(len));
                for _ in 0..len {
                    fields.push((self.string()?, self.string()?));
                }
                Ok(Value::Hash(fields))
            }
            TYPE_SET_INTSET => packed::intset(&self.string()?)
                .map(Value::Set)
                .ok_or(RdbError::Malformed("damaged intset")),
            TYPE_HASH_LISTPACK => {
                let pack = packed::listpack(&self.string()?)
                    .filter(|elements| elements.len() % 2 == 0)
                    .ok_or(RdbError::Malformed("damaged listpack"))?;
                let mut elements = pack.into_iter();
                let mut fields = vec![];
                while let (Some(field), Some(value)) = (elements.next(), elements.next()) {
                    fields.push((field, value));
                }
                Ok(Value::Hash(fields))
            }
            TYPE_LIST_QUICKLIST_2 => {
                let (nodes, mut elements) = (self.length()?, vec![]);
                for _ in 0..nodes {
                    if self.length()? == PLAIN_NODE {
                        elements.push(self.string()?);
                    } else {
                        let pack = packed::listpack(&self.string()?);
                        elements.extend(pack.ok_or(RdbError::Malformed("damaged listpack"))?);
                    }
                }
                Ok(Value::List(elements))
            }
            kind => {
                let key = String::from_utf8_lossy(key).into_owned();
                Err(RdbError::UnsupportedType { key, kind })
            }
        }
    }

    fn strings(&mut self) -> Result<Vec<Vec<u8>>, RdbError> {
        let len = self.length()?;
        let mut elements = Vec::with_capacity(trusted(len));
        for _ in 0..len {
            elements.push(self.string()?);
        }
        Ok(elements)
    }

    fn length(&mut self) -> Result<u64, RdbError> {
        match self.any_length()? {
            Length::Plain(len) => Ok(len),
            Length::Encoded(_) => Err(RdbError::Malformed("an encoding where a length belongs")),
        }
    }

    fn any_length(&mut self) -> Result<Length, RdbError> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Length::Plain(u64::from(first & 0x3f)),
            1 => Length::Plain((u64::from(first & 0x3f) << 8) | u64::from(self.byte()?)),
            2 if first == 0x80 => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            2 if first == 0x81 => Length::Plain(u64::from_be_bytes(self.array()?)),
            3 => Length::Encoded(first & 0x3f),
            _ => return Err(RdbError::Malformed("unknown form of a length")),
        })
    }

    fn string(&mut self) -> Result<Vec<u8>, RdbError> {
        let number = match self.any_length()? {
            Length::Plain(len) => return self.bytes(len),
            Length::Encoded(ENC_INT8) => i64::from(i8::from_le_bytes(self.array()?)),
            Length::Encoded(ENC_INT16) => i64::from(i16::from_le_bytes(self.array()?)),
            Length::Encoded(ENC_INT32) => i64::from(i32::from_le_bytes(self.array()?)),
            Length::Encoded(ENC_LZF) => {
                let (packed_len, len) = (self.length()?, self.length()?);
                let packed = self.bytes(packed_len)?;
                return lzf::decompress(&packed, len as usize)
                    .ok_or(RdbError::Malformed("damaged compressed string"));
            }
            Length::Encoded(_) => return Err(RdbError::Malformed("unknown string encoding")),
        };
        Ok(number.to_string().into_bytes())
    }

    fn bytes(&mut self, len: u64) -> Result<Vec<u8>, RdbError> {
        let len = usize::try_from(len).map_err(|_| RdbError::Malformed("string too long"))?;
        let mut bytes = Vec::with_capacity(trusted(len as u64));
        while bytes.len() < len {
            self.fill()?;
            let take = (len - bytes.len()).min(self.buffer.len() - self.at);
            bytes.extend_from_slice(&self.buffer[self.at..self.at + take]);
            self.at += take;
        }
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, RdbError> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let mut array = [0; N];
        for byte in &mut array {
            self.fill()?;
            *byte = self.buffer[self.at];
            self.at += 1;
        }
        Ok(array)
    }

    /// Makes sure that at least one byte is buffered.
    fn fill(&mut self) -> Result<(), RdbError> {
        if self.at < self.buffer.len() {
            return Ok(());
        }
        self.digest.update(&self.buffer);
        self.buffer.resize(BUFFER_BYTES, 0);
        self.at = 0;
        let read = loop {
            match self.from.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(*read.as_ref().unwrap_or(&0));
        match read? {
            0 => Err(RdbError::Io(io::ErrorKind::UnexpectedEof.into())),
            _ => Ok(()),
        }
    }

    fn verify_end(&mut self) -> Result<(), RdbError> {
        self.ended = true;
        self.digest.update(&self.buffer[..self.at]);
        let expected = self.digest.finalize();
        let found = u64::from_le_bytes(self.array()?);
        // Zero says that whoever wrote it did not compute a checksum.
        if found != expected && found != 0 {
            return Err(RdbError::Checksum { found, expected });
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Item, RdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.next_item().transpose();
        self.ended |= next.as_ref().is_none_or(Result::is_err);
        next
    }
}

/// Room that is set aside at once for `len` elements or bytes.
fn trusted(len: u64) -> usize {
    (len as usize).min(TRUST_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{Shape, Writer};
    use proptest::prelude::*;

    fn collection<'a>(
        writer: &mut Writer<Vec<u8>>,
        item: &Item,
        shape: Shape,
        elements: impl Iterator<Item = &'a Vec<u8>>,
    ) -> io::Result<()> {
        let Item::Key { db, key, expires_ms, .. } = item else { unreachable!("it is a key") };
        let all: Vec<_> = elements.collect();
        let len = if shape == Shape::Hash { all.len() / 2 } else { all.len() };
        writer.collection(*db, key, *expires_ms, shape, len)?;
        all.into_iter().try_for_each(|element| writer.element(element))
    }

    fn write(items: &[Item]) -> Vec<u8> {
        let mut writer = Writer::new(vec![]).expect("memory");
        for item in items {
            match item {
                Item::Aux { name, value } => {
                    writer.aux(std::str::from_utf8(name).expect("text"), value)
                }
                Item::Key { db, key, expires_ms, value } => match value {
                    Value::String(text) => writer.string(*db, key, *expires_ms, text),
                    Value::List(all) => collection(&mut writer, item, Shape::List, all.iter()),
                    Value::Set(all) => collection(&mut writer, item, Shape::Set, all.iter()),
                    Value::Hash(all) => {
                        let flat = all.iter().flat_map(|(f, v)| [f, v]);
                        collection(&mut writer, item, Shape::Hash, flat)
                    }
                },
            }
            .expect("memory");
        }
        writer.finish().expect("memory")
    }

    fn read(bytes: &[u8]) -> Result<Vec<Item>, RdbError> {
        Reader::new(bytes)?.collect()
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            any::<i64>().prop_map(|n| n.to_string().into_bytes()),
            (-70_000i64..70_000).prop_map(|n| n.to_string().into_bytes()),
            Just(b"-0".to_vec()),
            Just(b"007".to_vec()),
            Just(vec![b'x'; 70_000]),
        ]
    }

    fn item() -> impl Strategy<Value = Item> {
        let list = || prop::collection::vec(text(), 1..20);
        let value = prop_oneof![
            text().prop_map(Value::String),
            list().prop_map(Value::List),
            list().prop_map(Value::Set),
            prop::collection::vec((text(), text()), 1..20).prop_map(Value::Hash),
        ];
        let key = (0u32..20, text(), prop::option::of(any::<i64>()), value);
        prop_oneof![
            1 => text().prop_map(|value| Item::Aux { name: b"orrery-x".to_vec(), value }),
            9 => key.prop_map(|(db, key, expires_ms, value)| Item::Key { db, key, expires_ms, value }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(items in prop::collection::vec(item(), 0..20)) {
            prop_assert_eq!(read(&write(&items)).expect("it is whole"), items);
        }

        #[test]
        fn a_changed_byte_is_noticed(at in any::<prop::sample::Index>(), flip in 1u8..=255) {
            let key = |k: &[u8], value| Item::Key { db: 3, key: k.to_vec(), expires_ms: Some(9), value };
            let items = [
                key(b"a", Value::String(b"hello".to_vec())),
                key(b"b", Value::Set(vec![b"1".to_vec(), b"x".to_vec()])),
            ];
            let mut bytes = write(&items);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let result = read(&bytes);
            prop_assert!(result.is_err(), "byte {} changed: {:?}", at, result);
        }

        #[test]
        fn damaged_streams_never_panic(body: Vec<u8>) {
            let _ = read(&[b"REDIS0010".to_vec(), body].concat());
        }
    }
}
