//! The binary form of what commands changed, as it lies in the journal.
//!
//! An effect is `op u8 | database varint | key | operands`; byte strings are `length varint | bytes`,
//! numbers are varints, deadlines 8 bytes little-endian. Effects carry concrete results only: who
//! applies them needs no clock and no randomness. Most are idempotent; pushes and pops are exact
//! because every record is applied once, in order.

/// What an effect does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// kind u8, deadline, value: the key becomes this string.
    SetString = 1,
    /// The key is gone.
    Delete = 2,
    /// deadline: the key's deadline becomes this.
    Expire = 3,
    /// offset, bytes: part of a string is overwritten, the string grows as needed.
    SetRange = 4,
    /// n, then n fields with values.
    HashSet = 5,
    /// n, then n fields.
    HashDelete = 6,
    /// end u8, n, then n elements pushed one after the other.
    ListPush = 7,
    /// end u8, n: elements popped.
    ListPop = 8,
    /// index, element.
    ListSet = 9,
    /// index, element: inserted before the index.
    ListInsert = 10,
    /// start, count: only these elements stay.
    ListTrim = 11,
    /// end u8, count, element: so many equal elements removed from that end on.
    ListRemove = 12,
    /// n, then n members.
    SetAdd = 13,
    /// n, then n members.
    SetRemove = 14,
    /// database, key: the value moves there and replaces what was there.
    Rename = 15,
    /// All keys of the database are gone; the key is empty.
    FlushDatabase = 16,
    /// All keys of all databases are gone; the key is empty.
    FlushAll = 17,
    /// database: the two databases change places; the key is empty.
    SwapDatabases = 18,
}

impl Op {
    fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Op; 18] = [
            Op::SetString,
            Op::Delete,
            Op::Expire,
            Op::SetRange,
            Op::HashSet,
            Op::HashDelete,
            Op::ListPush,
            Op::ListPop,
            Op::ListSet,
            Op::ListInsert,
            Op::ListTrim,
            Op::ListRemove,
            Op::SetAdd,
            Op::SetRemove,
            Op::Rename,
            Op::FlushDatabase,
            Op::FlushAll,
            Op::SwapDatabases,
        ];
        ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }
}

/// Deadline that stands for "none".
const NO_DEADLINE: i64 = i64::MIN;

/// Appends the operands of one effect.
#[derive(Debug)]
pub struct Writer<'a> {
    to: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Starts an effect on a key.
    #[inline]
    pub fn start(to: &'a mut Vec<u8>, op: Op, db: u16, key: &[u8]) -> Self {
        to.push(op as u8);
        Self { to }.number(u64::from(db)).bytes(key)
    }

    /// A number.
    #[inline]
    #[must_use]
    pub fn number(self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.to.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.to.push(value as u8);
        self
    }

    /// One byte.
    #[inline]
    #[must_use]
    pub fn byte(self, value: u8) -> Self {
        self.to.push(value);
        self
    }

    /// A deadline in milliseconds, or none.
    #[inline]
    #[must_use]
    pub fn deadline(self, value: Option<i64>) -> Self {
        self.to.extend_from_slice(&value.unwrap_or(NO_DEADLINE).to_le_bytes());
        self
    }

    /// A byte string.
    #[inline]
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let writer = self.number(bytes.len() as u64);
        writer.to.extend_from_slice(bytes);
        writer
    }

    /// A count and so many byte strings.
    pub fn all<'b>(self, count: usize, items: impl IntoIterator<Item = &'b [u8]>) {
        let writer = self.number(count as u64);
        items.into_iter().fold(writer, Writer::bytes);
    }
}

/// Effects that cannot be read or do not fit the state they meet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorruptEffect {
    /// The record ends inside an effect.
    #[error("failed to read effect at byte {at}: the record ends early")]
    Truncated {
        /// Where reading stopped.
        at: usize,
    },
    /// An effect this version does not know.
    #[error("failed to read effect at byte {at}: unknown operation {op}")]
    UnknownOp {
        /// Where the effect starts.
        at: usize,
        /// Its first byte.
        op: u8,
    },
    /// An operand outside its range.
    #[error("failed to read effect at byte {at}: {what} is out of range")]
    BadOperand {
        /// Where the operand ends.
        at: usize,
        /// Which operand.
        what: &'static str,
    },
    /// The effect does not fit the value it meets.
    #[error("failed to apply {op:?} at byte {at}: the key does not hold what it changes")]
    Misfit {
        /// Where the effect ends.
        at: usize,
        /// What it does.
        op: Op,
    },
}

