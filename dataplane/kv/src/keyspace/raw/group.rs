//! Sixteen slots of the index with their tags, searched at once.

use super::entry::Slot;

/// Tag of a slot that was never used since the table was made.
pub(super) const EMPTY: u8 = 0;
/// Tag of a slot whose entry is gone while probes must still pass it.
pub(super) const DELETED: u8 = 1;
/// Slots per group.
pub(super) const WIDTH: usize = 16;

/// One group: a tag of 0x80 plus seven bits of the hash per used slot.
#[repr(C, align(16))]
pub(super) struct Group {
    pub(super) tags: [u8; WIDTH],
    pub(super) slots: [Slot; WIDTH],
}

/// A set of slots of one group, lowest first.
pub(super) struct Slots(pub(super) u32);

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

/// The tag of a hash: the top seven bits, so that it says nothing the group number says.
#[inline]
pub(super) fn tag_of(hash: u64) -> u8 {
    (hash >> 57) as u8 | 0x80
}

impl Group {
    /// Slots whose tag is `tag`.
    #[inline]
    pub(super) fn matching(&self, tag: u8) -> Slots {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{
                __m128i, _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8,
            };
            // SAFETY: SSE2 is part of x86_64; the group is 16-aligned and `tags` comes first.
            unsafe {
                let tags = _mm_load_si128(std::ptr::from_ref(self).cast::<__m128i>());
                let equal = _mm_cmpeq_epi8(tags, _mm_set1_epi8(tag as i8));
                Slots(_mm_movemask_epi8(equal) as u32)
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let bits = self.tags.iter().enumerate();
            Slots(bits.fold(0, |bits, (i, t)| bits | u32::from(*t == tag) << i))
        }
    }

    /// Slots that hold an entry.
    #[inline]
    pub(super) fn full(&self) -> Slots {
        #[cfg(target_arch = "x86_64")]
        {
            use core::arch::x86_64::{__m128i, _mm_load_si128, _mm_movemask_epi8};
            // SAFETY: as in `matching`; the high bits of the tags are the mask.
            unsafe {
                let tags = _mm_load_si128(std::ptr::from_ref(self).cast::<__m128i>());
                Slots(_mm_movemask_epi8(tags) as u32)
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let bits = self.tags.iter().enumerate();
            Slots(bits.fold(0, |bits, (i, t)| bits | u32::from(*t >= 0x80) << i))
        }
    }

    /// Whether a probe may stop here.
    #[inline]
    pub(super) fn has_empty(&self) -> bool {
        self.matching(EMPTY).0 != 0
    }

    /// The first slot that can take an entry.
    #[inline]
    pub(super) fn free_slot(&self) -> Option<usize> {
        self.tags.iter().position(|tag| *tag < 0x80)
    }
}

/// Asks the processor to load the line at `at`; a hint without effect on results.
#[inline]
pub(super) fn prefetch(at: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch never faults, whatever the address.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = at;
}
