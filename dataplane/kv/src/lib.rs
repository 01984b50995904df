//! The key-value data plane: RESP server over a journalled single-writer machine.
//!
//! | part | modules |
//! |---|---|
//! | the machine: keys, commands, effects; pure | `machine`, `keyspace`, `commands`, `effects`, `namespaces`, `eviction` |
//! | the server: sockets, sessions, gating | `server` |
//! | what survives: journal, snapshots, recovery | `persistence`, `rdb` |
//! | primary and followers | `replication`, `server::group` |
//! | the operator's side: management, metrics | `operand`, `metrics`, `config` |
//!
//! [`run`] is the whole process.

pub mod adopt;
mod archive;
mod cluster;
mod command_table;
pub mod commands;
mod config;
pub mod effects;
pub mod eviction;
pub mod keyspace;
pub mod machine;
mod metrics;
pub mod namespaces;
mod operand;
mod persistence;
pub mod rdb;
mod replication;
mod serve;
mod server;
mod watch;

pub use config::Unusable;
pub use metrics::metrics_text;
pub use serve::{ServeArgs, ServeError, run};
