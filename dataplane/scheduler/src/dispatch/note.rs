//! Notes: what a target or an error said, short and safe to show.

use std::error::Error;
use std::fmt::Write as _;

/// Bytes of an answer, or of what an error says, that a note keeps.
pub(super) const NOTE_BYTES: usize = 256;

/// The first bytes of what a target answered, as text without control characters.
pub(super) fn of_bytes(bytes: &[u8]) -> String {
    let kept = &bytes[..bytes.len().min(NOTE_BYTES)];
    // A character cut in two by the limit is left out; what is no text at all is shown as such.
    let kept = match std::str::from_utf8(kept) {
        Err(error) if error.error_len().is_none() && bytes.len() > NOTE_BYTES => {
            &kept[..error.valid_up_to()]
        }
        _ => kept,
    };
    escaped(&String::from_utf8_lossy(kept))
}

/// A text in one line: control characters, and those that turn the direction of writing, escaped.
pub(super) fn escaped(text: &str) -> String {
    let mut note = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            note.extend(character.escape_default());
        } else {
            note.push(character);
        }
    }
    note
}

/// An error and its causes, each said once.
pub(super) fn of_error(error: &(dyn Error + 'static)) -> String {
    let mut note = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !note.contains(&text) {
            let separator = if note.is_empty() { "" } else { ": " };
            // Writing into a String cannot fail.
            let _ = write!(note, "{separator}{text}");
        }
        next = error.source();
    }
    of_bytes(note.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_short_and_in_one_line() {
        assert_eq!(of_bytes(b"done\r\n"), "done");
        assert_eq!(of_bytes(b"a\nb\x1b[31m\0"), "a\\nb\\u{1b}[31m\\u{0}");
        assert_eq!(of_bytes(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(of_bytes("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(of_bytes(&[b'x'; 10_000]).len(), NOTE_BYTES);
        let cut = of_bytes(format!("{}é", "x".repeat(NOTE_BYTES - 1)).as_bytes());
        assert_eq!(cut, "x".repeat(NOTE_BYTES - 1));
    }
}
