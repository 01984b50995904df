//! The keys of one database and the values they hold: memory layout without any command.
//!
//! Nothing here knows of commands, time, effects or clients.

pub mod hash;
pub mod hasher;
pub mod intset;
pub mod list;
pub mod members;
pub mod object;
pub mod packed;
pub mod raw;
pub mod set;
pub mod thresholds;
