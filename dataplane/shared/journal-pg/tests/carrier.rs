//! The carrier on real servers: the suite of all carriers, and what only this one can get wrong.
//!
//! Servers are those of Debian's package, started as an unprivileged user in temporary folders. If
//! there are none, each test says `not run` and why.

#![allow(clippy::unwrap_used)]

#[path = "carrier/access.rs"]
mod access;
#[path = "carrier/damage.rs"]
mod damage;
#[path = "carrier/fencing.rs"]
mod fencing;
#[path = "carrier/kills.rs"]
mod kills;
#[path = "carrier/replication.rs"]
mod replication;
#[path = "carrier/server.rs"]
mod server;
#[path = "carrier/setup.rs"]
mod setup;
#[path = "carrier/snapshots.rs"]
mod snapshots;
#[path = "carrier/suite.rs"]
mod suite;

use orrery_journal::carrier::suite::history;
