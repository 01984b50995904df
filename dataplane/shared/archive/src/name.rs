//! Names of objects: what a listing tells without reading anything.

use std::fmt;

use crate::group::RECORDS_MAX;

/// Folder of records.
pub(crate) const JOURNAL: &str = "journal";
/// Folder of manifests.
pub(crate) const SNAPSHOTS: &str = "snapshots";
/// Folder of the images they are of.
pub(crate) const IMAGES: &str = "images";

/// Folder of lines.
pub(crate) const LINES: &str = "lines";
/// The line of a journal that never had another writer; its names do not say so.
pub const FIRST_LINE: u64 = 0;

/// Records of consecutive positions. Times are microseconds since the Unix epoch; a clock may have
/// been set back, so the earliest need not be the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupName {
    pub first: u64,
    pub last: u64,
    pub earliest_us: i64,
    pub latest_us: i64,
    /// The line whose writer put it.
    pub line: u64,
}

/// What names of a line end with.
fn suffix(line: u64) -> String {
    if line == FIRST_LINE { String::new() } else { format!("-e{line}") }
}

/// The line of what [`suffix`] made.
fn parse_line(field: Option<&str>) -> Option<u64> {
    match field {
        None => Some(FIRST_LINE),
        Some(field) => field.strip_prefix('e')?.parse().ok(),
    }
}

/// The name of what is said of a line.
pub(crate) fn line_name(epoch: u64) -> String {
    format!("{LINES}/{epoch:020}.json")
}

/// Reads a name of [`line_name`]; `None` if it is no such name.
pub(crate) fn parse_line_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(LINES)?.strip_prefix('/')?.strip_suffix(".json")?;
    let epoch = digits.parse().ok()?;
    (epoch != FIRST_LINE && line_name(epoch) == name).then_some(epoch)
}

impl GroupName {
    /// Sorts before every group that can hold the record at `position` or a later one.
    pub(crate) fn before(position: u64) -> String {
        format!("{JOURNAL}/{:020}", position.saturating_sub(RECORDS_MAX))
    }

    /// Reads a name of a listing; `None` if it is no such name.
    pub fn parse(name: &str) -> Option<Self> {
        let fields = name.strip_prefix(JOURNAL)?.strip_prefix('/')?.strip_suffix(".rec")?;
        let mut fields = fields.split('-');
        let read = Self {
            first: fields.next()?.parse().ok()?,
            last: fields.next()?.parse().ok()?,
            earliest_us: fields.next()?.parse().ok()?,
            latest_us: fields.next()?.parse().ok()?,
            line: parse_line(fields.next())?,
        };
        (read.first > 0 && read.first <= read.last && read.to_string() == name).then_some(read)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, earliest_us, latest_us, line } = self;
        let suffix = suffix(*line);
        write!(f, "{JOURNAL}/{first:020}-{last:020}-{earliest_us}-{latest_us}{suffix}.rec")
    }
}

/// A snapshot of the state after the record at `position`, begun at `time_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotName {
    pub position: u64,
    pub time_us: i64,
    /// The line whose writer put it.
    pub line: u64,
}

impl SnapshotName {
    /// Reads the name of a manifest in a listing; `None` if it is no such name.
    pub fn parse(name: &str) -> Option<Self> {
        let fields = name.strip_prefix(SNAPSHOTS)?.strip_prefix('/')?.strip_suffix(".json")?;
        let mut fields = fields.split('-');
        let read = Self {
            position: fields.next()?.parse().ok()?,
            time_us: fields.next()?.parse().ok()?,
            line: parse_line(fields.next())?,
        };
        (read.to_string() == name).then_some(read)
    }

    /// The name of one of its parts.
    pub(crate) fn part(&self, number: usize) -> String {
        let suffix = suffix(self.line);
        format!("{IMAGES}/{:020}-{}{suffix}/{number:06}.part", self.position, self.time_us)
    }

    /// Position of the image that a part is of; `None` if it is no name of a part.
    pub(crate) fn position_of_part(name: &str) -> Option<u64> {
        let image = name.strip_prefix(IMAGES)?.strip_prefix('/')?;
        image.split_once('-')?.0.parse().ok()
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = suffix(self.line);
        write!(f, "{SNAPSHOTS}/{:020}-{}{suffix}.json", self.position, self.time_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_sort_as_positions_do() {
        let group = GroupName { first: 9, last: 10, earliest_us: 5, latest_us: 7, line: 0 };
        assert_eq!(GroupName::parse(&group.to_string()), Some(group));
        let later = GroupName { first: 11, ..group };
        assert!(GroupName { last: 11, ..later }.to_string() > group.to_string());
        assert!(GroupName::before(10) < group.to_string());
        let long = GroupName { first: 1, last: RECORDS_MAX, ..group };
        assert!(GroupName::before(RECORDS_MAX) < long.to_string());
        let snapshot = SnapshotName { position: 10, time_us: 7, line: 0 };
        assert_eq!(SnapshotName::parse(&snapshot.to_string()), Some(snapshot));
    }

    #[test]
    fn names_are_written_as_the_documentation_says() {
        let group = GroupName { first: 9, last: 10, earliest_us: 5, latest_us: 7, line: 0 };
        let text = "journal/00000000000000000009-00000000000000000010-5-7.rec";
        assert_eq!(group.to_string(), text);
        let of_line = GroupName { line: 12, ..group };
        assert_eq!(of_line.to_string(), text.replace(".rec", "-e12.rec"));
        assert_eq!(GroupName::parse(&of_line.to_string()), Some(of_line));
        let snapshot = SnapshotName { position: 9, time_us: 5, line: 12 };
        assert_eq!(snapshot.to_string(), "snapshots/00000000000000000009-5-e12.json");
        assert_eq!(snapshot.part(3), "images/00000000000000000009-5-e12/000003.part");
        assert_eq!(SnapshotName::parse(&snapshot.to_string()), Some(snapshot));
        assert_eq!(SnapshotName::position_of_part(&snapshot.part(3)), Some(9));
        assert_eq!(line_name(12), "lines/00000000000000000012.json");
        assert_eq!(parse_line_name(&line_name(12)), Some(12));
        for name in ["lines/12.json", "lines/00000000000000000000.json", "journal/1"] {
            assert_eq!(parse_line_name(name), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_left_alone() {
        let line = "journal/00000000000000000009-00000000000000000010-5-7-e0.rec";
        assert_eq!(GroupName::parse(line), None, "the first line is not named");
        for name in ["owner", "journal/x.rec", "journal/1-2-3-4.rec", "snapshots/1.json"] {
            assert_eq!((GroupName::parse(name), SnapshotName::parse(name)), (None, None), "{name}");
        }
        let backwards = "journal/00000000000000000002-00000000000000000001-3-4.rec";
        assert_eq!(GroupName::parse(backwards), None);
        let part = SnapshotName { position: 1, time_us: 2, line: 0 }.part(0);
        assert_eq!(SnapshotName::parse(&part), None);
        assert_eq!(SnapshotName::position_of_part(&part), Some(1));
        assert_eq!(SnapshotName::position_of_part("images/x"), None);
    }
}
