//! A time zone as a table: from when on which offset holds.
//!
//! All transitions of 1970 to 2199 are computed once, from the TZif bytes and the rule in their
//! footer. A lookup is a bucket of 194 days and a step or two.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::civil::{DAY, LOCAL_END};
use crate::{Seconds, ZoneError};

/// Before every instant that is asked for, and far from overflow.
const FIRST: Seconds = i64::MIN / 4;
/// After every instant that is asked for.
const LAST: Seconds = i64::MAX / 4;
/// A bucket of the index spans 2^24 s, about 194 days: rarely more than two transitions.
const BUCKET_BITS: u32 = 24;
/// The table covers the years of rules and a day around them.
const COVERED: Seconds = LOCAL_END + 2 * DAY;

/// A time during which one offset holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment {
    /// First instant.
    pub start: Seconds,
    /// First instant after it.
    pub end: Seconds,
    /// Every local second below this one has been on the clock before `start`, or never will be.
    pub seen_to: i64,
    /// Local minus UTC.
    pub offset: i64,
}

impl Segment {
    /// What the clock shows first.
    #[inline]
    pub fn local_start(&self) -> i64 {
        self.start + self.offset
    }

    /// What it would show next at the end.
    #[inline]
    pub fn local_end(&self) -> i64 {
        self.end + self.offset
    }

    /// Local seconds that were skipped when it began: `seen_to..local_start`.
    #[inline]
    pub fn has_gap(&self) -> bool {
        self.seen_to < self.local_start()
    }
}

/// A time zone: its name, its definition, and the table made of it.
///
/// Equal are zones with the same name and the same definition.
pub struct Zone {
    name: Box<str>,
    tzif: Box<[u8]>,
    segments: Box<[Segment]>,
    /// The segment at the start of each bucket.
    buckets: Box<[u16]>,
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Arc<Self> {
        static UTC: LazyLock<Arc<Zone>> =
            LazyLock::new(|| Arc::new(Zone::of_changes("UTC", &[], &[(FIRST, 0)])));
        UTC.clone()
    }

    /// A zone that is so many seconds ahead of UTC for ever; it is named like `+05:30`.
    pub fn fixed(seconds: i32) -> Arc<Self> {
        let (sign, size) = (if seconds < 0 { '-' } else { '+' }, seconds.unsigned_abs());
        let mut name = format!("{sign}{:02}:{:02}", size / 3600, size / 60 % 60);
        if !size.is_multiple_of(60) {
            name = format!("{name}:{:02}", size % 60);
        }
        let seconds = i64::from(seconds).clamp(-DAY, DAY);
        Arc::new(Self::of_changes(&name, &[], &[(FIRST, seconds)]))
    }

    /// From the bytes of a file of `/usr/share/zoneinfo` (RFC 9636).
    pub fn from_tzif(name: &str, tzif: &[u8]) -> Result<Arc<Self>, ZoneError> {
        let malformed = |message: String| ZoneError::Malformed { name: name.to_owned(), message };
        let zone = TimeZone::tzif(name, tzif).map_err(|error| malformed(error.to_string()))?;
        let first = zone.to_offset(Timestamp::UNIX_EPOCH);
        let mut changes = vec![(FIRST, i64::from(first.seconds()))];
        for change in zone.following(Timestamp::UNIX_EPOCH) {
            let at = change.timestamp().as_second();
            if at > COVERED {
                break;
            }
            let offset = i64::from(change.offset().seconds());
            if changes.last().is_none_or(|(_, before)| *before != offset) {
                changes.push((at, offset));
            }
            if changes.len() > usize::from(u16::MAX) {
                return Err(malformed("it changes its offset too often".to_owned()));
            }
        }
        Ok(Arc::new(Self::of_changes(name, tzif, &changes)))
    }

    fn of_changes(name: &str, tzif: &[u8], changes: &[(Seconds, i64)]) -> Self {
        let mut segments = Vec::with_capacity(changes.len());
        let mut seen_to = FIRST;
        for (at, &(start, offset)) in changes.iter().enumerate() {
            let end = changes.get(at + 1).map_or(LAST, |next| next.0);
            if at == 0 {
                seen_to = start + offset;
            }
            segments.push(Segment { start, end, seen_to, offset });
            seen_to = seen_to.max(end + offset);
        }
        let mut buckets = Vec::new();
        let mut segment = 0;
        for bucket in 0..=(COVERED >> BUCKET_BITS) {
            while segments[segment].end <= bucket << BUCKET_BITS {
                segment += 1;
            }
            buckets.push(segment as u16);
        }
        Self {
            name: name.into(),
            tzif: tzif.into(),
            segments: segments.into(),
            buckets: buckets.into(),
        }
    }

    /// Its name, spelled as in the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes it was made of; none for UTC and fixed offsets.
    pub fn tzif(&self) -> &[u8] {
        &self.tzif
    }

    /// Seconds that local time is ahead of UTC at an instant.
    pub fn offset_at(&self, utc: Seconds) -> i32 {
        self.segments[self.segment_at(utc)].offset as i32
    }

    /// The first instant, not before `from`, at which local time is another one in `other`.
    pub fn first_difference(&self, other: &Self, from: Seconds) -> Option<Seconds> {
        let differ = |at: &Seconds| self.offset_at(*at) != other.offset_at(*at);
        let changes = self.segments.iter().chain(other.segments.iter());
        let changes = changes.map(|segment| segment.start).filter(|start| *start > from);
        std::iter::once(from).chain(changes).filter(differ).min()
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Index of the segment that holds an instant.
    #[inline]
    pub(crate) fn segment_at(&self, utc: Seconds) -> usize {
        if self.segments.len() == 1 {
            return 0;
        }
        let bucket = (utc.max(0) >> BUCKET_BITS) as usize;
        let mut at = usize::from(self.buckets[bucket.min(self.buckets.len() - 1)]);
        while self.segments[at].end <= utc && at + 1 < self.segments.len() {
            at += 1;
        }
        at
    }

    /// The instant at which the clock shows a local second: its first pass, or when it is in a gap
    /// the first instant after that.
    pub(crate) fn instant_of(&self, local: i64) -> Seconds {
        // A clock is never more than a day and two hours away from UTC.
        let mut at = self.segment_at(local - 2 * DAY);
        while self.segments[at].local_end() <= local && at + 1 < self.segments.len() {
            at += 1;
        }
        let segment = &self.segments[at];
        (local - segment.offset).max(segment.start)
    }

    /// What the clock shows at an instant.
    pub(crate) fn local(&self, utc: Seconds) -> i64 {
        utc + self.segments[self.segment_at(utc)].offset
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, changes) = (&self.name, self.segments.len() - 1);
        write!(f, "Zone({name}, {changes} changes)")
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        let offset = |zone: &Self| zone.segments[0].offset;
        self.name == other.name && self.tzif == other.tzif && offset(self) == offset(other)
    }
}

impl Eq for Zone {}

impl Hash for Zone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.tzif.len().hash(state);
    }
}
