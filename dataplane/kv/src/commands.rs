//! What each command does: parsing of its arguments, its semantics, its reply and its effect.
//!
//! One file per group; texts and orders of checks are those of Redis 7.0.15. Commands reach keys
//! only through the machine's access and write functions.

pub mod extended;
pub mod fail;
pub mod generic;
pub mod glob;
pub mod hash;
pub mod list;
pub mod number;
pub mod options;
pub mod sample;
pub mod scan;
pub mod server;
pub mod set;
pub mod string;

pub use crate::command_table::{
    BeginSearch, CommandSpec, FindKeys, Flags, Handler, KeySpec, Lookup, by_name as lookup,
    commands,
};

#[cfg(test)]
mod tests;
