//! The reply writer: appends replies in protocol version 2 or 3 to one growable buffer.
//!
//! Types that version 2 lacks are written the way Redis writes them there: maps as flat arrays,
//! doubles as bulk strings, booleans as integers, attributes not at all.

use crate::double::write_g17;

/// The protocol version a client asked for with `HELLO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Proto {
    #[default]
    Resp2,
    Resp3,
}

/// Where an aggregate of unknown length began; see [`Reply::defer`].
#[derive(Debug)]
#[must_use = "a deferred length must be finished, or the reply has no header"]
pub struct Deferred {
    at: usize,
}

/// Replies in the making.
#[derive(Debug, Default)]
pub struct Reply {
    buffer: Vec<u8>,
    proto: Proto,
}

impl Reply {
    /// An empty buffer for the given version.
    pub fn new(proto: Proto) -> Self {
        Self { buffer: Vec::new(), proto }
    }

    /// Continues a buffer that may hold replies already.
    pub fn with_buffer(proto: Proto, buffer: Vec<u8>) -> Self {
        Self { buffer, proto }
    }

    /// The version replies are written in.
    #[inline]
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// Changes the version of what is written from now on.
    pub fn set_proto(&mut self, proto: Proto) {
        self.proto = proto;
    }

    /// Bytes written so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// True when nothing was written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Everything written so far.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The buffer itself, for the one who sends it.
    pub fn buffer_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Takes the buffer and leaves an empty one.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Forgets everything behind the first `len` bytes: a reply that is replaced by an error.
    pub fn truncate(&mut self, len: usize) {
        self.buffer.truncate(len);
    }

