//! One array of groups: finding, adding and taking entries without growing.
//!
//! Invariant: a slot is initialised exactly when its tag has the high bit.

use std::mem::ManuallyDrop;

use super::entry::{Entry, Slot};
use super::group::{DELETED, EMPTY, Group, WIDTH, tag_of};
use crate::keyspace::hasher::KeyHasher;

/// One array of groups.
pub(super) struct Groups {
    pub(super) array: Box<[Group]>,
    /// Entries in it.
    pub(super) items: usize,
    /// Slots that are not empty: entries and deleted slots.
    pub(super) used: usize,
}

impl Groups {
    pub(super) fn new(count: usize) -> Self {
        debug_assert!(count.is_power_of_two());
        // SAFETY: all-zero tags mean "empty", and slots need no initialisation.
        let array = unsafe { Box::<[Group]>::new_zeroed_slice(count).assume_init() };
        Self { array, items: 0, used: 0 }
    }

    #[inline]
    pub(super) fn mask(&self) -> usize {
        self.array.len() - 1
    }

    pub(super) fn is_full(&self) -> bool {
        self.used + 1 > self.array.len() * WIDTH / 8 * 7
    }

    /// The entry of a slot whose tag has the high bit.
    #[inline]
    pub(super) fn at(&self, group: usize, slot: usize) -> &Entry {
        let group = &self.array[group];
        assert!(group.tags[slot] >= 0x80, "a place must hold an entry");
        // SAFETY: the tag says that the slot is initialised.
        unsafe { group.slots[slot].assume_init_ref() }
    }

    #[inline]
    pub(super) fn at_mut(&mut self, group: usize, slot: usize) -> &mut Entry {
        let group = &mut self.array[group];
        assert!(group.tags[slot] >= 0x80, "a place must hold an entry");
        // SAFETY: the tag says that the slot is initialised.
        unsafe { group.slots[slot].assume_init_mut() }
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, key: &[u8]) -> Option<(usize, usize)> {
        let tag = tag_of(hash);
        let mask = self.mask();
        let mut at = hash as usize & mask;
        loop {
            let group = &self.array[at];
            for slot in group.matching(tag) {
                if self.at(at, slot).key() == key {
                    return Some((at, slot));
                }
            }
            if group.has_empty() {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    pub(super) fn insert(&mut self, hash: u64, entry: Entry) -> (usize, usize) {
        let mask = self.mask();
        let mut at = hash as usize & mask;
        loop {
            let group = &mut self.array[at];
            if let Some(slot) = group.free_slot() {
                if group.tags[slot] == EMPTY {
                    self.used += 1;
                }
                group.tags[slot] = tag_of(hash);
                group.slots[slot] = Slot::new(ManuallyDrop::new(entry));
                self.items += 1;
                return (at, slot);
            }
            at = (at + 1) & mask;
        }
    }

    pub(super) fn take(&mut self, at: usize, slot: usize) -> Entry {
        let group = &mut self.array[at];
        assert!(group.tags[slot] >= 0x80, "a place must hold an entry");
        if group.has_empty() {
            group.tags[slot] = EMPTY;
            self.used -= 1;
        } else {
            group.tags[slot] = DELETED;
        }
        self.items -= 1;
        // SAFETY: the slot was initialised and its tag no longer says so: read once.
        ManuallyDrop::into_inner(unsafe { group.slots[slot].assume_init_read() })
    }

    /// Calls `each` with the place of every entry whose home is `home`.
    pub(super) fn home_places(
        &self,
        home: usize,
        hasher: KeyHasher,
        each: &mut dyn FnMut(usize, usize),
    ) {
        let mask = self.mask();
        let mut at = home;
        for _ in 0..=mask {
            let group = &self.array[at];
            for slot in group.full() {
                if hasher.hash(self.at(at, slot).key()) as usize & mask == home {
                    each(at, slot);
                }
            }
            if group.has_empty() {
                return;
            }
            at = (at + 1) & mask;
        }
    }

    /// Drops the entries of group `at`.
    pub(super) fn clear_group(&mut self, at: usize) {
        for slot in self.array[at].full() {
            drop(self.take(at, slot));
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let mut at = 0;
        while self.items > 0 {
            self.clear_group(at);
            at += 1;
        }
    }
}
