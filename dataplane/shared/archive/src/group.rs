//! One object of records: a header, then each record. Little endian throughout.
//!
//! | header | bytes |
//! |---|---|
//! | `ORRYARC1` | 8 |
//! | position of the first record | 8 |
//! | number of records | 4 |
//! | CRC-32C of everything behind the header, continued from that of the header before this field | 4 |
//!
//! | record | bytes |
//! |---|---|
//! | epoch, time in µs | 8, 8 |
//! | stream, length of the body | 4, 4 |
//! | kind | 1 |
//! | body | length |

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{ArchiveError, GroupName};

const MAGIC: &[u8; 8] = b"ORRYARC1";
const HEADER_BYTES: usize = 24;
const CHECKED_HEADER_BYTES: usize = 20;
const RECORD_HEADER_BYTES: usize = 25;

/// Records of one object: who looks for one position knows how far before it a group may begin.
pub const RECORDS_MAX: u64 = 1 << 16;

/// A record on its way into an archive, or out of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub position: u64,
    pub epoch: u64,
    pub time_us: i64,
    pub stream: u32,
    pub kind: u8,
    pub body: &'a [u8],
}

/// Records of consecutive positions that become one object.
#[derive(Debug, Default)]
pub struct Builder {
    line: u64,
    name: Option<GroupName>,
    records: Vec<u8>,
}

impl Builder {
    /// Builds objects of a line.
    pub fn of(line: u64) -> Self {
        Self { line, ..Self::default() }
    }

    /// Adds a record; `false`, and nothing has changed, if it is not the next one or there are
    /// [`RECORDS_MAX`] already.
    #[must_use]
    pub fn push(&mut self, record: &Record<'_>) -> bool {
        let &Record { position, time_us, .. } = record;
        // What a name says of times is not negative; no clock that is set at all is.
        let time_us = time_us.max(0);
        let name = match self.name {
            Some(name) if name.last + 1 != position => return false,
            Some(name) if name.last - name.first + 1 >= RECORDS_MAX => return false,
            None if position == 0 => return false,
            Some(name) => GroupName {
                last: position,
                earliest_us: name.earliest_us.min(time_us),
                latest_us: name.latest_us.max(time_us),
                ..name
            },
            None => GroupName {
                first: position,
                last: position,
                earliest_us: time_us,
                latest_us: time_us,
                line: self.line,
            },
        };
        self.name = Some(name);
        self.records.extend(record.epoch.to_le_bytes());
        self.records.extend(record.time_us.to_le_bytes());
        self.records.extend(record.stream.to_le_bytes());
        self.records.extend((record.body.len() as u32).to_le_bytes());
        self.records.push(record.kind);
        self.records.extend_from_slice(record.body);
        true
    }

    /// Position of the last record; `None` without records.
    pub fn last(&self) -> Option<u64> {
        self.name.map(|name| name.last)
    }

    /// Whether it takes no more.
    pub fn is_full(&self) -> bool {
        self.name.is_some_and(|name| name.last - name.first + 1 >= RECORDS_MAX)
    }

    /// Bytes of the records so far.
    pub fn bytes(&self) -> usize {
        self.records.len()
    }

    /// The object, and an empty builder; `None` without records.
    pub fn take(&mut self) -> Option<(GroupName, Bytes)> {
        let name = self.name.take()?;
        let records = std::mem::take(&mut self.records);
        let mut object = Vec::with_capacity(HEADER_BYTES + records.len());
        object.extend_from_slice(MAGIC);
        object.extend(name.first.to_le_bytes());
        object.extend(((name.last - name.first + 1) as u32).to_le_bytes());
        let checksum = crc32c::crc32c_append(crc32c::crc32c(&object), &records);
        object.extend(checksum.to_le_bytes());
        object.extend(records);
        Some((name, object.into()))
    }
}

/// The records of an object, all of them checked against its name before the first is given.
#[derive(Debug)]
pub struct Group {
    name: GroupName,
    object: Bytes,
}

impl Group {
    /// Checks an object.
    pub fn open(name: GroupName, object: Bytes) -> Result<Self, ArchiveError> {
        let damaged = |reason| ArchiveError::damaged(&name.to_string(), reason);
        let Some((header, records)) = object.split_at_checked(HEADER_BYTES) else {
            return Err(damaged("it is too short"));
        };
        let (checked, checksum) = header.split_at(CHECKED_HEADER_BYTES);
        let found = crc32c::crc32c_append(crc32c::crc32c(checked), records);
        if !checked.starts_with(MAGIC) {
            return Err(damaged("it does not begin as such objects do"));
        }
        if checksum != found.to_le_bytes() {
            return Err(damaged("it does not match its checksum"));
        }
        let group = Self { name, object };
        // The checksum says that it is what somebody wrote; the name, that it is what we want.
        let (mut at, mut position) = (HEADER_BYTES, name.first);
        let (mut earliest_us, mut latest_us) = (i64::MAX, i64::MIN);
        while at < group.object.len() {
            let Some((record, next)) = read(&group.object, at, position) else {
                return Err(damaged("a record is cut"));
            };
            earliest_us = earliest_us.min(record.time_us.max(0));
            latest_us = latest_us.max(record.time_us.max(0));
            (at, position) = (next, position + 1);
        }
        let held = GroupName {
            first: name.first,
            last: position.saturating_sub(1),
            earliest_us,
            latest_us,
            line: name.line,
        };
        let first = group.object[8..16] == name.first.to_le_bytes();
        let count = (name.last - name.first + 1) as u32;
        if !first || held != name || group.object[16..20] != count.to_le_bytes() {
            return Err(ArchiveError::damaged(&name.to_string(), "it is not what its name says"));
        }
        Ok(group)
    }

    /// Position of the last record of `range` whose time is at most `target_us`.
    pub fn last_at(&self, target_us: i64, range: RangeInclusive<u64>) -> Option<u64> {
        let within = self.records().filter(|record| range.contains(&record.position));
        let within = within.filter(|record| record.time_us <= target_us);
        within.map(|record| record.position).last()
    }

    /// The records in order of their positions.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let (mut at, mut position) = (HEADER_BYTES, self.name.first);
        std::iter::from_fn(move || {
            let (record, next) = read(&self.object, at, position)?;
            (at, position) = (next, position + 1);
            Some(record)
        })
    }
}

/// The record at `at`, and where the next one begins.
fn read(object: &[u8], at: usize, position: u64) -> Option<(Record<'_>, usize)> {
    let (header, rest) = object.get(at..)?.split_at_checked(RECORD_HEADER_BYTES)?;
    let (epoch, header) = header.split_first_chunk::<8>()?;
    let (time, header) = header.split_first_chunk::<8>()?;
    let (stream, header) = header.split_first_chunk::<4>()?;
    let (length, kind) = header.split_first_chunk::<4>()?;
    let body = rest.get(..u32::from_le_bytes(*length) as usize)?;
    let record = Record {
        position,
        epoch: u64::from_le_bytes(*epoch),
        time_us: i64::from_le_bytes(*time),
        stream: u32::from_le_bytes(*stream),
        kind: *kind.first()?,
        body,
    };
    Some((record, at + RECORD_HEADER_BYTES + body.len()))
}
