//! The only unsafe code of the crate: one-allocation entries and the open-addressing index.
//!
//! Everything above works with safe values: [`Entry`] owns its allocation, [`Table`] owns its
//! entries. No raw pointer leaves this module.
#![allow(unsafe_code)]

mod entry;
mod group;
mod groups;
mod table;

pub use entry::{Entry, Kind};
pub use table::{Place, Remains, Table};

#[cfg(test)]
mod tests;
