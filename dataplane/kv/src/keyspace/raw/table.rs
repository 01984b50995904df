//! The index: open addressing in groups of sixteen, grown and shrunk a group at a time.
//!
//! Source of the idea: Abseil's Swiss tables. Differences: probing is linear over whole groups, so
//! that all entries of a home group lie in one chain, which is what a cursor needs; and the table
//! never moves everything at once: a second table is filled one group per write.
//!
//! Invariants:
//! - an entry lies in the chain that starts at its home group and ends at the first group with an
//!   empty slot; a slot becomes empty again only in a group that has another empty slot;
//! - an entry is in exactly one of the two tables; a new one always goes to `main`.

use super::entry::Entry;
use super::group::{Group, WIDTH, prefetch, tag_of};
use super::groups::Groups;
use crate::keyspace::hasher::KeyHasher;

/// A table on its way out: groups before `next` are empty.
struct Leaving {
    groups: Groups,
    next: usize,
}

/// Entries by key.
pub struct Table {
    main: Option<Groups>,
    leaving: Option<Box<Leaving>>,
    hasher: KeyHasher,
}

// SAFETY: the table owns its entries, which are `Send`.
unsafe impl Send for Table {}
// SAFETY: shared access only reads.
unsafe impl Sync for Table {}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Which of the two tables a place is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Main,
    Leaving,
}

/// Where an entry lies until the table is changed.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    side: Side,
    group: usize,
    slot: usize,
}

impl Table {
    /// An empty table; it allocates with the first entry.
    pub fn new(hasher: KeyHasher) -> Self {
        Self { main: None, leaving: None, hasher }
    }

    /// The hasher all keys of this table go through.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// Number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.main.as_ref().map_or(0, |main| main.items)
            + self.leaving.as_ref().map_or(0, |leaving| leaving.groups.items)
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the index itself, without the entries.
    pub fn index_bytes(&self) -> usize {
        let main = self.main.as_ref().map_or(0, |main| main.array.len());
        let leaving = self.leaving.as_ref().map_or(0, |leaving| leaving.groups.array.len());
        (main + leaving) * size_of::<Group>()
    }

    /// Whether a growth or shrinking is under way.
    pub fn is_moving(&self) -> bool {
        self.leaving.is_some()
    }

    fn side(&self, side: Side) -> Option<&Groups> {
        match side {
            Side::Main => self.main.as_ref(),
            Side::Leaving => self.leaving.as_deref().map(|leaving| &leaving.groups),
        }
    }

    fn side_mut(&mut self, side: Side) -> Option<&mut Groups> {
        match side {
            Side::Main => self.main.as_mut(),
            Side::Leaving => self.leaving.as_deref_mut().map(|leaving| &mut leaving.groups),
        }
    }

    /// Where the entry of `key` is, whose hash is `hash`.
    #[inline]
    pub fn place(&self, hash: u64, key: &[u8]) -> Option<Place> {
        if let Some((group, slot)) = self.main.as_ref()?.find(hash, key) {
            return Some(Place { side: Side::Main, group, slot });
        }
        let (group, slot) = self.leaving.as_deref()?.groups.find(hash, key)?;
        Some(Place { side: Side::Leaving, group, slot })
    }

    /// The entry at a place that was found after the last insertion or removal.
    #[inline]
    pub fn at(&self, place: Place) -> &Entry {
        match self.side(place.side) {
            Some(groups) => groups.at(place.group, place.slot),
            None => unreachable!("places are used before the table changes"),
        }
    }

    /// As [`Self::at`], to be changed; the key must stay.
    #[inline]
    pub fn at_mut(&mut self, place: Place) -> &mut Entry {
        match self.side_mut(place.side) {
            Some(groups) => groups.at_mut(place.group, place.slot),
            None => unreachable!("places are used before the table changes"),
        }
    }

