//! The primitive types of the Kafka protocol, in the way of the versions without tagged fields: big
//! endian numbers, strings with a length of two bytes, arrays and bytes with one of four.

/// An answer that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Writes a request.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn flag(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }

    pub(crate) fn i8(mut self, value: i8) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn i16(mut self, value: i16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn i32(mut self, value: i32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub(crate) fn i64(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Strings of this program are short: names and settings.
    pub(crate) fn string(self, text: &str) -> Self {
        let mut this = self.i16(text.len() as i16);
        this.0.extend_from_slice(text.as_bytes());
        this
    }

    pub(crate) fn no_string(self) -> Self {
        self.i16(-1)
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let mut this = self.i32(bytes.len() as i32);
        this.0.extend_from_slice(bytes);
        this
    }

    /// Bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// Reads an answer.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn string(&mut self) -> Result<String, Malformed> {
        self.optional_string()?.ok_or(Malformed)
    }

    pub(crate) fn optional_string(&mut self) -> Result<Option<String>, Malformed> {
        let Ok(length) = usize::try_from(self.i16()?) else { return Ok(None) };
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| Malformed)?;
        Ok(Some(text.to_owned()))
    }

    /// No bytes at all are read as none.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let Ok(length) = usize::try_from(self.i32()?) else { return Ok(&[]) };
        self.take(length)
    }

    /// An array, each of whose items `item` reads.
    pub(crate) fn items<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let mut items = vec![];
        // Each takes a byte at least, so that a wrong number ends where the answer does.
        for _ in 0..self.i32()?.max(0) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// The only partition of the only topic, which `read` reads behind its number.
    pub(crate) fn partition<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        let topics = self.items(|reader| {
            reader.string()?;
            reader.items(|reader| {
                reader.i32()?;
                read(reader)
            })
        })?;
        topics.into_iter().flatten().next().ok_or(Malformed)
    }

    /// A number of variable length, the sign in its last bit.
    pub(crate) fn varint(&mut self) -> Result<i64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(Malformed)
    }
}

/// Appends a number of variable length, the sign in its last bit.
pub(crate) fn put_varint(into: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)) as u64;
    while left >= 0x80 {
        into.push(left as u8 | 0x80);
        left >>= 7;
    }
    into.push(left as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = Writer::default()
            .flag(true)
            .i8(-2)
            .i16(300)
            .i32(-70_000)
            .i64(1 << 40)
            .string("topic")
            .no_string()
            .bytes(b"abc")
            .into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.i8(), reader.i8(), reader.i16()), (Ok(1), Ok(-2), Ok(300)));
        assert_eq!((reader.i32(), reader.i64()), (Ok(-70_000), Ok(1 << 40)));
        assert_eq!(reader.string().as_deref(), Ok("topic"));
        assert_eq!(reader.optional_string(), Ok(None));
        assert_eq!(reader.bytes(), Ok(b"abc".as_slice()));
        assert!(reader.is_empty() && reader.i8() == Err(Malformed));
    }

    proptest::proptest! {
        #[test]
        fn numbers_of_variable_length_come_back(number: i64) {
            let mut bytes = vec![];
            put_varint(&mut bytes, number);
            let mut reader = Reader::new(&bytes);
            proptest::prop_assert_eq!(reader.varint(), Ok(number));
            proptest::prop_assert!(reader.is_empty());
        }

        #[test]
        fn no_answer_makes_the_reader_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.items(Reader::optional_string);
            let _ = reader.partition(Reader::i64);
            let _ = reader.varint();
        }
    }
}
