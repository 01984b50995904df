//! The scheduler as those around it meet it: real sockets, real threads.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "api/api.rs"]
mod api;
#[path = "dispatch/dispatch.rs"]
mod dispatch;
#[path = "harness/harness.rs"]
mod harness;
#[path = "process/process.rs"]
mod process;
