//! Record batches of the format 2, the only one that brokers of today keep: one record in each that is
//! written, any number in each that is read.
//!
//! | bytes | field |
//! |---|---|
//! | 8 | offset of the first record |
//! | 4 | bytes that follow this field |
//! | 4 | epoch of the leader |
//! | 1 | format, 2 |
//! | 4 | CRC32C of all that follows it |
//! | 2 | attributes: compression in 3 bits, transactional in bit 4, control in bit 5 |
//! | 4 | offset of the last record, from the first |
//! | 8, 8 | first and last timestamp |
//! | 8, 2, 4 | id and epoch of the producer, sequence of the first record |
//! | 4 | number of records |

use crate::wire::{Malformed, Reader, Writer, put_varint};

const FORMAT: i8 = 2;
const COMPRESSION: i16 = 7;
const CONTROL: i16 = 1 << 5;

/// A batch of one record, of no transaction and no producer that brokers would know again.
pub(crate) fn write(time_ms: i64, value: &[&[u8]]) -> Vec<u8> {
    let value_bytes: usize = value.iter().map(|part| part.len()).sum();
    let mut record = vec![0]; // attributes
    put_varint(&mut record, 0); // timestamp, from the first
    put_varint(&mut record, 0); // offset, from the first
    put_varint(&mut record, -1); // no key
    put_varint(&mut record, value_bytes as i64);
    record.reserve(value_bytes + 1);
    for part in value {
        record.extend_from_slice(part);
    }
    put_varint(&mut record, 0); // no headers
    let mut length = vec![];
    put_varint(&mut length, record.len() as i64);

    let checked = Writer::default()
        .i16(0)
        .i32(0)
        .i64(time_ms)
        .i64(time_ms)
        .i64(-1)
        .i16(-1)
        .i32(-1)
        .i32(1)
        .raw(&length)
        .raw(&record)
        .into_bytes();
    Writer::default()
        .i64(0)
        .i32(checked.len() as i32 + 9)
        .i32(-1)
        .i8(FORMAT)
        .raw(&crc32c::crc32c(&checked).to_be_bytes())
        .raw(&checked)
        .into_bytes()
}

/// A record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) value: Vec<u8>,
}

/// A batch as it stands in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) last_offset: i64,
    /// None, if it is one of the broker's own.
    pub(crate) records: Vec<Record>,
}

/// Why a batch is not read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It is not all there: the end of an answer.
    Cut,
    /// It is damaged, or not of this program.
    Damaged(&'static str),
}

impl From<Malformed> for Bad {
    fn from(Malformed: Malformed) -> Self {
        Self::Damaged("a batch of records cannot be read")
    }
}

/// The next batch.
pub(crate) fn read(from: &mut Reader<'_>) -> Result<Batch, Bad> {
    let cut = |Malformed: Malformed| Bad::Cut;
    let first = from.i64().map_err(cut)?;
    let length = usize::try_from(from.i32().map_err(cut)?);
    let length = length.map_err(|_| Bad::Damaged("a batch of records has no length"))?;
    let mut batch = Reader::new(from.take(length).map_err(cut)?);
    batch.i32()?;
    if batch.i8()? != FORMAT {
        return Err(Bad::Damaged("a batch of records has another format than 2"));
    }
    let crc = batch.u32()?;
    let checked = batch.take(length - 9)?;
    if crc32c::crc32c(checked) != crc {
        return Err(Bad::Damaged("a batch of records does not match its checksum"));
    }
    let mut batch = Reader::new(checked);
    let attributes = batch.i16()?;
    let last_offset = first + i64::from(batch.i32()?);
    batch.take(30)?;
    let count = batch.i32()?;
    let mut found = Batch { last_offset, records: vec![] };
    if attributes & CONTROL != 0 {
        return Ok(found);
    }
    if attributes & COMPRESSION != 0 {
        return Err(Bad::Damaged("records are compressed, which this program never asks for"));
    }
    for _ in 0..count.max(0) {
        let length = usize::try_from(batch.varint()?).map_err(|_| Malformed)?;
        let mut record = Reader::new(batch.take(length)?);
        record.i8()?;
        record.varint()?;
        let offset = first + record.varint()?;
        field(&mut record)?; // the key
        let value = field(&mut record)?;
        found.records.push(Record { offset, value: value.to_vec() });
    }
    Ok(found)
}

fn field<'a>(record: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let Ok(length) = usize::try_from(record.varint()?) else { return Ok(&[]) };
    record.take(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let bytes = write(1_000, &[b"ab", b"", b"c"]);
        let batch = read(&mut Reader::new(&bytes)).expect("it is whole");
        let records = vec![Record { offset: 0, value: b"abc".to_vec() }];
        assert_eq!(batch, Batch { last_offset: 0, records });
    }

    #[test]
    fn every_flipped_bit_behind_the_checksum_is_noticed_and_every_cut() {
        let bytes = write(1_000, &[b"abc"]);
        for end in 0..bytes.len() {
            assert_eq!(read(&mut Reader::new(&bytes[..end])), Err(Bad::Cut), "cut at {end}");
        }
        for bit in 16 * 8..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&mut Reader::new(&damaged)).is_err(), "bit {bit}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            let _ = read(&mut Reader::new(&bytes));
        }

        #[test]
        fn no_short_batch_makes_the_reader_panic(length in 0_i32..80) {
            let bytes = Writer::default().i64(0).i32(length).raw(&[2; 80]).into_bytes();
            let _ = read(&mut Reader::new(&bytes));
        }
    }
}
