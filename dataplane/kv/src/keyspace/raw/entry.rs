//! One key with its value in a single allocation.
//!
//! Layout, all fields unaligned:
//! `flags u8 | clock u16 | key length varint | value length varint | [expire i64] | key | value`.
//! `flags`: bits 0-3 kind, bit 4 an expire slot is present, bit 5 snapshot parity, bits 6-7 use
//! counter for eviction. Short strings are stored in place; every other kind stores the pointer of
//! a `Box<Object>` as its eight value bytes. An 11 byte key with a 64 byte value takes 80 bytes.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use crate::keyspace::object::Object;

const HAS_EXPIRE: u8 = 1 << 4;
const PARITY: u8 = 1 << 5;
const USE_SHIFT: u8 = 6;
const KIND_MASK: u8 = 0x0f;
const FIXED: usize = 3;
/// Deadline stored while the slot exists and the key does not expire.
const NEVER: i64 = i64::MIN;

/// What an entry holds, as far as the object header must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A string that is the canonical text of a 64-bit integer.
    Int = 0,
    /// A short string set as a whole.
    Embstr = 1,
    /// A string that was changed in place or is longer than 44 bytes, stored in the entry.
    Raw = 2,
    /// A string in its own growable buffer.
    Big = 3,
    /// A hash.
    Hash = 4,
    /// A list.
    List = 5,
    /// A set.
    Set = 6,
}

impl Kind {
    fn of(bits: u8) -> Self {
        match bits & KIND_MASK {
            0 => Kind::Int,
            1 => Kind::Embstr,
            2 => Kind::Raw,
            3 => Kind::Big,
            4 => Kind::Hash,
            5 => Kind::List,
            _ => Kind::Set,
        }
    }

    /// Whether the value bytes lie in the entry itself.
    pub fn is_inline(self) -> bool {
        matches!(self, Kind::Int | Kind::Embstr | Kind::Raw)
    }

    /// Whether this is one of the string kinds.
    pub fn is_string(self) -> bool {
        self.is_inline() || self == Kind::Big
    }
}

/// An owned key with its value.
pub struct Entry {
    /// Points at an allocation laid out as the module says; owned by this value.
    ptr: NonNull<u8>,
}

// SAFETY: an entry owns its allocation and the boxed object inside it, and `Object` is `Send`.
unsafe impl Send for Entry {}
// SAFETY: shared access only reads; every change goes through `&mut self`.
unsafe impl Sync for Entry {}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("kind", &self.kind())
            .field("key", &String::from_utf8_lossy(self.key()))
            .finish_non_exhaustive()
    }
}

/// Offsets of the parts of one allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    expire_at: usize,
    key_at: usize,
    key_len: usize,
    value_at: usize,
    value_len: usize,
}

impl Shape {
    fn new(key_len: usize, value_len: usize, has_expire: bool) -> Self {
        let expire_at = FIXED + varint_len(key_len) + varint_len(value_len);
        let key_at = expire_at + if has_expire { 8 } else { 0 };
        let value_at = key_at + key_len;
        Self { expire_at, key_at, key_len, value_at, value_len }
    }

    fn size(&self) -> usize {
        self.value_at + self.value_len
    }
}

