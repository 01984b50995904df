//! Reading the log of a journal: its end, where a position lies, and groups.
//!
//! Each record says what counts, so the last one that is not void is the state, and nothing else has
//! to be read to know it. Positions only grow, so where one lies is found by halving.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use orrery_journal::{CarrierError, Group, Position};

use crate::failure::{Deadline, Failure, code};
use crate::state::{Entry, State};
use crate::topic::{Edge, FETCH_BYTES, Topic};

/// Offsets that are read through rather than halved further.
const SHORT: i64 = 16;
/// What a probe of a place brings: a few records.
const PROBE_BYTES: i32 = 32 << 10;
/// Places that are remembered.
const PLACES_MAX: usize = 1024;
/// Groups that one call gives at most.
const GROUPS_MAX: usize = 4096;

/// The end of the log.
#[derive(Clone, Debug)]
pub(crate) struct Tail {
    /// Behind the last record.
    pub(crate) end: i64,
    pub(crate) state: State,
}

/// What was seen of the log, so that it is not looked for again. Nothing rests on it but time.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    tail: Mutex<Option<Tail>>,
    /// Where groups begin, by their first position.
    places: Mutex<BTreeMap<u64, i64>>,
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    pub(crate) fn note(&self, first: u64, offset: i64) {
        let mut places = lock(&self.places);
        if places.len() >= PLACES_MAX {
            places.pop_first();
        }
        places.insert(first, offset);
    }

    /// The last place known at or before a position.
    fn before(&self, position: u64) -> Option<(u64, i64)> {
        lock(&self.places).range(..=position).next_back().map(|(first, offset)| (*first, *offset))
    }
}

/// The log of one journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log<'a> {
    pub(crate) topic: Topic<'a>,
    pub(crate) shard: u32,
    pub(crate) seen: &'a Seen,
}

fn corrupt(position: u64, reason: impl Into<String>) -> Failure {
    CarrierError::Corrupt { position: Position(position), reason: reason.into() }.into()
}