/// Operation, database and key of an effect.
pub type Head<'a> = (Op, u16, &'a [u8]);

/// Reads effects one after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    from: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads the effects of one record.
    pub fn new(from: &'a [u8]) -> Self {
        Self { from, at: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.at
    }

    fn truncated(&self) -> CorruptEffect {
        CorruptEffect::Truncated { at: self.at }
    }

    /// An error about the operand just read.
    pub fn bad(&self, what: &'static str) -> CorruptEffect {
        CorruptEffect::BadOperand { at: self.at, what }
    }

    /// Operation, database and key of the next effect; none at the end.
    pub fn next_effect(&mut self) -> Result<Option<Head<'a>>, CorruptEffect> {
        let Some(byte) = self.from.get(self.at).copied() else { return Ok(None) };
        let op = Op::from_byte(byte).ok_or(CorruptEffect::UnknownOp { at: self.at, op: byte })?;
        self.at += 1;
        let db = self.database()?;
        Ok(Some((op, db, self.bytes()?)))
    }

    /// A database number.
    pub fn database(&mut self) -> Result<u16, CorruptEffect> {
        u16::try_from(self.number()?).map_err(|_| self.bad("database"))
    }

    /// A number.
    pub fn number(&mut self) -> Result<u64, CorruptEffect> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.bad("number"))
    }

    /// A number used as index or count.
    pub fn index(&mut self) -> Result<usize, CorruptEffect> {
        usize::try_from(self.number()?).map_err(|_| self.bad("index"))
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, CorruptEffect> {
        let byte = self.from.get(self.at).copied().ok_or_else(|| self.truncated())?;
        self.at += 1;
        Ok(byte)
    }

    /// A deadline in milliseconds, or none.
    pub fn deadline(&mut self) -> Result<Option<i64>, CorruptEffect> {
        let end = self.at + 8;
        let bytes = self.from.get(self.at..end).ok_or_else(|| self.truncated())?;
        self.at = end;
        let value = bytes.iter().rev().fold(0_u64, |value, b| value << 8 | u64::from(*b)) as i64;
        Ok((value != NO_DEADLINE).then_some(value))
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], CorruptEffect> {
        let len = self.index()?;
        let end = self.at.checked_add(len).ok_or_else(|| self.truncated())?;
        let bytes = self.from.get(self.at..end).ok_or_else(|| self.truncated())?;
        self.at = end;
        Ok(bytes)
    }

    /// A count followed by that many groups of `width` byte strings.
    pub fn all(&mut self, width: usize) -> Result<Vec<&'a [u8]>, CorruptEffect> {
        let count = self.index()?.checked_mul(width).ok_or_else(|| self.bad("count"))?;
        if count > self.from.len() - self.at {
            return Err(self.truncated());
        }
        (0..count).map(|_| self.bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_read_as_they_were_written() {
        let mut record = Vec::new();
        _ = Writer::start(&mut record, Op::SetString, 300, b"key")
            .byte(1)
            .deadline(Some(-5))
            .bytes(b"value");
        Writer::start(&mut record, Op::SetAdd, 0, b"").all(2, [b"a".as_slice(), b"bc"]);
        let mut reader = Reader::new(&record);
        assert_eq!(reader.next_effect(), Ok(Some((Op::SetString, 300, b"key".as_slice()))));
        assert_eq!(reader.byte(), Ok(1));
        assert_eq!(reader.deadline(), Ok(Some(-5)));
        assert_eq!(reader.bytes(), Ok(b"value".as_slice()));
        assert_eq!(reader.next_effect(), Ok(Some((Op::SetAdd, 0, b"".as_slice()))));
        assert_eq!(reader.all(1), Ok(vec![b"a".as_slice(), b"bc"]));
        assert_eq!(reader.next_effect(), Ok(None));
    }

    #[test]
    fn every_cut_and_every_unknown_operation_is_a_typed_error() {
        let mut record = Vec::new();
        Writer::start(&mut record, Op::HashSet, 0, b"key").all(1, [b"f".as_slice(), b"v"]);
        for end in 1..record.len() {
            let mut reader = Reader::new(&record[..end]);
            let read = reader.next_effect().and_then(|_| reader.all(2));
            assert!(matches!(read, Err(CorruptEffect::Truncated { .. })), "cut at {end}");
        }
        let unknown = Reader::new(&[200]).next_effect();
        assert_eq!(unknown, Err(CorruptEffect::UnknownOp { at: 0, op: 200 }));
    }
}
