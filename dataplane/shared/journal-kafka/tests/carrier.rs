//! The carrier on a real broker: the suite of all carriers, and what only this one can get wrong.
//!
//! All tests but one share one broker. If there is no Java, or no Kafka for it, each says `not run` and why.

#![allow(clippy::unwrap_used)]

#[path = "carrier/access.rs"]
mod access;
#[path = "carrier/broker.rs"]
mod broker;
#[path = "carrier/cluster.rs"]
mod cluster;
#[path = "carrier/damage.rs"]
mod damage;
#[path = "carrier/fencing.rs"]
mod fencing;
#[path = "carrier/kills.rs"]
mod kills;
#[path = "carrier/snapshots.rs"]
mod snapshots;
#[path = "carrier/suite.rs"]
mod suite;

use orrery_journal::carrier::suite::history;
