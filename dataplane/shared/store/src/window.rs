//! Which keys changed lately, and when: what the conditions `Key` and `Range` are checked against.
//!
//! It is bounded. What it forgot raises `floor`, and a read older than that is a conflict: it must
//! never answer that something is unchanged without knowing.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::Options;
use crate::row::bounds;

#[derive(Debug)]
pub(crate) struct Window {
    last: BTreeMap<Bytes, u64>,
    /// The same changes, oldest first; keys written again appear again.
    order: VecDeque<(u64, Bytes)>,
    key_bytes: usize,
    /// Changes up to this version may have been forgotten.
    floor: u64,
    changes_max: usize,
    bytes_max: usize,
}

impl Window {
    /// Begins behind `version`: of anything before it nothing is known.
    pub(crate) fn new(version: u64, options: &Options) -> Self {
        Self {
            last: BTreeMap::new(),
            order: VecDeque::new(),
            key_bytes: 0,
            floor: version,
            changes_max: options.window_changes_max,
            bytes_max: options.window_bytes_max,
        }
    }

    /// Remembers that `version`, the newest, wrote `key`.
    pub(crate) fn changed(&mut self, key: &Bytes, version: u64) {
        self.key_bytes += key.len();
        self.order.push_back((version, key.clone()));
        self.last.insert(key.clone(), version);
        while self.order.len() > self.changes_max || self.key_bytes > self.bytes_max {
            let Some((forgotten, key)) = self.order.pop_front() else { break };
            self.key_bytes -= key.len();
            self.floor = forgotten;
            if self.last.get(&key) == Some(&forgotten) {
                self.last.remove(&key);
            }
        }
    }

    /// Whether it is certain that nobody wrote `key` after `read`.
    pub(crate) fn key_unchanged(&self, key: &[u8], read: u64) -> bool {
        read >= self.floor && self.last.get(key).is_none_or(|last| *last <= read)
    }

    /// Whether it is certain that nobody wrote in `[from, to)` after `read`.
    pub(crate) fn range_unchanged(&self, from: &[u8], to: &[u8], read: u64) -> bool {
        let Some(range) = bounds(from, to) else { return true };
        read >= self.floor && self.last.range::<[u8], _>(range).all(|(_, last)| *last <= read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_forgotten_is_a_conflict() {
        let options = Options { window_changes_max: 2, ..Options::default() };
        let mut window = Window::new(10, &options);
        assert!(!window.key_unchanged(b"a", 9), "before the window nothing is known");
        assert!(window.key_unchanged(b"a", 10));
        for (version, key) in [(11, "a"), (12, "b"), (13, "c")] {
            window.changed(&Bytes::from(key), version);
        }
        assert!(!window.key_unchanged(b"a", 10), "the write of version 11 was forgotten");
        assert!(!window.range_unchanged(b"x", b"z", 10));
        assert!(window.key_unchanged(b"a", 11));
        assert!(!window.key_unchanged(b"b", 11));
        assert!(!window.range_unchanged(b"b", b"c", 11));
        assert!(window.range_unchanged(b"b", b"c", 12));
        assert!(!window.range_unchanged(b"b", b"", 12));
    }

    #[test]
    fn a_key_written_again_is_kept_with_its_last_version() {
        let options = Options { window_changes_max: 2, ..Options::default() };
        let mut window = Window::new(0, &options);
        for version in 1..=3 {
            window.changed(&Bytes::from("a"), version);
        }
        assert!(!window.key_unchanged(b"a", 2));
        assert!(window.key_unchanged(b"a", 3));
        assert_eq!(window.last.len(), 1);
    }

    #[test]
    fn long_keys_count_by_their_bytes() {
        let options = Options { window_bytes_max: 10, ..Options::default() };
        let mut window = Window::new(0, &options);
        window.changed(&Bytes::from("12345678"), 1);
        window.changed(&Bytes::from("87654321"), 2);
        assert_eq!((window.floor, window.key_bytes), (1, 8));
    }
}