    /// The entry of `key`, whose hash is `hash`.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.place(hash, key).map(|place| self.at(place))
    }

    /// The entry of `key`, to be changed; its key must stay.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<&mut Entry> {
        let place = self.place(hash, key)?;
        Some(self.at_mut(place))
    }

    /// An entry with this hash that `wanted` accepts, without knowing its key.
    pub fn find_by_hash(&self, hash: u64, wanted: &dyn Fn(&Entry) -> bool) -> Option<&Entry> {
        for side in [Side::Main, Side::Leaving] {
            let Some(groups) = self.side(side) else { continue };
            let mask = groups.mask();
            let mut at = hash as usize & mask;
            loop {
                let group = &groups.array[at];
                for slot in group.matching(tag_of(hash)) {
                    let entry = groups.at(at, slot);
                    if self.hasher.hash(entry.key()) == hash && wanted(entry) {
                        return Some(entry);
                    }
                }
                if group.has_empty() {
                    break;
                }
                at = (at + 1) & mask;
            }
        }
        None
    }

    /// Adds an entry whose key is not in the table, and moves a group if a move is under way.
    pub fn insert(&mut self, hash: u64, entry: Entry) -> &mut Entry {
        debug_assert!(self.place(hash, entry.key()).is_none());
        self.move_groups(1);
        if self.main.as_ref().is_none_or(Groups::is_full) {
            self.resize(self.len() + 1);
        }
        let Some(main) = self.main.as_mut() else { unreachable!("resize makes the main table") };
        let (group, slot) = main.insert(hash, entry);
        main.at_mut(group, slot)
    }

    /// Takes the entry of `key` out.
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Entry> {
        let Place { side, group, slot } = self.place(hash, key)?;
        let entry = self.side_mut(side)?.take(group, slot);
        self.move_groups(1);
        let slots = self.main.as_ref().map_or(0, |main| main.array.len() * WIDTH);
        if slots > WIDTH && self.len() < slots / 8 && !self.is_moving() {
            self.resize(self.len() + 1);
        }
        Some(entry)
    }

    /// Starts moving to a table that fits `items` with room to grow.
    fn resize(&mut self, items: usize) {
        // A move still under way (only possible after a storm of deletions) is finished first.
        self.move_groups(usize::MAX);
        // Half full, so that a table that was full at 7/8 doubles.
        let count = (items * 2).div_ceil(WIDTH).next_power_of_two();
        let old = self.main.replace(Groups::new(count));
        self.leaving = old
            .filter(|groups| groups.items > 0)
            .map(|groups| Box::new(Leaving { groups, next: 0 }));
    }

    /// Moves up to `budget` groups of the table on its way out. Four empty groups count as one.
    pub fn move_groups(&mut self, budget: usize) {
        let Some(leaving) = self.leaving.as_deref_mut() else { return };
        let Some(main) = self.main.as_mut() else { return };
        let mut quarters = budget.saturating_mul(4);
        while quarters > 0 && leaving.groups.items > 0 {
            let at = leaving.next;
            let full = leaving.groups.array[at].full();
            quarters = quarters.saturating_sub(if full.0 == 0 { 1 } else { 4 });
            for slot in full {
                let entry = leaving.groups.take(at, slot);
                main.insert(self.hasher.hash(entry.key()), entry);
            }
            leaving.next += 1;
        }
        if leaving.groups.items == 0 {
            self.leaving = None;
        }
    }

    /// Makes room for `items` entries at once, for loading.
    pub fn reserve(&mut self, items: usize) {
        let room = self.main.as_ref().map_or(0, |main| main.array.len() * WIDTH / 8 * 7);
        if items > room {
            self.resize(items * 4 / 7 + 1);
        }
    }

    /// Visits all entries of the home groups a cursor stands for and returns the next cursor, 0 at
    /// the end. An entry that is there during the whole of an iteration is visited at least once,
    /// whatever grows or shrinks in between (Redis' reverse binary cursor, `dictScan`).
    pub fn scan(&self, cursor: u64, each: &mut dyn FnMut(&Entry)) -> u64 {
        self.scan_places(cursor, &mut |side, group, slot| {
            if let Some(groups) = self.side(side) {
                each(groups.at(group, slot));
            }
        })
    }

    /// As [`Self::scan`], with exclusive access; keys must stay.
    pub fn scan_mut(&mut self, cursor: u64, each: &mut dyn FnMut(&mut Entry)) -> u64 {
        let mut places = Vec::with_capacity(WIDTH);
        let next = self.scan_places(cursor, &mut |side, group, slot| {
            places.push((side, group, slot));
        });
        for (side, group, slot) in places {
            if let Some(groups) = self.side_mut(side) {
                each(groups.at_mut(group, slot));
            }
        }
        next
    }

    fn scan_places(&self, cursor: u64, each: &mut dyn FnMut(Side, usize, usize)) -> u64 {
        let Some(main) = self.main.as_ref() else { return 0 };
        let mut sides = [(Side::Main, main), (Side::Main, main)];
        let mut count = 1;
        if let Some(leaving) = self.leaving.as_deref() {
            sides[1] = (Side::Leaving, &leaving.groups);
            count = 2;
            if leaving.groups.array.len() < main.array.len() {
                sides.swap(0, 1);
            }
        }
        let (small_side, small) = sides[0];
        let small_mask = small.mask() as u64;
        let home = (cursor & small_mask) as usize;
        small.home_places(home, self.hasher, &mut |group, slot| each(small_side, group, slot));
        if count == 1 {
            return next_cursor(cursor, small_mask);
        }
        let (large_side, large) = sides[1];
        let large_mask = large.mask() as u64;
        let mut cursor = cursor;
        loop {
            let home = (cursor & large_mask) as usize;
            large.home_places(home, self.hasher, &mut |group, slot| each(large_side, group, slot));
            cursor = next_cursor(cursor, large_mask);
            if cursor & (small_mask ^ large_mask) == 0 {
                return cursor;
            }
        }
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        [Side::Main, Side::Leaving].into_iter().filter_map(|side| self.side(side)).flat_map(
            |groups| {
                (0..groups.array.len()).flat_map(move |group| {
                    groups.array[group].full().map(move |slot| groups.at(group, slot))
                })
            },
        )
    }

    /// A uniformly chosen entry; `random` yields 64 random bits per call.
    pub fn random(&self, random: &mut dyn FnMut() -> u64) -> Option<&Entry> {
        if self.is_empty() {
            return None;
        }
        let main = self.main.as_ref()?;
        let main_slots = main.array.len() * WIDTH;
        let leaving = self.leaving.as_deref().map(|leaving| &leaving.groups);
        let slots = main_slots + leaving.map_or(0, |groups| groups.array.len() * WIDTH);
        loop {
            let pick = ((u128::from(random()) * slots as u128) >> 64) as usize;
            let (groups, pick) = match leaving {
                Some(groups) if pick >= main_slots => (groups, pick - main_slots),
                _ => (main, pick),
            };
            if groups.array[pick / WIDTH].tags[pick % WIDTH] >= 0x80 {
                return Some(groups.at(pick / WIDTH, pick % WIDTH));
            }
        }
    }

    /// Turns the table into something that can be dropped piecemeal.
    pub fn into_remains(mut self) -> Remains {
        let main = self.main.take().map(|groups| Leaving { groups, next: 0 });
        let leaving = self.leaving.take().map(|leaving| *leaving);
        Remains { parts: main.into_iter().chain(leaving).collect() }
    }

    /// Asks the processor to load the group where `hash` is looked for first.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(main) = self.main.as_ref() {
            let group = &raw const main.array[hash as usize & main.mask()];
            prefetch(group.cast::<u8>());
            prefetch(group.cast::<u8>().wrapping_add(64));
            prefetch(group.cast::<u8>().wrapping_add(128));
        }
    }

    /// Asks the processor to load the likely entry of `hash`; its group should be loaded already.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        if let Some(main) = self.main.as_ref() {
            let at = hash as usize & main.mask();
            if let Some(slot) = main.array[at].matching(tag_of(hash)).next() {
                main.at(at, slot).prefetch();
            }
        }
    }
}

/// The entries of a table that is no longer searched.
pub struct Remains {
    parts: Vec<Leaving>,
}

impl std::fmt::Debug for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remains").finish_non_exhaustive()
    }
}

impl Remains {
    /// Hands out the entries of up to `budget` groups; true once there are none left.
    pub fn step(&mut self, budget: usize, each: &mut dyn FnMut(Entry)) -> bool {
        for _ in 0..budget {
            let Some(part) = self.parts.last_mut() else { return true };
            if part.groups.items == 0 {
                self.parts.pop();
                continue;
            }
            for slot in part.groups.array[part.next].full() {
                each(part.groups.take(part.next, slot));
            }
            part.next += 1;
        }
        self.parts.is_empty()
    }
}

// SAFETY: owns its entries, which are `Send`.
unsafe impl Send for Remains {}

/// Increments the reversed bits of a cursor above the mask.
fn next_cursor(cursor: u64, mask: u64) -> u64 {
    (cursor | !mask).reverse_bits().wrapping_add(1).reverse_bits()
}