fn varint_len(value: usize) -> usize {
    let bits = usize::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

fn layout_of(size: usize) -> Layout {
    // Alignment 1: all access is unaligned, and allocators align to 8 or 16 anyway.
    match Layout::from_size_align(size, 1) {
        Ok(layout) => layout,
        Err(_) => unreachable!("keys and values are bounded far below isize::MAX"),
    }
}

impl Entry {
    /// A string entry whose bytes lie in the entry itself.
    pub fn inline(kind: Kind, key: &[u8], value: &[u8], expire_ms: Option<i64>) -> Self {
        debug_assert!(kind.is_inline());
        let (entry, shape) = Self::allocate(kind as u8, key, value.len(), expire_ms);
        // SAFETY: `allocate` reserved `value_len` bytes at `value_at`; the source is another object.
        unsafe {
            ptr::copy_nonoverlapping(
                value.as_ptr(),
                entry.ptr.as_ptr().add(shape.value_at),
                value.len(),
            );
        }
        entry
    }

    /// An entry whose value lies in a box of its own.
    pub fn boxed(key: &[u8], object: Object, expire_ms: Option<i64>) -> Self {
        let kind = object.kind();
        let raw = Box::into_raw(Box::new(object));
        let (entry, shape) = Self::allocate(kind as u8, key, size_of::<*mut Object>(), expire_ms);
        // SAFETY: eight bytes are reserved at `value_at`; the write is unaligned.
        unsafe {
            entry.ptr.as_ptr().add(shape.value_at).cast::<*mut Object>().write_unaligned(raw);
        }
        entry
    }

    /// Allocates and fills everything except the value bytes.
    fn allocate(flags: u8, key: &[u8], value_len: usize, expire_ms: Option<i64>) -> (Self, Shape) {
        let shape = Shape::new(key.len(), value_len, expire_ms.is_some());
        let layout = layout_of(shape.size());
        // SAFETY: the size is at least `FIXED`, so not zero.
        let raw = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(raw) else { handle_alloc_error(layout) };
        // SAFETY: all writes lie inside the `shape.size()` bytes just allocated.
        unsafe {
            *raw = flags | if expire_ms.is_some() { HAS_EXPIRE } else { 0 };
            raw.add(1).cast::<u16>().write_unaligned(0);
            let next = write_varint(raw, FIXED, key.len());
            write_varint(raw, next, value_len);
            if let Some(at) = expire_ms {
                raw.add(shape.expire_at).cast::<i64>().write_unaligned(at);
            }
            ptr::copy_nonoverlapping(key.as_ptr(), raw.add(shape.key_at), key.len());
        }
        (Self { ptr: start }, shape)
    }

    #[inline]
    fn flags(&self) -> u8 {
        // SAFETY: the first byte is always initialised.
        unsafe { *self.ptr.as_ptr() }
    }

    #[inline]
    fn set_flags(&mut self, flags: u8) {
        // SAFETY: the first byte belongs to this entry, held exclusively.
        unsafe { *self.ptr.as_ptr() = flags }
    }

    #[inline]
    fn shape(&self) -> Shape {
        // SAFETY: both varints were written by `allocate` and end inside the allocation.
        let (key_len, next) = unsafe { read_varint(self.ptr.as_ptr(), FIXED) };
        // SAFETY: as above.
        let (value_len, expire_at) = unsafe { read_varint(self.ptr.as_ptr(), next) };
        let key_at = expire_at + if self.flags() & HAS_EXPIRE != 0 { 8 } else { 0 };
        Shape { expire_at, key_at, key_len, value_at: key_at + key_len, value_len }
    }

    /// What the entry holds.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::of(self.flags())
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: key bytes were initialised by `allocate` and live as long as the entry.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr().add(shape.key_at), shape.key_len) }
    }

    /// The string value, whichever string kind it has; empty for other kinds.
    #[inline]
    pub fn string(&self) -> &[u8] {
        if self.kind().is_inline() {
            let shape = self.shape();
            // SAFETY: inline value bytes were initialised by `inline`.
            return unsafe {
                std::slice::from_raw_parts(self.ptr.as_ptr().add(shape.value_at), shape.value_len)
            };
        }
        match self.object() {
            Some(Object::Big(bytes)) => bytes,
            _ => &[],
        }
    }

    /// The bytes of an inline string, to be changed in place; empty for other kinds.
    pub fn inline_mut(&mut self) -> &mut [u8] {
        if !self.kind().is_inline() {
            return &mut [];
        }
        let shape = self.shape();
        // SAFETY: as in `string`, with exclusive access.
        unsafe {
            std::slice::from_raw_parts_mut(self.ptr.as_ptr().add(shape.value_at), shape.value_len)
        }
    }

    fn object_ptr(&self) -> Option<*mut Object> {
        if self.kind().is_inline() {
            return None;
        }
        let at = self.shape().value_at;
        // SAFETY: entries that are not inline hold a pointer made by `Box::into_raw` there.
        Some(unsafe { self.ptr.as_ptr().add(at).cast::<*mut Object>().read_unaligned() })
    }

    /// The boxed value; none for inline strings.
    #[inline]
    pub fn object(&self) -> Option<&Object> {
        // SAFETY: the box is owned by this entry and borrowed with it.
        self.object_ptr().map(|raw| unsafe { &*raw })
    }

    /// The boxed value, to be changed; none for inline strings. Its kind must stay.
    #[inline]
    pub fn object_mut(&mut self) -> Option<&mut Object> {
        // SAFETY: as in `object`, with exclusive access.
        self.object_ptr().map(|raw| unsafe { &mut *raw })
    }

    /// When the key expires, in milliseconds since the epoch.
    #[inline]
    pub fn expire_ms(&self) -> Option<i64> {
        if self.flags() & HAS_EXPIRE == 0 {
            return None;
        }
        let at = self.shape().expire_at;
        // SAFETY: the flag says that eight bytes lie at `expire_at`.
        let value = unsafe { self.ptr.as_ptr().add(at).cast::<i64>().read_unaligned() };
        (value != NEVER).then_some(value)
    }

    /// Sets or clears the deadline. The slot stays when it is cleared, so that keys which are
    /// touched again and again are not copied.
    pub fn set_expire_ms(&mut self, expire_ms: Option<i64>) {
        if self.flags() & HAS_EXPIRE != 0 {
            let at = self.shape().expire_at;
            let value = expire_ms.unwrap_or(NEVER);
            // SAFETY: as in `expire_ms`, with exclusive access.
            unsafe { self.ptr.as_ptr().add(at).cast::<i64>().write_unaligned(value) };
        } else if expire_ms.is_some() {
            *self = self.moved(None, expire_ms);
        }
    }

    /// Replaces value and deadline; the allocation is kept when the size allows it. The key and
    /// the counters stay.
    pub fn set_inline(&mut self, kind: Kind, value: &[u8], expire_ms: Option<i64>) {
        debug_assert!(kind.is_inline());
        let has_slot = self.flags() & HAS_EXPIRE != 0;
        if self.kind().is_inline() && has_slot == expire_ms.is_some() {
            let shape = self.shape();
            if shape.value_len == value.len() {
                self.set_flags(self.flags() & !KIND_MASK | kind as u8);
                self.inline_mut().copy_from_slice(value);
                if has_slot {
                    self.set_expire_ms(expire_ms);
                }
                return;
            }
        }
        let mut next = Entry::inline(kind, self.key(), value, expire_ms);
        next.copy_marks(self);
        *self = next;
    }

    /// Replaces value and deadline. The key and the counters stay.
    pub fn set_object(&mut self, object: Object, expire_ms: Option<i64>) {
        let mut next = Entry::boxed(self.key(), object, expire_ms);
        next.copy_marks(self);
        *self = next;
    }

    /// The same value under another key, without copying a boxed value.
    #[must_use]
    pub fn renamed(mut self, key: &[u8]) -> Self {
        let expire_ms = self.expire_ms();
        self.moved(Some(key), expire_ms)
    }

    /// Moves key and value into a fresh allocation and leaves an empty inline string behind.
    fn moved(&mut self, key: Option<&[u8]>, expire_ms: Option<i64>) -> Self {
        let shape = self.shape();
        let key = key.unwrap_or_else(|| self.key());
        let (mut next, at) =
            Self::allocate(self.flags() & KIND_MASK, key, shape.value_len, expire_ms);
        // SAFETY: both allocations hold `value_len` value bytes. For boxed kinds this copies the
        // pointer; ownership passes to `next` because the old entry is emptied below.
        unsafe {
            ptr::copy_nonoverlapping(
                self.ptr.as_ptr().add(shape.value_at),
                next.ptr.as_ptr().add(at.value_at),
                shape.value_len,
            );
        }
        next.copy_marks(self);
        // The pointer, if any, is now owned by `next`: mark the old entry as inline so that its
        // drop frees the allocation only.
        self.set_flags(self.flags() & !KIND_MASK);
        next
    }

    fn copy_marks(&mut self, from: &Self) {
        let keep = HAS_EXPIRE | KIND_MASK;
        self.set_flags(self.flags() & keep | from.flags() & !keep);
        self.set_clock(from.clock());
    }

    /// A deep copy.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let mut copy = match self.object() {
            None => Entry::inline(self.kind(), self.key(), self.string(), self.expire_ms()),
            Some(object) => Entry::boxed(self.key(), object.clone(), self.expire_ms()),
        };
        copy.copy_marks(self);
        copy
    }

    /// Coarse time of the last access, in seconds, modulo 65,536.
    #[inline]
    pub fn clock(&self) -> u16 {
        // SAFETY: bytes 1 and 2 are always initialised.
        unsafe { self.ptr.as_ptr().add(1).cast::<u16>().read_unaligned() }
    }

    /// Sets the time of the last access.
    #[inline]
    pub fn set_clock(&mut self, clock: u16) {
        // SAFETY: as in `clock`, with exclusive access.
        unsafe { self.ptr.as_ptr().add(1).cast::<u16>().write_unaligned(clock) }
    }

    /// The snapshot parity bit.
    #[inline]
    pub fn parity(&self) -> bool {
        self.flags() & PARITY != 0
    }

    /// Sets the snapshot parity bit.
    pub fn set_parity(&mut self, parity: bool) {
        self.set_flags(self.flags() & !PARITY | if parity { PARITY } else { 0 });
    }

    /// The use counter of eviction, 0 to 3.
    #[inline]
    pub fn uses(&self) -> u8 {
        self.flags() >> USE_SHIFT
    }

    /// Sets the use counter; values above 3 are kept as 3.
    #[inline]
    pub fn set_uses(&mut self, uses: u8) {
        self.set_flags(self.flags() & ((1 << USE_SHIFT) - 1) | uses.min(3) << USE_SHIFT);
    }

    /// Bytes on the heap: the allocation and the boxed value.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        let own = self.shape().size();
        own + self.object().map_or(0, |object| size_of::<Object>() + object.heap_bytes())
    }

    /// Takes the boxed value out, leaving an empty string behind.
    pub fn take_object(&mut self) -> Option<Object> {
        let raw = self.object_ptr()?;
        self.set_flags(self.flags() & !KIND_MASK);
        // SAFETY: made by `Box::into_raw`; the entry no longer counts as its owner.
        Some(unsafe { *Box::from_raw(raw) })
    }

    /// Asks the processor to load the header.
    #[inline]
    pub(super) fn prefetch(&self) {
        super::group::prefetch(self.ptr.as_ptr());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let size = self.shape().size();
        if let Some(raw) = self.object_ptr() {
            // SAFETY: made by `Box::into_raw` in `boxed`, owned by this entry alone.
            drop(unsafe { Box::from_raw(raw) });
        }
        // SAFETY: allocated in `allocate` with the same size and alignment.
        unsafe { dealloc(self.ptr.as_ptr(), layout_of(size)) }
    }
}

