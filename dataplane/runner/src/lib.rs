//! The runner: carries out commands in a pod of a pool, each once, as a scheduler asks by HTTP.
//!
//! | part | module |
//! |---|---|
//! | from arguments to a serving process, and its end | `serve` |
//! | requests and who may make them | `api`, `listen` |
//! | the runs there are, and how each ended | `runs` |
//! | one command, from its start to its end | `command`, `tail` |
//! | processes that a command left behind | `leftovers` |
//!
//! Must not: keep anything on disk, nor try anything again. A pod that is gone has forgotten its runs,
//! and whoever asked decides what that means.

mod api;
mod command;
mod install;
mod leftovers;
mod listen;
mod runs;
mod serve;
mod tail;

pub use install::{InstallError, install};
pub use serve::{RunnerArgs, RunnerError, run};
