//! The allocator of the process, and how soon it gives memory back.

#![allow(unsafe_code)] // an option of the allocator is set by a call into C, the reason at it

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the binding has no name for.
const PURGE_DELAY: mi_option_t = 15;
/// Milliseconds after which memory that nobody uses goes back to the system: as of mimalloc 2. Version 3
/// keeps it for a second, and then until its thread allocates again, which in a process at rest is never.
const PURGE_DELAY_MS: i64 = 10;

/// To be called before there are threads. `MIMALLOC_PURGE_DELAY` of the environment goes first.
pub(crate) fn set_up() {
    // SAFETY: the options may not be set from two threads at once, and there is one.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}
