//! Where archives and backups go: a folder that is synced, or a bucket that speaks S3.
//!
//! A [`Store`] holds whole objects below one address. What it promises:
//! - an object that was put is durable and whole when the call returns, or was never there;
//! - [`Store::put_new`] never replaces an object, whoever else writes there;
//! - every call ends within [`DEADLINE`], retries included.
//!
//! It must not know what the objects mean, keep state between calls, or show credentials.

mod address;
mod error;
mod s3;
mod store;

pub use address::Address;
pub use error::BlobError;
pub use store::{Entry, Put, Store};

use std::time::Duration;

/// Longest time of one call, retries included.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// Longest object that is read or written at once, in bytes.
pub const OBJECT_BYTES_MAX: u64 = 64 << 20;
/// Objects that one listing may give.
pub const LISTED_MAX: usize = 500_000;
