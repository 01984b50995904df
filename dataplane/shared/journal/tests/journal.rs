//! The journal as its users meet it.

#![allow(clippy::unwrap_used)]

#[path = "journal/real_disk.rs"]
mod real_disk;
