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

mod carrier;
mod failure;
mod groups;
mod schema;
mod snapshots;

pub use carrier::{OpenError, Options, PgCarrier};
pub use orrery_pg::{Address, AddressError, CALL, ClientCertificate, Host, PORT, Roots};
pub use orrery_pg::{SLOWEST_BYTES_PER_SECOND, Tls, TlsError};
