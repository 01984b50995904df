//! Rules of time beside other implementations of them.

pub mod lines;
