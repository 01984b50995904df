//! What was promised to clients, and what the keys held after every record.
//!
//! A recovery must end at a position that is neither before the last promise nor behind the last
//! record, with exactly the keys of that position.

use super::books::Books;

/// The durable keys after a record.
#[derive(Clone, Debug, Default)]
struct State {
    now_ms: i64,
    books: Books,
}

#[derive(Debug)]
pub(super) struct Ledger {
    /// By position.
    states: Vec<State>,
    /// The last position that some client has seen an answer from.
    promised: u64,
    /// What the journal reported durable.
    durable: u64,
    /// What the disk itself proves to have been durable, even if what lies above is damaged.
    proven: u64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { states: vec![State::default()], promised: 0, durable: 0, proven: 0 }
    }

    pub(super) fn last(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    pub(super) fn promised(&self) -> u64 {
        self.promised
    }

    /// The keys to go on with, after a recovery.
    pub(super) fn books(&self) -> Books {
        self.states[self.last() as usize].books.clone()
    }

    pub(super) fn appended(&mut self, position: u64, now_ms: i64, books: &Books) {
        assert_eq!(position, self.last() + 1, "positions have no gap");
        self.states.push(State { now_ms, books: books.durable() });
    }

    /// A client has seen an answer that depends on this position.
    pub(super) fn promise(&mut self, position: u64) {
        self.promised = self.promised.max(position);
    }

    /// The journal reports everything up to `position` durable.
    pub(super) fn reported(&mut self, position: u64) {
        assert!(position >= self.durable, "durable went back");
        if position > self.durable {
            // The group that brought it here says what was durable before.
            self.proven = self.proven.max(self.durable);
            self.durable = position;
        }
    }

    /// A snapshot shows that this position was durable.
    pub(super) fn proven(&mut self, position: u64) {
        self.proven = self.proven.max(position);
    }

    /// The engine was recovered up to `last`. What lay above is gone for good.
    pub(super) fn recovered(&mut self, last: u64, found: &Books) {
        assert!(last >= self.promised, "{} was answered, {last} is left", self.promised);
        self.compare(last, found);
        self.states.truncate(last as usize + 1);
        self.reported(last);
    }

    /// The engine was recovered from a disk with a damaged bit.
    pub(super) fn recovered_damaged(&self, last: u64, found: &Books) {
        assert!(last >= self.proven, "{} was durable, {last} is left in silence", self.proven);
        self.compare(last, found);
    }

    fn compare(&self, last: u64, found: &Books) {
        assert!(last <= self.last(), "more came back than was written");
        let state = &self.states[last as usize];
        let caches = found.0.keys().find(|name| name.starts_with("c:"));
        assert_eq!(caches, None, "a cache came back");
        let mut found = found.clone();
        found.expire(state.now_ms);
        assert_eq!(found, state.books, "the keys differ at {last}");
    }
}
