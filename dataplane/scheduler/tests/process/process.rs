//! The engine as a process that is killed.

mod crash;
mod engine;
mod sink;
