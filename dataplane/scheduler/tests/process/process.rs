//! The engine as a process that is killed.

mod clock;
mod crash;
mod engine;
mod sink;
mod takeover;
mod zones;
