//! Speaks to PostgreSQL 15 or newer: finds the server that takes writes, lets nobody listen, and says
//! of each statement whether it was done, was not, or may have been.
//!
//! What it promises:
//! - a statement counts as done when the server is ready for the next one, and no standby that it had
//!   to wait for was given up;
//! - no call outlasts the time it was given by more than a moment;
//! - a password is never in an error, a log or a `Debug`.
//!
//! It must not try a statement again by itself but where [`Pool::run`] says so, decide who owns what,
//! or be called from within an asynchronous runtime: its calls block, and panic there.

mod address;
mod connect;
mod failure;
mod link;
mod pool;
mod schema;
mod session;
#[cfg(feature = "suite")]
pub mod suite;
mod tls;

pub use address::{Address, AddressError, Host, PORT};
pub use connect::{OpenError, Target};
pub use failure::{Failure, Verdict};
pub use link::{Link, Param};
pub use orrery_kit::tls::{ClientCertificate, Roots};
pub use pool::Pool;
pub use schema::{Layout, only};
pub use session::Session;
pub use tls::{Tls, TlsError};

use std::time::Duration;

/// Longest time of a call that moves little.
pub const CALL: Duration = Duration::from_secs(10);
/// What the slowest connection of use moves in a second, in bytes.
pub const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;

/// Longest time of a call that moves this many bytes.
pub fn budget(bytes: usize) -> Duration {
    CALL + Duration::from_millis(bytes as u64 * 1000 / SLOWEST_BYTES_PER_SECOND)
}
