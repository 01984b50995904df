//! The request parser: one command at a time, in place, resumable.
//!
//! Arguments come out as [`Span`]s of the caller's buffer; nothing is copied and nothing is
//! allocated per argument. When a request is not complete the decoder remembers how far it got, so
//! that a bulk of megabytes arriving in small pieces is never scanned twice.
//!
//! Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>; limits and error texts
//! follow `networking.c` of Redis 7.0.

use memchr::memchr;
use thiserror::Error;

use crate::inline;

/// Longest line that announces a count, and longest inline request, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;
const UNAUTHENTICATED_ARGS_MAX: i64 = 10;
const UNAUTHENTICATED_BULK_BYTES_MAX: i64 = 16 * 1024;

/// One argument: a range of the buffer given to [`Decoder::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The bytes of this argument in the buffer it was parsed from.
    #[inline]
    pub fn of<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.start as usize..self.start as usize + self.len as usize]
    }
}

/// What a client may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most arguments of one command.
    pub args_max: i64,
    /// Longest argument in bytes; must stay below 4 GiB.
    pub bulk_bytes_max: i64,
    /// Before authentication a request is limited to 10 arguments of 16 KiB.
    pub authenticated: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { args_max: 1_048_576, bulk_bytes_max: 512 * 1024 * 1024, authenticated: true }
    }
}

/// A request that breaks the protocol; the connection cannot be understood any further.
/// The text is what follows `-ERR ` in the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProtocolError {
    #[error("Protocol error: too big mbulk count string")]
    CountLineTooLong,
    #[error("Protocol error: too big bulk count string")]
    BulkLineTooLong,
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedCount,
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    #[error("Protocol error: expected '$', got '{}'", *.0 as char)]
    ExpectedBulk(u8),
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
}

/// What [`Decoder::parse`] found at the front of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A whole request; its arguments are in `args`. No arguments: an empty request, to be skipped.
    Command { consumed: usize },
    /// The request is not whole yet. At least `need` bytes, counted from the start of the request,
    /// must be in the buffer before another call can get any further.
    Incomplete { need: usize },
    /// The request is malformed.
    Error(ProtocolError),
}

/// The parser of one connection: where an incomplete request left off.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes of the request that were understood already.
    at: usize,
    /// Arguments still to come; 0 = between requests.
    missing: u32,
    /// Announced length of the argument at `at`.
    bulk: Option<u32>,
    /// Arguments found so far of an incomplete request; empty (and unallocated) otherwise.
    found: Vec<Span>,
}

impl Decoder {
    /// True when no request is half read.
    pub fn is_idle(&self) -> bool {
        self.at == 0 && self.missing == 0
    }

