//! One level of the wheel: 64 slots, a word that says which are occupied, and the arithmetic of
//! digits in base 64. Knows nothing of firing or of the other levels.

/// Bits of a deadline that choose the slot within a level.
const DIGIT_BITS: usize = 6;
/// Slots of a level.
const SLOTS: usize = 1 << DIGIT_BITS;
/// Levels that cover all 64 bits of a deadline.
pub(crate) const LEVELS: usize = 64_usize.div_ceil(DIGIT_BITS);
/// Items a slot keeps room for after it was emptied; more goes back to the allocator.
const KEPT_CAPACITY_MAX: usize = 64;

/// The level of a deadline, seen from `elapsed`: the highest digit in which they differ.
pub(crate) fn level_of(elapsed: u64, key: u64) -> usize {
    let differing = (elapsed ^ key) | 1;
    differing.ilog2() as usize / DIGIT_BITS
}

/// The digit of `key` at `level`.
pub(crate) fn slot_of(key: u64, level: usize) -> usize {
    (key >> (level * DIGIT_BITS)) as usize & (SLOTS - 1)
}

/// The first moment of a slot: digits above `level` are those of `elapsed`, below it are zeros.
pub(crate) fn start_of(elapsed: u64, level: usize, slot: usize) -> u64 {
    let shift = level * DIGIT_BITS;
    let above = elapsed.checked_shr((shift + DIGIT_BITS) as u32).unwrap_or(0);
    let above = above.checked_shl((shift + DIGIT_BITS) as u32).unwrap_or(0);
    above | ((slot as u64) << shift)
}

/// Deadlines and items side by side, so that a small `T` costs no padding.
#[derive(Debug)]
struct Slot<T> {
    deadlines_ms: Vec<i64>,
    items: Vec<T>,
}

#[derive(Debug)]
pub(crate) struct Level<T> {
    occupied: u64,
    slots: Vec<Slot<T>>,
}

impl<T> Level<T> {
    pub(crate) fn new() -> Self {
        let slot = || Slot { deadlines_ms: Vec::new(), items: Vec::new() };
        Self { occupied: 0, slots: std::iter::repeat_with(slot).take(SLOTS).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    pub(crate) fn is_occupied(&self, slot: usize) -> bool {
        self.occupied >> slot & 1 == 1
    }

    pub(crate) fn first_occupied(&self) -> Option<usize> {
        (self.occupied != 0).then(|| self.occupied.trailing_zeros() as usize)
    }

    pub(crate) fn push(&mut self, slot: usize, deadline_ms: i64, item: T) {
        self.occupied |= 1 << slot;
        self.slots[slot].deadlines_ms.push(deadline_ms);
        self.slots[slot].items.push(item);
    }

    pub(crate) fn pop(&mut self, slot: usize) -> Option<(i64, T)> {
        let held = &mut self.slots[slot];
        let popped = held.deadlines_ms.pop().zip(held.items.pop());
        if held.items.is_empty() {
            self.occupied &= !(1 << slot);
            if held.items.capacity() > KEPT_CAPACITY_MAX {
                held.deadlines_ms.shrink_to(KEPT_CAPACITY_MAX);
                held.items.shrink_to(KEPT_CAPACITY_MAX);
            }
        }
        popped
    }

    /// Items there is room for in all slots.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.slots.iter().map(|s| s.items.capacity().max(s.deadlines_ms.capacity())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_at_every_level_rebuild_the_deadline() {
        for key in [0, 63, 64, 4095, 4096, u64::MAX, 1 << 63, 0x0123_4567_89ab_cdef] {
            let mut rebuilt = 0;
            for level in (0..LEVELS).rev() {
                rebuilt = start_of(rebuilt, level, slot_of(key, level));
            }
            assert_eq!(rebuilt, key);
        }
    }

    #[test]
    fn the_level_is_the_highest_digit_that_differs() {
        assert_eq!(level_of(0, 0), 0);
        assert_eq!(level_of(0, 63), 0);
        assert_eq!(level_of(0, 64), 1);
        assert_eq!(level_of(63, 64), 1);
        assert_eq!(level_of(64, 65), 0);
        assert_eq!(level_of(0, u64::MAX), LEVELS - 1);
    }
}
