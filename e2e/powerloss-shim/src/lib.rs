//! A library to be preloaded (`LD_PRELOAD`) into a process that keeps files in one flat folder. It
//! keeps the book of what was synced there ([`Image`](orrery_powerloss::Image)), makes calls fail, and
//! ends the process in the middle of one, all from a seed.
//!
//! | variable | meaning |
//! |---|---|
//! | `ORRERY_POWERLOSS_LIVE` | the folder, absolute; without it nothing is watched |
//! | `ORRERY_POWERLOSS_SIDE` | the book, begun by who starts the process |
//! | `ORRERY_POWERLOSS_SEED` | decides everything below |
//! | `ORRERY_POWERLOSS_CUT` | the process is killed within its so many-eth watched call |
//! | `ORRERY_POWERLOSS_EIO` | how many syncs in a thousand fail |
//! | `ORRERY_POWERLOSS_FULL` | how many writes in a thousand begin a spell of `ENOSPC` |
//! | `ORRERY_POWERLOSS_SHORT` | how many writes in a thousand write less than they were asked to |
//!
//! Watched are the calls that Rust's standard library makes on glibc: `open`, `pwrite`, `fsync`,
//! `fdatasync`, `rename`, `unlink`, `close`. Another call that would change a watched file ends the
//! process with a message: a book with gaps proves nothing. A sync is only noted, not carried out.
#![allow(unsafe_code)] // it stands in for functions of the C library; the reasons at each

mod calls;
mod plan;
mod watch;