    /// Bytes this decoder holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.found.capacity() * size_of::<Span>()
    }

    /// Parses one request at `buffer[from..]` and appends its arguments to `args` as spans of the
    /// whole `buffer`.
    ///
    /// After [`Parsed::Incomplete`] call again with the same bytes and more behind them; the
    /// request may have moved to another `from`. Inline requests with quotes are unescaped in
    /// place, which is why the buffer is mutable.
    pub fn parse(
        &mut self,
        buffer: &mut [u8],
        from: usize,
        limits: &Limits,
        args: &mut Vec<Span>,
    ) -> Parsed {
        let result = self.parse_request(buffer, from, limits, args);
        if !matches!(result, Parsed::Incomplete { .. }) {
            self.at = 0;
            self.missing = 0;
            self.bulk = None;
        }
        result
    }

    fn parse_request(
        &mut self,
        buffer: &mut [u8],
        from: usize,
        limits: &Limits,
        args: &mut Vec<Span>,
    ) -> Parsed {
        let first_arg = args.len();
        if self.missing == 0 {
            match buffer.get(from) {
                None => return Parsed::Incomplete { need: 1 },
                Some(b'*') => {}
                Some(_) => return inline::parse(buffer, from, args),
            }
            match read_count(&buffer[from..], limits) {
                Ok(Some((0, line_bytes))) => {
                    return Parsed::Command { consumed: line_bytes };
                }
                Ok(Some((count, line_bytes))) => {
                    self.missing = count;
                    self.at = line_bytes;
                }
                Ok(None) => {
                    return Parsed::Incomplete { need: buffer.len() - from + 1 };
                }
                Err(error) => return Parsed::Error(error),
            }
        } else if !self.found.is_empty() {
            // Spans were kept relative to the request, which may have moved since.
            let base = from as u32;
            args.extend(self.found.iter().map(|s| Span { start: s.start + base, len: s.len }));
            self.found.clear();
        }
        match self.parse_args(&buffer[from..], from as u32, limits, args) {
            Ok(None) => Parsed::Command { consumed: self.at },
            Ok(Some(need)) => {
                self.keep(args, first_arg, from as u32);
                Parsed::Incomplete { need }
            }
            Err(error) => {
                args.truncate(first_arg);
                Parsed::Error(error)
            }
        }
    }

    /// Reads arguments until none is missing (`None`) or bytes run out (`Some(bytes needed)`).
    fn parse_args(
        &mut self,
        request: &[u8],
        base: u32,
        limits: &Limits,
        args: &mut Vec<Span>,
    ) -> Result<Option<usize>, ProtocolError> {
        while self.missing > 0 {
            let len = if let Some(len) = self.bulk {
                len
            } else {
                let Some((len, line_bytes)) = read_bulk_length(&request[self.at..], limits)? else {
                    return Ok(Some(request.len() + 1));
                };
                self.at += line_bytes;
                self.bulk = Some(len);
                len
            };
            let end = self.at + len as usize + 2;
            if request.len() < end {
                return Ok(Some(end));
            }
            args.push(Span { start: base + self.at as u32, len });
            self.at = end;
            self.bulk = None;
            self.missing -= 1;
        }
        if self.found.capacity() > 0 {
            self.found = Vec::new();
        }
        Ok(None)
    }

    /// Takes the arguments of the incomplete request back out of the caller's list.
    fn keep(&mut self, args: &mut Vec<Span>, first_arg: usize, base: u32) {
        if first_arg == 0 && args.len() > 1024 {
            // Long lists change hands instead of being copied for every piece that arrives.
            std::mem::swap(&mut self.found, args);
            args.clear();
            if base > 0 {
                self.found.iter_mut().for_each(|s| s.start -= base);
            }
            return;
        }
        let found = args.drain(first_arg..);
        self.found.extend(found.map(|s| Span { start: s.start - base, len: s.len }));
    }
}

/// The `*<count>\r\n` line: count and bytes of the line. A count of zero or less means an empty
/// request, as in Redis.
fn read_count(request: &[u8], limits: &Limits) -> Result<Option<(u32, usize)>, ProtocolError> {
    let Some((digits, line_bytes)) = read_line(request, ProtocolError::CountLineTooLong)? else {
        return Ok(None);
    };
    let count = parse_i64(digits).ok_or(ProtocolError::InvalidCount)?;
    if count > limits.args_max {
        return Err(ProtocolError::InvalidCount);
    }
    if count > UNAUTHENTICATED_ARGS_MAX && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedCount);
    }
    Ok(Some((count.max(0) as u32, line_bytes)))
}

