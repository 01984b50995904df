//! Carries the journal of a shard in a log that speaks the Kafka protocol, Apache Kafka 4 or what
//! speaks as it does: [`KafkaCarrier`], a [`Carrier`](orrery_journal::Carrier).
//!
//! A journal is a topic of one partition. Each record says at which offset it wants to lie, and counts
//! nowhere else; so every write is a comparison with where the log ended, and nothing is needed of
//! brokers but that they number what they write. `docs/carriers.md`, section Kafka, has the reasons.
//!
//! What it promises beyond the trait:
//! - what is acknowledged is on as many brokers as `min.insync.replicas` asks for;
//! - no request outlasts [`CALL`] by more than what its bytes take at [`SLOWEST_BYTES_PER_SECOND`];
//! - a password is never in an error, a log or a `Debug`.
//!
//! It must not decide who owns a shard, or be called where blocking does harm: its calls block.

mod batch;
mod carrier;
mod cluster;
mod connection;
mod failure;
mod log;
mod sasl;
mod session;
mod setup;
mod snapshots;
mod state;
#[cfg(feature = "suite")]
pub mod suite;
mod topic;
mod wire;

pub use carrier::{KafkaCarrier, OpenError, Options, Tls};
pub use cluster::Host;
pub use failure::{CALL, SLOWEST_BYTES_PER_SECOND};
pub use orrery_kit::tls::{ClientCertificate, Roots, TlsError};
pub use sasl::{Mechanism, User};
pub use setup::Replication;
