//! Keys changed at journal positions that are not durable yet.
//!
//! A read that touches such a key must wait for that position, so that nobody sees a change that a
//! crash could undo. Keys are kept as hashes: a collision only makes a read wait without need.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::FixedState;

/// The changed keys.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Position of the last change of each key.
    positions: HashMap<u64, u64, FixedState>,
    /// The same in order of position, for forgetting.
    order: VecDeque<(u64, u64)>,
    /// Position of the last change of whole databases.
    flushed: u64,
    /// Position of the last change at all.
    latest: u64,
    durable: u64,
}

impl Pending {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.latest <= self.durable
    }

    /// Notes a change of the key with this mark.
    pub(super) fn note(&mut self, mark: u64, position: u64) {
        if position <= self.durable {
            return;
        }
        self.latest = position;
        if self.positions.insert(mark, position) != Some(position) {
            self.order.push_back((position, mark));
        }
    }

    /// Notes a change of whole databases.
    pub(super) fn note_all(&mut self, position: u64) {
        if position > self.durable {
            self.latest = position;
            self.flushed = position;
        }
    }

    /// The position a reader of this key must wait for, 0 if none.
    pub(super) fn gate(&self, mark: u64) -> u64 {
        let flushed = if self.flushed > self.durable { self.flushed } else { 0 };
        self.positions.get(&mark).copied().unwrap_or(0).max(flushed)
    }

    /// The position a reader of all keys must wait for, 0 if none.
    pub(super) fn gate_all(&self) -> u64 {
        if self.is_empty() { 0 } else { self.latest }
    }

    /// As if everything up to `position` had been changed and nothing of it were durable.
    pub(super) fn hold_back(&mut self, position: u64) {
        *self = Self { latest: position, flushed: position, ..Self::default() };
    }

    /// Forgets changes up to this position.
    pub(super) fn durable(&mut self, position: u64) {
        self.durable = self.durable.max(position);
        while let Some((at, mark)) = self.order.front().copied() {
            if at > self.durable {
                break;
            }
            self.order.pop_front();
            if self.positions.get(&mark) == Some(&at) {
                self.positions.remove(&mark);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_key_gates_until_its_last_change_is_durable() {
        let mut pending = Pending::default();
        pending.note(7, 1);
        pending.note(8, 1);
        pending.note(7, 2);
        assert_eq!((pending.gate(7), pending.gate(8), pending.gate(9)), (2, 1, 0));
        pending.durable(1);
        assert_eq!((pending.gate(7), pending.gate(8), pending.gate_all()), (2, 0, 2));
        pending.durable(2);
        assert!(pending.is_empty());
        assert_eq!(pending.gate(7), 0);
        assert!(pending.positions.is_empty() && pending.order.is_empty());
    }

    #[test]
    fn what_is_held_back_gates_every_key_until_it_is_durable() {
        let mut pending = Pending::default();
        pending.note(1, 3);
        pending.durable(9);
        pending.hold_back(9);
        assert_eq!((pending.gate(1), pending.gate(2), pending.gate_all()), (9, 9, 9));
        pending.durable(9);
        assert!(pending.is_empty());
    }

    #[test]
    fn a_flush_gates_every_key() {
        let mut pending = Pending::default();
        pending.note_all(5);
        assert_eq!(pending.gate(1), 5);
        pending.durable(5);
        assert_eq!(pending.gate(1), 0);
    }
}
