//! Folders on a real disk, a store in memory, and a bucket that answers what the test says.

#![allow(clippy::unwrap_used)]

#[path = "blob/bucket.rs"]
mod bucket;
#[path = "blob/folder.rs"]
mod folder;