impl Log<'_> {
    /// What counts at the moment, or did a moment ago.
    pub(crate) fn look(&self, deadline: Deadline) -> Result<Tail, Failure> {
        let end = self.topic.edge(Edge::Latest, deadline)?;
        if let Some(tail) = lock(&self.seen.tail).as_ref().filter(|tail| tail.end == end) {
            return Ok(tail.clone());
        }
        let tail = Tail { end, state: self.state_at(end, deadline)? };
        *lock(&self.seen.tail) = Some(tail.clone());
        Ok(tail)
    }

    /// The state that the last record before `end` tells.
    fn state_at(&self, end: i64, deadline: Deadline) -> Result<State, Failure> {
        let mut back = 2;
        loop {
            let from = (end - back).max(0);
            let earliest = self.topic.edge(Edge::Earliest, deadline)?;
            let from = from.max(earliest);
            if let Some(last) = self.last_between(from, end, deadline)? {
                return Ok(last.state);
            }
            if from > earliest {
                back *= 8;
            } else if earliest == 0 {
                return Ok(State::default());
            } else {
                let reason = "the topic has lost the records that say who owns the journal";
                return Err(corrupt(0, reason));
            }
        }
    }

    fn last_between(
        &self,
        from: i64,
        end: i64,
        deadline: Deadline,
    ) -> Result<Option<Entry>, Failure> {
        let (mut next, mut last) = (from, None);
        while next < end {
            let (entries, then) = self.entries(next, FETCH_BYTES, deadline)?;
            last = entries.into_iter().rfind(|entry| entry.offset < end).or(last);
            next = then;
        }
        Ok(last)
    }

    /// The next records that count, and where to go on, which is further on.
    fn entries(
        &self,
        from: i64,
        bytes: i32,
        deadline: Deadline,
    ) -> Result<(Vec<Entry>, i64), Failure> {
        let fetched = self.topic.fetch(from, bytes, deadline)?;
        if fetched.next <= from {
            return Err(Failure::Again("the log ends before its end".to_owned()));
        }
        let mut entries = vec![];
        for record in fetched.records {
            entries.extend(Entry::open(record.offset, record.value, self.shard)?);
        }
        Ok((entries, fetched.next))
    }

    /// An offset at or not far before the group that holds a position, which must count.
    fn place_of(&self, position: u64, tail: &Tail, deadline: Deadline) -> Result<i64, Failure> {
        let (mut low, mut high) = (tail.state.floor_offset, tail.end);
        if let Some((first, offset)) = self.seen.before(position) {
            if first == position {
                return Ok(offset.max(low));
            }
            low = low.max(offset);
        }
        while high - low > SHORT {
            let middle = low + (high - low) / 2;
            match self.first_between(middle, high, deadline)? {
                // Of this group, or of one that was given up and written anew further on.
                Some(entry) if entry.piece.holds(position) => {
                    return Ok(entry.offset - i64::from(entry.piece.number));
                }
                Some(entry) if entry.state.last < position => low = entry.offset + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    fn first_between(
        &self,
        from: i64,
        end: i64,
        deadline: Deadline,
    ) -> Result<Option<Entry>, Failure> {
        let mut next = from;
        while next < end {
            let (entries, then) = self.entries(next, PROBE_BYTES, deadline)?;
            if let Some(entry) = entries.into_iter().next() {
                return Ok(Some(entry).filter(|entry| entry.offset < end));
            }
            next = then;
        }
        Ok(None)
    }

    /// The groups from the one that holds `position` on, about `bytes_max` of them: their offsets, too.
    pub(crate) fn groups(
        &self,
        position: u64,
        tail: &Tail,
        bytes_max: usize,
        deadline: Deadline,
    ) -> Result<Vec<(i64, Group)>, Failure> {
        let mut groups = Groups::new(self.shard, position);
        let mut next = self.place_of(position, tail, deadline)?;
        while next < tail.end {
            let wanted =
                bytes_max.saturating_sub(groups.bytes).clamp(1 << 16, FETCH_BYTES as usize);
            let (entries, then) = self.entries(next, wanted as i32, deadline)?;
            for entry in entries.into_iter().filter(|entry| entry.offset < tail.end) {
                groups.take(&entry)?;
                let is_enough = groups.bytes >= bytes_max || groups.whole.len() >= GROUPS_MAX;
                if !groups.whole.is_empty() && groups.is_between() && is_enough {
                    return Ok(self.noted(groups.whole));
                }
            }
            next = then;
        }
        if groups.next <= tail.state.last {
            return Err(corrupt(groups.next, "the group of this record is missing"));
        }
        Ok(self.noted(groups.whole))
    }

    fn noted(&self, groups: Vec<(i64, Group)>) -> Vec<(i64, Group)> {
        if let Some((offset, group)) = groups.last() {
            self.seen.note(group.first().0, *offset);
            // What follows begins no earlier.
            self.seen.note(group.last().0 + 1, *offset + 1);
        }
        groups
    }

    /// What a reader is told whose records cannot be found any more.
    pub(crate) fn explain(&self, failure: Failure, deadline: Deadline) -> Failure {
        let is_gone = format!("(error {})", code::OFFSET_OUT_OF_RANGE);
        if !matches!(&failure, Failure::Again(reason) if reason.ends_with(&is_gone)) {
            return failure;
        }
        let found = self.topic.edge(Edge::Earliest, deadline);
        match found.and_then(|earliest| Ok((earliest, self.look(deadline)?.state))) {
            Ok((earliest, state)) if state.floor_offset < earliest && state.floor <= state.last => {
                corrupt(state.floor, "the topic has lost records that were not trimmed")
            }
            Ok(_) => failure,
            Err(other) => other,
        }
    }
}

/// Puts groups together, and checks that they follow each other.
#[derive(Debug)]
struct Groups {
    shard: u32,
    /// The position that the next group must hold or begin with.
    next: u64,
    whole: Vec<(i64, Group)>,
    bytes: usize,
    pieces: Vec<u8>,
    /// Where the group under way begins, and how many pieces of it there are.
    under_way: Option<(i64, u32)>,
}

impl Groups {
    fn new(shard: u32, position: u64) -> Self {
        Self { shard, next: position, whole: vec![], bytes: 0, pieces: vec![], under_way: None }
    }

    fn is_between(&self) -> bool {
        self.under_way.is_none()
    }

    fn take(&mut self, entry: &Entry) -> Result<(), Failure> {
        let piece = entry.piece;
        let expected = self.under_way.map(|(begin, have)| (begin + i64::from(have), have));
        if expected != Some((entry.offset, piece.number)) {
            // What was under way was given up; who begins to read in the middle of a group passes by
            // the rest of it.
            self.under_way = None;
            self.pieces.clear();
            if piece.first == 0 || piece.last < self.next || piece.number > 0 {
                return Ok(());
            }
        }
        let (begin, have) = self.under_way.unwrap_or((entry.offset, 0));
        self.pieces.extend_from_slice(entry.bytes());
        self.under_way = Some((begin, have + 1));
        if have + 1 < piece.count {
            return Ok(());
        }
        self.under_way = None;
        // A reader that begins in the middle of a group has gone too far.
        let follows =
            if self.whole.is_empty() { piece.first <= self.next } else { piece.first == self.next };
        if !follows {
            return Err(corrupt(self.next, "the group of this record is missing"));
        }
        let group =
            Group::open(std::mem::take(&mut self.pieces), self.shard, Position(piece.first))?;
        if (group.last().0, piece.last) != (entry.state.last, entry.state.last) {
            return Err(corrupt(piece.first, "the log says another last position than the group"));
        }
        self.bytes += group.bytes().len();
        self.next = piece.last + 1;
        self.whole.push((begin, group));
        Ok(())
    }
}
