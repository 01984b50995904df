//! Lines: one for each writer, and what leads to the end of one.
//!
//! A journal whose writer is replaced by another, under a higher epoch, goes on in a line of its own:
//! its objects have the epoch in their names. What it goes on from stands in `lines/<epoch>.json`,
//! which is put before the first of them and never changed:
//!
//! | field | meaning |
//! |---|---|
//! | `epoch` | of the line, as in its name |
//! | `member` | name of the process that writes it |
//! | `begins` | last position of its journal when its writer began |
//! | `history` | which positions up to there have which epoch; the engine's own text |
//! | `after` | the lines it goes on from, each up to the position `until`; `line` 0: names without an epoch |
//!
//! A reader takes the newest line, and of each line in `after` what is not behind `until`. So what an
//! earlier writer puts later, because it was paused or cut off, is either part of the common history or
//! ignored.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ArchiveError, FIRST_LINE, GroupName, SnapshotName, name};

/// Lines that one may go on from.
const AFTER_MAX: usize = 1 << 16;

/// A line up to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    pub line: u64,
    pub until: u64,
}

/// What is said of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub epoch: u64,
    pub member: String,
    pub begins: u64,
    pub history: String,
    pub after: Vec<Stretch>,
}

impl Line {
    pub(crate) fn encode(&self) -> Bytes {
        let json = serde_json::to_vec(self);
        json.expect("a line has string keys and plain values only").into()
    }

    pub(crate) fn decode(epoch: u64, object: &[u8]) -> Result<Self, ArchiveError> {
        let damaged = |reason| ArchiveError::damaged(&name::line_name(epoch), reason);
        let line: Self = serde_json::from_slice(object).map_err(|_| damaged("it is no line"))?;
        let is_earlier = |stretch: &Stretch| stretch.line < epoch && stretch.until > 0;
        if line.epoch != epoch || line.after.len() > AFTER_MAX || !line.after.iter().all(is_earlier)
        {
            return Err(damaged("it is not what its name says"));
        }
        Ok(line)
    }

    /// What a line goes on from that shares this one's history up to `until`.
    pub fn shared(&self, until: u64) -> Vec<Stretch> {
        let own = Stretch { line: self.epoch, until };
        let cut = |stretch: &Stretch| Stretch { until: stretch.until.min(until), ..*stretch };
        let all = self.after.iter().map(cut).chain([own]);
        all.filter(|stretch| stretch.until > 0).collect()
    }
}

/// What belongs to one line, of everything in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    line: u64,
    after: BTreeMap<u64, u64>,
}

/// Records of one object that belong to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    pub first: u64,
    pub last: u64,
    /// The object; it may hold more.
    pub name: GroupName,
}

impl Piece {
    /// The latest of its times; `None` when that may be the time of a record that does not belong
    /// to it.
    pub(crate) fn latest_us(&self) -> Option<i64> {
        (self.last == self.name.last).then_some(self.name.latest_us)
    }
}

impl From<GroupName> for Piece {
    fn from(name: GroupName) -> Self {
        Self { first: name.first, last: name.last, name }
    }
}

impl View {
    /// Of a journal that never had another writer.
    pub fn first() -> Self {
        Self { line: FIRST_LINE, after: BTreeMap::new() }
    }

    /// Of a line.
    pub fn of(line: &Line) -> Self {
        let after = line.after.iter().map(|stretch| (stretch.line, stretch.until)).collect();
        Self { line: line.epoch, after }
    }

    /// The epoch whose line it is.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Up to where another line's objects belong to it.
    fn until(&self, line: u64) -> u64 {
        if line == self.line { u64::MAX } else { self.after.get(&line).copied().unwrap_or(0) }
    }

    /// What belongs to it of objects, by position.
    pub fn pieces(&self, groups: impl IntoIterator<Item = GroupName>) -> Vec<Piece> {
        let cut = |name: GroupName| {
            let last = name.last.min(self.until(name.line));
            (name.first <= last).then_some(Piece { first: name.first, last, name })
        };
        let mut pieces: Vec<Piece> = groups.into_iter().filter_map(cut).collect();
        pieces.sort_unstable();
        pieces
    }

    /// The snapshots that belong to it.
    pub fn snapshots(&self, snapshots: &[SnapshotName]) -> Vec<SnapshotName> {
        let belongs = |snapshot: &&SnapshotName| snapshot.position <= self.until(snapshot.line);
        snapshots.iter().filter(belongs).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        let after = vec![Stretch { line: 0, until: 10 }, Stretch { line: 3, until: 15 }];
        Line { epoch: 5, member: "kv-1".into(), begins: 15, history: "11:3".into(), after }
    }

    fn group(first: u64, last: u64, line: u64) -> GroupName {
        GroupName { first, last, earliest_us: first as i64, latest_us: last as i64, line }
    }

    #[test]
    fn a_line_is_written_as_the_documentation_says_and_read_back() {
        let text = r#"{"epoch":5,"member":"kv-1","begins":15,"history":"11:3","after":[{"line":0,"until":10},{"line":3,"until":15}]}"#;
        assert_eq!(line().encode(), text.as_bytes());
        assert_eq!(Line::decode(5, text.as_bytes()).expect("it is whole"), line());
        for damaged in [text.replace(":5,", ":6,"), text.replace("10}", "0}"), "{}".into()] {
            let read = Line::decode(5, damaged.as_bytes());
            assert!(matches!(read, Err(ArchiveError::Damaged { .. })), "{damaged}");
        }
        let later = text.replace(r#""line":3"#, r#""line":5"#);
        assert!(Line::decode(5, later.as_bytes()).is_err(), "no line goes on from itself");
    }

    #[test]
    fn what_a_paused_writer_puts_behind_the_fork_does_not_belong_to_the_line() {
        let view = View::of(&line());
        let groups = [
            group(1, 10, 0),
            group(11, 20, 3),
            group(14, 14, 3),
            group(16, 30, 3),
            group(11, 12, 4),
            group(16, 18, 5),
        ];
        let found: Vec<_> =
            view.pieces(groups).iter().map(|p| (p.first, p.last, p.name.line)).collect();
        assert_eq!(found, [(1, 10, 0), (11, 15, 3), (14, 14, 3), (16, 18, 5)]);
        let of = |position, line| SnapshotName { position, time_us: 1, line };
        let all = [of(10, 0), of(11, 0), of(15, 3), of(16, 3), of(12, 4), of(40, 5)];
        assert_eq!(view.snapshots(&all), [of(10, 0), of(15, 3), of(40, 5)]);
    }

    #[test]
    fn the_next_line_shares_no_more_than_was_common() {
        let stretch = |line, until| Stretch { line, until };
        assert_eq!(line().shared(30), [stretch(0, 10), stretch(3, 15), stretch(5, 30)]);
        assert_eq!(line().shared(12), [stretch(0, 10), stretch(3, 12), stretch(5, 12)]);
        assert_eq!(line().shared(0), []);
    }
}
