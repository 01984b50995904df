//! The engine as a process that is killed.

mod archive;
mod calls;
mod clock;
mod crash;
mod engine;
mod errands;
mod overdue;
mod pools;
mod sink;
mod takeover;
mod zones;
