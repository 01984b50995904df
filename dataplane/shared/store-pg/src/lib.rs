//! Keeps stores in PostgreSQL 15 or newer: [`PgStores`], a [`Stores`](orrery_store::Stores).
//!
//! The committer of `orrery-store` decides in memory what a group of commits comes to; here that is
//! one statement in one round trip, which checks the owner of the shard as it writes.
//! `docs/store.md`, section PostgreSQL, has the tables and the reasons.
//!
//! What it promises beyond the trait:
//! - a group is written by the owner of the shard or not at all, however late it arrives;
//! - a group whose answer was lost is settled by asking: it was written, and is acknowledged, or it
//!   is written once more, behind the same version; where nobody can be asked in time, or another took
//!   over meanwhile, it is `Unknown`;
//! - who was followed by another owner hears `Fenced`, also for reads.
//!
//! It must not decide who owns a shard, or be called from within an asynchronous runtime: its calls
//! block, and panic there.

mod engine;
mod failure;
mod owner;
mod pages;
mod schema;
mod sessions;
mod stores;
mod view;
mod write;

pub use orrery_pg::{Address, AddressError, ClientCertificate, Host, OpenError, Roots, Tls};
pub use stores::{Config, KEY_BYTES_MAX, PgStores};
