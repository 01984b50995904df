//! What a loss of power leaves of one flat folder, as far as the contract of POSIX goes: what was
//! synced is there; of everything else any part may be.
//!
//! An [`Image`] keeps beside the real folder (*live*, what processes see) what would survive. Content
//! survives once its file was synced, names once the folder was. When power is lost, of every sector
//! of 512 bytes that differs either content may be found, and of the changes of names a prefix or any
//! subset was made, a rename in whole or not at all.
//!
//! A failed sync marks pages clean that are not on the disk, as Linux does: readers still see them, the
//! next sync succeeds without them, and only writing them again makes them dirty. Rebello et al., "Can
//! Applications Recover from fsync Failures?", USENIX ATC 2020, found that on ext4, XFS and Btrfs.
//!
//! The book is kept in files, so it outlives the process that writes: what a killed process left in the
//! page cache is still not synced when the next one reads it. Less than a disk can do: of a sector that
//! was written twice without a sync only the last content may be found, not the first; and what was
//! never written never changes.

mod image;
mod mix;
mod random;

pub use image::{Image, Lost};
pub use random::Random;
