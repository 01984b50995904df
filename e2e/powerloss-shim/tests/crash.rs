//! Processes that keep a journal and end in every way there is.

#![allow(clippy::unwrap_used)]

#[path = "crash/beside.rs"]
mod beside;
#[path = "crash/careless.rs"]
mod careless;
#[path = "crash/kills.rs"]
mod kills;
#[path = "crash/power.rs"]
mod power;
#[path = "crash/stage.rs"]
mod stage;
#[path = "crash/writer.rs"]
mod writer;
