//! What a carrier remembers of its store, so that it need not ask for everything every time. All of it
//! was true once, and nothing of it is ever taken back: the control chain and the log only grow, and
//! what is removed lies before the floor of a later control entry.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::control::Control;
use crate::slot::Slot;

/// How often who reads looks for holes in the log: one listing.
const CHECK_EVERY: Duration = Duration::from_mins(1);

/// Slots whose last position is remembered.
const INDEX_MAX: usize = 4096;

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The last control entry that was seen.
    pub(crate) control: Control,
    /// Whether somebody looked for holes in the control chain.
    pub(crate) is_checked: bool,
    /// When somebody last looked for holes in the log.
    pub(crate) log_checked: Option<Instant>,
    /// The last object of the log that was seen.
    pub(crate) end: Option<Slot>,
    /// Last position of some slots.
    index: BTreeMap<u64, u64>,
    /// What the groups read so far had on average, in bytes.
    pub(crate) object_bytes: u64,
}

/// The memory of a carrier, locked for moments only.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<Memory>);

impl Known {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Memory> {
        // Nothing panics while it is locked; and what is in it is true at any moment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    /// Whether it is time to look for holes in the log: who only follows meets none, as a hole looks
    /// like the end.
    pub(crate) fn is_check_due(&self) -> bool {
        self.log_checked.is_none_or(|checked| checked.elapsed() > CHECK_EVERY)
    }

    pub(crate) fn learn_control(&mut self, control: &Control) {
        if control.number > self.control.number {
            self.control = control.clone();
            self.index = self.index.split_off(&control.floor);
        }
    }

    /// `slot` was read, and counts.
    pub(crate) fn learn_slot(&mut self, slot: &Slot) {
        if self.end.is_none_or(|end| end.number < slot.number) {
            self.end = Some(*slot);
        }
        if self.index.len() >= INDEX_MAX {
            self.index.pop_first();
        }
        self.index.insert(slot.number, slot.last);
    }

    /// Slots of which one is the first whose last position is at or behind `position`, as far as is
    /// remembered. All of `slots` hold something.
    pub(crate) fn narrow(&self, slots: Range<u64>, position: u64) -> Range<u64> {
        let mut narrow = slots;
        for (slot, last) in self.index.range(narrow.clone()) {
            if *last >= position {
                narrow.end = slot + 1;
                break;
            }
            narrow.start = slot + 1;
        }
        narrow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orrery_journal::Epoch;
    use orrery_journal::carrier::Owner;

    fn slot(number: u64) -> Slot {
        Slot {
            number,
            owner: Owner { epoch: Epoch(1), token: 1 },
            session: 1,
            control: 1,
            first: number * 10 - 9,
            last: number * 10,
            last_epoch: 1,
            is_fence: false,
            body_bytes: 1,
        }
    }

    #[test]
    fn what_was_read_narrows_where_a_position_is_looked_for() {
        let mut memory = Memory::default();
        assert_eq!(memory.narrow(1..101, 500), 1..101);
        for number in [20, 40, 60] {
            memory.learn_slot(&slot(number));
        }
        assert_eq!(memory.narrow(1..101, 1), 1..21);
        assert_eq!(memory.narrow(1..101, 201), 21..41);
        assert_eq!(memory.narrow(1..101, 401), 41..61);
        assert_eq!(memory.narrow(1..101, 601), 61..101);
        assert_eq!(memory.end.map(|end| end.number), Some(60));
        memory.learn_control(&Control { number: 1, floor: 30, ..Control::default() });
        assert_eq!(memory.narrow(30..101, 301), 30..41);
        for number in 61..10_000 {
            memory.learn_slot(&slot(number));
        }
        assert_eq!(memory.index.len(), INDEX_MAX);
    }
}
