//! Reading the log of a journal: its end, where a position lies, and groups.
//!
//! Each record says what counts once it is committed, so the last one is the state, and nothing else
//! has to be read to know it. Positions only grow, so where one lies is found by halving.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use orrery_journal::{CarrierError, Group, Position};

use crate::failure::{Deadline, Failure, code};
use crate::state::{Entry, State};
use crate::topic::{Edge, FETCH_BYTES, Isolation, Topic};

/// How long a reader waits for a transaction that is being ended, so that it sees what was
/// acknowledged a moment ago. One of an owner that died may be open for minutes.
const SETTLING: Duration = Duration::from_secs(1);
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
    /// Behind the last record that counts.
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
        let latest = self.topic.edge(Edge::Latest, deadline)?;
        let settling = deadline.within(SETTLING);
        loop {
            let stable = self.topic.edge(Edge::Stable, deadline)?;
            if stable >= latest || settling.is_over() {
                return self.tail_at(stable, deadline);
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What counted a moment ago, at once.
    pub(crate) fn glance(&self, deadline: Deadline) -> Result<Tail, Failure> {
        self.tail_at(self.topic.edge(Edge::Stable, deadline)?, deadline)
    }

    /// What counts, with no transaction open.
    pub(crate) fn settled(&self, deadline: Deadline) -> Result<Tail, Failure> {
        loop {
            let stable = self.topic.edge(Edge::Stable, deadline)?;
            if stable == self.topic.edge(Edge::Latest, deadline)? {
                return self.tail_at(stable, deadline);
            }
            if deadline.is_over() {
                return Err(Failure::Again("a transaction is not ended".to_owned()));
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn tail_at(&self, end: i64, deadline: Deadline) -> Result<Tail, Failure> {
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
        let fetched = self.topic.fetch(from, Isolation::Committed, bytes, deadline)?;
        if fetched.next <= from {
            return Err(Failure::Again("the log ends before its end".to_owned()));
        }
        let open =
            |record: crate::batch::Record| Entry::open(record.offset, record.value, self.shard);
        let entries = fetched.records.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
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
                Some(entry) if entry.state.last < position => low = entry.offset + 1,
                Some(entry) if (1..=position).contains(&entry.piece.first) => {
                    return Ok(entry.offset - i64::from(entry.piece.number));
                }
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
        let (mut groups, mut bytes) = (Groups::new(self.shard, position), 0);
        let mut next = self.place_of(position, tail, deadline)?;
        while next < tail.end {
            let wanted = bytes_max.saturating_sub(bytes).clamp(1 << 16, FETCH_BYTES as usize);
            let (entries, then) = self.entries(next, wanted as i32, deadline)?;
            for entry in entries.into_iter().filter(|entry| entry.offset < tail.end) {
                groups.take(&entry)?;
                let last = groups.whole.last();
                bytes = groups.bytes;
                let is_enough = bytes >= bytes_max || groups.whole.len() >= GROUPS_MAX;
                if last.is_some() && groups.is_between() && is_enough {
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
    /// How many pieces there are of the group under way, and where it begins.
    under_way: Option<(u32, i64)>,
}

impl Groups {
    fn new(shard: u32, position: u64) -> Self {
        Self { shard, next: position, whole: vec![], bytes: 0, pieces: vec![], under_way: None }
    }

    fn is_between(&self) -> bool {
        self.under_way.is_none()
    }

    fn take(&mut self, entry: &Entry) -> Result<(), Failure> {
        let (piece, last) = (entry.piece, entry.state.last);
        if piece.first == 0 || last < self.next {
            return Ok(());
        }
        let (have, begin) = self.under_way.unwrap_or((0, entry.offset));
        // A reader that begins in the middle of a group has gone too far.
        let follows =
            if self.whole.is_empty() { piece.first <= self.next } else { piece.first == self.next };
        if piece.number != have || !follows {
            return Err(corrupt(self.next, "the group of this record is missing"));
        }
        self.pieces.extend_from_slice(entry.bytes());
        self.under_way = Some((have + 1, begin));
        if have + 1 < piece.count {
            return Ok(());
        }
        self.under_way = None;
        let group =
            Group::open(std::mem::take(&mut self.pieces), self.shard, Position(piece.first))?;
        if group.last().0 != last {
            return Err(corrupt(piece.first, "the log says another last position than the group"));
        }
        self.bytes += group.bytes().len();
        self.next = last + 1;
        self.whole.push((begin, group));
        Ok(())
    }
}