/// The `$<length>\r\n` line: length and bytes of the line.
#[inline]
fn read_bulk_length(
    request: &[u8],
    limits: &Limits,
) -> Result<Option<(u32, usize)>, ProtocolError> {
    // Nearly every argument is shorter than 100 bytes: one or two digits.
    match *request {
        [b'$', a @ b'0'..=b'9', b'\r', _, ..] => return Ok(Some((u32::from(a - b'0'), 4))),
        [b'$', a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => {
            return Ok(Some((u32::from(a - b'0') * 10 + u32::from(b - b'0'), 5)));
        }
        _ => {}
    }
    let Some((digits, line_bytes)) = read_line(request, ProtocolError::BulkLineTooLong)? else {
        return Ok(None);
    };
    if request[0] != b'$' {
        return Err(ProtocolError::ExpectedBulk(request[0]));
    }
    let len = parse_i64(digits).ok_or(ProtocolError::InvalidBulkLength)?;
    if len < 0 || len > limits.bulk_bytes_max {
        return Err(ProtocolError::InvalidBulkLength);
    }
    if len > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    Ok(Some((len as u32, line_bytes)))
}

/// A line without its first byte and its end, and the bytes it takes with both.
fn read_line(
    request: &[u8],
    too_long: ProtocolError,
) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    let window = &request[..request.len().min(LINE_BYTES_MAX + 1)];
    match memchr(b'\r', window) {
        // The byte behind `\r` is taken for `\n` unseen, as Redis does.
        Some(end) if end + 1 < request.len() => {
            Ok(Some((request.get(1..end).unwrap_or(b""), end + 2)))
        }
        None if window.len() > LINE_BYTES_MAX => Err(too_long),
        _ => Ok(None),
    }
}

