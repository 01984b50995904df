//! The binary as a user meets it on one machine: real processes, real sockets, real files.

// Helpers of tests may fail a test as tests may.
#![allow(clippy::unwrap_used)]

#[path = "orrery/adopt.rs"]
mod adopt;
#[path = "orrery/archive.rs"]
mod archive;
#[path = "orrery/check.rs"]
mod check;
#[path = "orrery/cluster.rs"]
mod cluster;
#[path = "orrery/commands.rs"]
mod commands;
#[path = "orrery/live.rs"]
mod live;
#[path = "orrery/stage.rs"]
mod stage;
#[path = "orrery/tls.rs"]
mod tls;
#[path = "orrery/up.rs"]
mod up;
#[path = "orrery/watch.rs"]
mod watch;
