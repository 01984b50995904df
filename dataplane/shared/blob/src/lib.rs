//! Where archives and backups go: a folder that is synced, or a bucket that speaks S3.
//!
//! A [`Store`] holds whole objects below one address. What it promises:
//! - an object that was put is durable and whole when the call returns, or was never there;
//! - [`Store::put_new`] never replaces an object, whoever else writes there;
//! - every call ends within [`deadline`] of its size, retries included.
//!
//! It must not know what the objects mean, keep state between calls, or show credentials.

mod address;
mod error;
mod s3;
mod store;

pub use address::Address;
pub use error::BlobError;
pub use store::{Entry, Part, Put, Store};

use std::path::PathBuf;
use std::time::Duration;

/// Longest time of one call that moves nothing big, retries included.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// Longest object that is read or written at once, in bytes: room for the longest record of a
/// journal. What is put whole is in memory whole, so callers keep to much less where they can.
pub const OBJECT_BYTES_MAX: u64 = (1 << 30) + (64 << 20);
/// What the slowest store of use moves in a second, in bytes.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;
/// Objects that one listing may give.
pub const LISTED_MAX: usize = 2_000_000;

/// How a store is reached, besides its address. Folders need none of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Folder of the mounted Secret with the keys of a bucket.
    pub secret: Option<PathBuf>,
    /// `http://…` or `https://…` of a server that speaks S3; `None`: as the Secret says, or Amazon.
    pub endpoint: Option<String>,
    /// Region of the bucket; `None`: as the Secret says.
    pub region: Option<String>,
}

/// Longest time of a call that moves this many bytes.
pub fn deadline(bytes: u64) -> Duration {
    DEADLINE + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND)
}
