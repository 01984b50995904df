//! Carries the journal of a shard in PostgreSQL 15 or newer: [`PgCarrier`], a
//! [`Carrier`](orrery_journal::Carrier).
//!
//! A group is one row, an append one statement in one round trip, and the row of the journal, which
//! every change locks, says who may. `docs/carriers.md`, section PostgreSQL, has the tables, the
//! reasons and what was measured.
//!
//! What it promises beyond the trait:
//! - what is acknowledged was flushed by the server, and by its synchronous standbys where it has
//!   some, also when it is found on a second try or was left behind by somebody else;
//! - no request outlasts [`CALL`] by more than what its bytes take at [`SLOWEST_BYTES_PER_SECOND`];
//!   `save` is one request for each MiB and two more, all else is one, and what `save` and `trim`
//!   clean up behind themselves is bounded by seconds;
//! - a password is never in an error, a log or a `Debug`.
//!
//! It must not read a clock of a server, decide who owns a shard, or be called from within an
//! asynchronous runtime: its calls block, and panic there.

mod address;
mod carrier;
mod connect;
mod groups;
mod link;
mod pool;
mod schema;
mod snapshots;
mod tls;

pub use address::{Address, AddressError, Host, PORT};
pub use carrier::{OpenError, Options, PgCarrier};
pub use tls::{ClientCertificate, Roots, Tls, TlsError};

use std::time::Duration;

/// Longest time of a call that moves little.
pub const CALL: Duration = Duration::from_secs(10);
/// What the slowest connection of use moves in a second, in bytes.
pub const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;

/// Longest time of a call that moves this many bytes.
fn budget(bytes: usize) -> Duration {
    CALL + Duration::from_millis(bytes as u64 * 1000 / SLOWEST_BYTES_PER_SECOND)
}
