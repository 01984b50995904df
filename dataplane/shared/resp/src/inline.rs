//! Inline requests: a line of words, for people who type into a raw connection.
//!
//! Quoting follows `sdssplitargs` of Redis. Unescaped words are never longer than what was typed,
//! so they are written over it and the result is spans of the same buffer.

use memchr::memchr2;

use crate::decode::{LINE_BYTES_MAX, Parsed, ProtocolError, Span};

/// Parses one inline request at `buffer[from..]`; spans refer to the whole buffer.
pub(crate) fn parse(buffer: &mut [u8], from: usize, args: &mut Vec<Span>) -> Parsed {
    let request = &buffer[from..];
    let line_bytes = match memchr2(b'\n', 0, request) {
        // Redis looks for the end of the line with C string functions: a NUL hides it.
        Some(end) if request[end] == b'\n' => end,
        _ if request.len() > LINE_BYTES_MAX => return Parsed::Error(ProtocolError::InlineTooLong),
        _ => {
            return Parsed::Incomplete { need: request.len() + 1 };
        }
    };
    let mut end = from + line_bytes;
    if end > from && buffer[end - 1] == b'\r' {
        end -= 1;
    }
    if split_args(buffer, from, end, args) {
        Parsed::Command { consumed: line_bytes + 1 }
    } else {
        Parsed::Error(ProtocolError::UnbalancedQuotes)
    }
}

/// Splits `buffer[from..end]` into words, unescaping them in place. False: unbalanced quotes.
pub fn split_args(buffer: &mut [u8], from: usize, end: usize, args: &mut Vec<Span>) -> bool {
    let first_arg = args.len();
    let mut at = from;
    loop {
        while at < end && is_space(buffer[at]) {
            at += 1;
        }
        if at == end {
            return true;
        }
        let start = at;
        let Some((next, len)) = unescape_word(buffer, at, end) else {
            args.truncate(first_arg);
            return false;
        };
        args.push(Span { start: start as u32, len: len as u32 });
        at = next;
    }
}

/// Writes the word that begins at `start` over itself; returns where it ended and its new length.
fn unescape_word(buffer: &mut [u8], start: usize, end: usize) -> Option<(usize, usize)> {
    let (mut at, mut write) = (start, start);
    while at < end && !is_space(buffer[at]) {
        match buffer[at] {
            quote @ (b'"' | b'\'') => {
                at += 1;
                while *buffer[..end].get(at)? != quote {
                    let (byte, taken) = unescape_byte(&buffer[at..end], quote);
                    buffer[write] = byte;
                    write += 1;
                    at += taken;
                }
                at += 1;
                // A closing quote must be followed by a space or nothing at all.
                if at < end && !is_space(buffer[at]) {
                    return None;
                }
                return Some((at, write - start));
            }
            byte => {
                buffer[write] = byte;
                write += 1;
                at += 1;
            }
        }
    }
    Some((at, write - start))
}

/// One byte inside quotes, and how many bytes of input it took.
fn unescape_byte(input: &[u8], quote: u8) -> (u8, usize) {
    match (quote, input) {
        (b'\'', [b'\\', b'\'', ..]) => (b'\'', 2),
        (b'"', [b'\\', b'x', high, low, ..])
            if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
        {
            (hex(*high) << 4 | hex(*low), 4)
        }
        (b'"', [b'\\', escaped, ..]) => {
            let byte = match escaped {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'a' => 7,
                other => *other,
            };
            (byte, 2)
        }
        _ => (input[0], 1),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// C `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Option<Vec<Vec<u8>>> {
        let mut buffer = line.as_bytes().to_vec();
        let end = buffer.len();
        let mut args = vec![];
        split_args(&mut buffer, 0, end, &mut args)
            .then(|| args.iter().map(|s| s.of(&buffer).to_vec()).collect())
    }

    #[test]
    fn words_are_split_at_spaces() {
        assert_eq!(
            split("  set  a\tb "),
            Some(vec![b"set".to_vec(), b"a".to_vec(), b"b".to_vec()])
        );
        assert_eq!(split("   "), Some(vec![]));
    }

    #[test]
    fn quotes_keep_spaces_and_escapes() {
        assert_eq!(split(r#""a b" 'c d'"#), Some(vec![b"a b".to_vec(), b"c d".to_vec()]));
        assert_eq!(split(r#""\x41\n\"\q""#), Some(vec![b"A\n\"q".to_vec()]));
        assert_eq!(split(r"'it\'s \n'"), Some(vec![br"it's \n".to_vec()]));
        assert_eq!(split(r#"pre"fix""#), Some(vec![b"prefix".to_vec()]));
        assert_eq!(split(r#""""#), Some(vec![b"".to_vec()]));
        assert_eq!(split(r#""\x4""#), Some(vec![b"x4".to_vec()]));
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#""abc"#, "'abc", r#""abc"d"#, "'a'b", r#""abc\"#, r#"a "b c"#] {
            assert_eq!(split(line), None, "{line}");
        }
    }
}