    /// Appends bytes that are a reply already.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A status; it must not hold line breaks.
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']));
        self.line(b'+', text.as_bytes());
    }

    /// An error with its code first (`ERR syntax error`); line breaks become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        let line_break = |b: &u8| matches!(b, b'\r' | b'\n');
        let mut text = text.as_ref();
        while let [rest @ .., b'\r' | b'\n'] = text {
            text = rest;
        }
        self.buffer.push(b'-');
        self.buffer.extend(text.iter().map(|b| if line_break(b) { b' ' } else { *b }));
        self.raw(b"\r\n");
    }

    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buffer.reserve(bytes.len() + 16);
        self.header(b'$', bytes.len() as i64);
        self.raw(bytes);
        self.raw(b"\r\n");
    }

    /// An integer in the form of a bulk string.
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(itoa::Buffer::new().format(value).as_bytes());
    }

    #[inline]
    pub fn null(&mut self) {
        match self.proto {
            Proto::Resp2 => self.raw(b"$-1\r\n"),
            Proto::Resp3 => self.raw(b"_\r\n"),
        }
    }

    /// The missing array of version 2; version 3 has one null for all.
    pub fn null_array(&mut self) {
        match self.proto {
            Proto::Resp2 => self.raw(b"*-1\r\n"),
            Proto::Resp3 => self.raw(b"_\r\n"),
        }
    }

    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len as i64);
    }

    /// A map of `pairs` keys, each followed by its value.
    pub fn map(&mut self, pairs: usize) {
        match self.proto {
            Proto::Resp2 => self.array(pairs * 2),
            Proto::Resp3 => self.header(b'%', pairs as i64),
        }
    }

    pub fn set(&mut self, len: usize) {
        match self.proto {
            Proto::Resp2 => self.array(len),
            Proto::Resp3 => self.header(b'~', len as i64),
        }
    }

    /// Out-of-band data; an ordinary array in version 2, as pub/sub has it there.
    pub fn push(&mut self, len: usize) {
        match self.proto {
            Proto::Resp2 => self.array(len),
            Proto::Resp3 => self.header(b'>', len as i64),
        }
    }

    /// Begins attributes of `pairs` and returns true; version 2 has none: false, and the caller
    /// must not write the pairs.
    pub fn attribute(&mut self, pairs: usize) -> bool {
        if self.proto == Proto::Resp3 {
            self.header(b'|', pairs as i64);
        }
        self.proto == Proto::Resp3
    }

    pub fn double(&mut self, value: f64) {
        match self.proto {
            Proto::Resp2 => {
                let mut text = Vec::with_capacity(24);
                write_g17(&mut text, value);
                self.bulk(&text);
            }
            Proto::Resp3 => {
                self.buffer.push(b',');
                write_g17(&mut self.buffer, value);
                self.raw(b"\r\n");
            }
        }
    }

    pub fn boolean(&mut self, value: bool) {
        match self.proto {
            Proto::Resp2 => self.integer(i64::from(value)),
            Proto::Resp3 => self.raw(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// A decimal of any size.
    pub fn big_number(&mut self, digits: &str) {
        match self.proto {
            Proto::Resp2 => self.bulk(digits.as_bytes()),
            Proto::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text for people, with its three-letter format (`txt`, `mkd`).
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.proto {
            Proto::Resp2 => self.bulk(text),
            Proto::Resp3 => {
                self.header(b'=', text.len() as i64 + 4);
                self.raw(&format);
                self.buffer.push(b':');
                self.raw(text);
                self.raw(b"\r\n");
            }
        }
    }

    /// Begins an aggregate whose length is known only at its end. Aggregates inside it must be
    /// finished before it.
    pub fn defer(&mut self) -> Deferred {
        Deferred { at: self.buffer.len() }
    }

    /// Ends a deferred array of `len` elements.
    pub fn finish_array(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, |header| header.array(len));
    }

    /// Ends a deferred map of `pairs`.
    pub fn finish_map(&mut self, deferred: Deferred, pairs: usize) {
        self.finish(deferred, |header| header.map(pairs));
    }

    /// Ends a deferred set of `len` members.
    pub fn finish_set(&mut self, deferred: Deferred, len: usize) {
        self.finish(deferred, |header| header.set(len));
    }

    #[expect(clippy::needless_pass_by_value, reason = "a length is finished once")]
    fn finish(&mut self, deferred: Deferred, write_header: impl FnOnce(&mut Self)) {
        let Deferred { at } = deferred;
        let end = self.buffer.len();
        write_header(self);
        let header_bytes = self.buffer.len() - end;
        self.buffer[at..].rotate_right(header_bytes);
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.buffer.push(kind);
        self.raw(text);
        self.raw(b"\r\n");
    }

    #[inline]
    fn header(&mut self, kind: u8, value: i64) {
        if let 0..=9 = value {
            self.raw(&[kind, b'0' + value as u8, b'\r', b'\n']);
            return;
        }
        self.buffer.push(kind);
        self.raw(itoa::Buffer::new().format(value).as_bytes());
        self.raw(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Reply)) -> (String, String) {
        let text = |proto| {
            let mut reply = Reply::new(proto);
            write(&mut reply);
            String::from_utf8(reply.take()).expect("text")
        };
        (text(Proto::Resp2), text(Proto::Resp3))
    }

    fn pair(two: &str, three: &str) -> (String, String) {
        (two.into(), three.into())
    }

    #[test]
    fn types_that_version_2_lacks_are_written_as_redis_writes_them() {
        assert_eq!(both(Reply::null), pair("$-1\r\n", "_\r\n"));
        assert_eq!(both(Reply::null_array), pair("*-1\r\n", "_\r\n"));
        assert_eq!(both(|r| r.map(3)), pair("*6\r\n", "%3\r\n"));
        assert_eq!(both(|r| r.set(12)), pair("*12\r\n", "~12\r\n"));
        assert_eq!(both(|r| r.push(2)), pair("*2\r\n", ">2\r\n"));
        assert_eq!(
            both(|r| assert_eq!(r.attribute(1), r.proto() == Proto::Resp3)),
            pair("", "|1\r\n")
        );
        assert_eq!(both(|r| r.double(3.5)), pair("$3\r\n3.5\r\n", ",3.5\r\n"));
        assert_eq!(both(|r| r.double(f64::NEG_INFINITY)), pair("$4\r\n-inf\r\n", ",-inf\r\n"));
        assert_eq!(both(|r| r.boolean(true)), pair(":1\r\n", "#t\r\n"));
        assert_eq!(both(|r| r.boolean(false)), pair(":0\r\n", "#f\r\n"));
        assert_eq!(both(|r| r.big_number("123")), pair("$3\r\n123\r\n", "(123\r\n"));
        assert_eq!(both(|r| r.verbatim(*b"txt", b"hi")), pair("$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"));
    }

    #[test]
    fn types_of_both_versions_are_the_same_in_both() {
        let same = |text: &str| pair(text, text);
        assert_eq!(both(Reply::ok), same("+OK\r\n"));
        assert_eq!(both(|r| r.integer(-1234)), same(":-1234\r\n"));
        assert_eq!(both(|r| r.integer(i64::MIN)), same(":-9223372036854775808\r\n"));
        assert_eq!(both(|r| r.bulk(b"")), same("$0\r\n\r\n"));
        assert_eq!(both(|r| r.bulk_integer(42)), same("$2\r\n42\r\n"));
        assert_eq!(both(|r| r.array(10)), same("*10\r\n"));
    }

    #[test]
    fn an_error_stays_on_one_line() {
        assert_eq!(both(|r| r.error("ERR a\r\nb \r\n")).0, "-ERR a  b \r\n");
    }

    #[test]
    fn deferred_lengths_nest() {
        let (two, _) = both(|r| {
            r.simple("before");
            let outer = r.defer();
            r.integer(1);
            let inner = r.defer();
            r.integer(2);
            r.integer(3);
            r.finish_set(inner, 2);
            r.finish_array(outer, 2);
        });
        assert_eq!(two, "+before\r\n*2\r\n:1\r\n*2\r\n:2\r\n:3\r\n");
        let (_, three) = both(|r| {
            let map = r.defer();
            r.bulk(b"k");
            r.null();
            r.finish_map(map, 1);
        });
        assert_eq!(three, "%1\r\n$1\r\nk\r\n_\r\n");
    }
}