/// Reads a varint at `at`; returns the value and the offset behind it.
///
/// # Safety
/// A complete varint must be initialised at `start + at`.
#[inline]
unsafe fn read_varint(start: *const u8, mut at: usize) -> (usize, usize) {
    // SAFETY: the caller says that the bytes up to the final one are initialised.
    unsafe {
        let first = *start.add(at);
        at += 1;
        if first < 0x80 {
            return (first as usize, at);
        }
        let mut value = (first & 0x7f) as usize;
        let mut shift = 7;
        loop {
            let byte = *start.add(at);
            at += 1;
            value |= ((byte & 0x7f) as usize) << shift;
            if byte < 0x80 {
                return (value, at);
            }
            shift += 7;
        }
    }
}

/// Writes a varint at `at`; returns the offset behind it.
///
/// # Safety
/// `varint_len(value)` bytes at `start + at` must belong to the caller.
unsafe fn write_varint(start: *mut u8, mut at: usize, mut value: usize) -> usize {
    while value >= 0x80 {
        // SAFETY: inside the bytes the caller owns.
        unsafe { *start.add(at) = value as u8 | 0x80 };
        value >>= 7;
        at += 1;
    }
    // SAFETY: as above.
    unsafe { *start.add(at) = value as u8 };
    at + 1
}

/// A slot of the index: initialised exactly when its tag says so.
pub(super) type Slot = std::mem::MaybeUninit<ManuallyDrop<Entry>>;
