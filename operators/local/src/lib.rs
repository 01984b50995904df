//! Carries the built resources of every system out as child processes on one machine.
//!
//! The same pure functions that serve a cluster serve here: a system validates and builds, this
//! crate starts what was built, and the runtime's own functions make the status from what is seen.
//!
//! | to learn | read |
//! |---|---|
//! | how files become objects, and how errors find their line | [`spec`] |
//! | which kinds there are | [`kinds`] |
//! | how objects become processes, round by round | [`world`], [`pod`] |
//! | how a process is started, kept and ended | [`process`] |
//! | what lies where | [`folder`], [`ports`], [`lock`], [`objects`] |
//! | how other commands see it | [`control`], [`snapshot`], [`table`] |
//! | the whole life | [`up`] |
//!
//! Must not: know any system. The binary names the kinds.

pub mod addresses;
pub mod check;
pub mod control;
pub mod folder;
pub mod jsonpath;
pub mod kinds;
pub mod lock;
pub mod objects;
pub mod pod;
pub mod ports;
pub mod process;
pub mod snapshot;
pub mod spec;
pub mod table;
pub mod up;
pub mod world;

pub use kinds::{Kinds, Release};
pub use up::{News, Options, UpError};
