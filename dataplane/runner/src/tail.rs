//! The end of what a command writes, in bounded memory.

use std::collections::VecDeque;

/// Bytes that are kept.
pub(crate) const TAIL_BYTES: usize = 4 << 10;

/// The newest bytes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    kept: VecDeque<u8>,
    is_cut: bool,
}

impl Tail {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let newest = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let over = (self.kept.len() + newest.len()).saturating_sub(TAIL_BYTES);
        self.is_cut |= over > 0 || newest.len() < bytes.len();
        self.kept.drain(..over);
        self.kept.extend(newest);
    }

    /// The bytes as text, without a character that was cut in two and white space at the end.
    pub(crate) fn text(&self) -> String {
        let (first, second) = self.kept.as_slices();
        let mut bytes = [first, second].concat();
        if self.is_cut {
            // Bytes that go on with a character, of which there are three at most.
            let goes_on = bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
            bytes.drain(..goes_on);
        }
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_bytes_are_kept_and_no_more() {
        let mut tail = Tail::default();
        for number in 0..10_000 {
            tail.push(format!("{number}\n").as_bytes());
            assert!(tail.kept.len() <= TAIL_BYTES);
        }
        assert!(tail.text().ends_with("9998\n9999"));
        tail.push(&[b'x'; 3 * TAIL_BYTES]);
        assert_eq!(tail.text(), "x".repeat(TAIL_BYTES));
    }

    #[test]
    fn a_character_that_was_cut_in_two_is_left_out() {
        let mut tail = Tail::default();
        tail.push("é".repeat(TAIL_BYTES).as_bytes());
        tail.push(b"!");
        let text = tail.text();
        assert!(text.starts_with('é') && text.ends_with("é!") && !text.contains('\u{fffd}'));
        let mut tail = Tail::default();
        tail.push(b"\xff ok \n\n");
        assert_eq!(tail.text(), "\u{fffd} ok");
    }
}