/// A decimal as Redis' `string2ll` takes it: no plus sign, no leading zeros, no spaces.
fn parse_i64(digits: &[u8]) -> Option<i64> {
    let (negative, digits) = match digits {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [] | [b'0', ..] => return None,
        _ if digits.len() > 19 => return None,
        _ => {}
    }
    let mut value: u64 = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse_all(input: &[u8], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        feed(&[input], limits)
    }

    /// Feeds pieces one after another, as a connection would: consumed bytes leave the buffer.
    fn feed(pieces: &[&[u8]], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let (mut buffer, mut decoder, mut commands) = (Vec::new(), Decoder::default(), vec![]);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            let mut from = 0;
            loop {
                let mut args = vec![];
                match decoder.parse(&mut buffer, from, limits, &mut args) {
                    Parsed::Command { consumed } => {
                        assert!(consumed > 0);
                        from += consumed;
                        if !args.is_empty() {
                            commands.push(args.iter().map(|s| s.of(&buffer).to_vec()).collect());
                        }
                    }
                    Parsed::Incomplete { need } => {
                        assert!(need > buffer.len() - from);
                        assert!(args.is_empty());
                        break;
                    }
                    Parsed::Error(error) => return (commands, Some(error)),
                }
            }
            buffer.drain(..from);
        }
        (commands, None)
    }

    fn error_of(input: &[u8]) -> String {
        parse_all(input, &Limits::default()).1.expect("an error").to_string()
    }

    fn encode(commands: &[Vec<Vec<u8>>]) -> Vec<u8> {
        let mut out = vec![];
        for command in commands {
            out.extend_from_slice(format!("*{}\r\n", command.len()).as_bytes());
            for arg in command {
                out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                out.extend_from_slice(arg);
                out.extend_from_slice(b"\r\n");
            }
        }
        out
    }

    #[test]
    fn pipelined_commands_come_out_in_order() {
        let (commands, error) = parse_all(
            b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$12\r\nhello world!\r\nGET a\r\n",
            &Limits::default(),
        );
        assert_eq!(error, None);
        assert_eq!(commands.len(), 3);
        assert_eq!(commands[1], vec![b"ECHO".to_vec(), b"hello world!".to_vec()]);
        assert_eq!(commands[2], vec![b"GET".to_vec(), b"a".to_vec()]);
    }

    #[test]
    fn empty_requests_are_skipped() {
        let (commands, error) = parse_all(b"\r\n*0\r\n*-5\r\n\nPING\r\n", &Limits::default());
        assert_eq!(error, None);
        assert_eq!(commands, vec![vec![b"PING".to_vec()]]);
    }

    #[test]
    fn error_texts_are_those_of_redis() {
        assert_eq!(error_of(b"*x\r\n"), "Protocol error: invalid multibulk length");
        assert_eq!(error_of(b"*3000000000\r\n"), "Protocol error: invalid multibulk length");
        assert_eq!(
            error_of(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\nfooz\r\n"),
            "Protocol error: expected '$', got 'f'"
        );
        assert_eq!(error_of(b"*1\r\n$-10\r\n"), "Protocol error: invalid bulk length");
        assert_eq!(error_of(b"*1\r\n$2000000000\r\n"), "Protocol error: invalid bulk length");
        assert_eq!(error_of(b"*1\r\n$blabla\r\n"), "Protocol error: invalid bulk length");
        assert_eq!(error_of(b"set \"x\"y\r\n"), "Protocol error: unbalanced quotes in request");
        let long = vec![b'1'; LINE_BYTES_MAX + 1];
        assert_eq!(
            error_of(&[b"*", &long[..]].concat()),
            "Protocol error: too big mbulk count string"
        );
        assert_eq!(
            error_of(&[b"*1\r\n$", &long[..]].concat()),
            "Protocol error: too big bulk count string"
        );
        assert_eq!(error_of(&[b"x", &long[..]].concat()), "Protocol error: too big inline request");
    }

    #[test]
    fn before_authentication_requests_are_small() {
        let limits = Limits { authenticated: false, ..Limits::default() };
        let error = |input: &[u8]| parse_all(input, &limits).1.expect("an error").to_string();
        assert_eq!(error(b"*11\r\n"), "Protocol error: unauthenticated multibulk length");
        assert_eq!(error(b"*1\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length");
        assert_eq!(parse_all(b"*10\r\n$16384\r\n", &limits).1, None);
    }

    #[test]
    fn an_announced_gigabyte_reserves_nothing() {
        let mut decoder = Decoder::default();
        let mut args = vec![];
        let mut buffer = b"*1048576\r\n$536870912\r\nabc".to_vec();
        let parsed = decoder.parse(&mut buffer, 0, &Limits::default(), &mut args);
        assert_eq!(parsed, Parsed::Incomplete { need: 10 + 12 + 536_870_912 + 2 });
        assert_eq!(args.capacity(), 0);
        assert_eq!(decoder.heap_bytes(), 0);
    }

    #[test]
    fn numbers_are_read_as_strictly_as_redis_does() {
        for (text, value) in [("0", Some(0)), ("-1", Some(-1)), ("12", Some(12)), ("-0", None)] {
            assert_eq!(parse_i64(text.as_bytes()), value, "{text}");
        }
        for text in ["", "-", "01", "+1", " 1", "1 ", "9223372036854775808", "1x"] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
    }

    proptest! {
        #[test]
        fn splitting_anywhere_changes_nothing(
            commands in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 1..5), 1..5),
            inline in "[a-z]{1,8}( [a-z\"']{1,8}){0,3}",
        ) {
            let mut input = encode(&commands);
            input.extend_from_slice(inline.as_bytes());
            input.extend_from_slice(b"\r\n");
            let whole = parse_all(&input, &Limits::default());
            for at in 0..=input.len() {
                let split = feed(&[&input[..at], &input[at..]], &Limits::default());
                prop_assert_eq!(&split, &whole, "split at {}", at);
            }
            let bytes: Vec<&[u8]> = input.chunks(1).collect();
            prop_assert_eq!(feed(&bytes, &Limits::default()), whole);
        }

        #[test]
        fn random_bytes_never_panic(
            input in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(b"*$\r\n0123456789-\"'\\x".to_vec())],
                0..400),
            authenticated: bool,
        ) {
            let limits = Limits { authenticated, ..Limits::default() };
            let whole = parse_all(&input, &limits);
            let bytes: Vec<&[u8]> = input.chunks(3).collect();
            prop_assert_eq!(feed(&bytes, &limits), whole);
        }
    }
}
