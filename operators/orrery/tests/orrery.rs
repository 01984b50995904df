//! The binary as a user meets it on one machine: real processes, real sockets, real files.

#[path = "orrery/check.rs"]
mod check;
#[path = "orrery/commands.rs"]
mod commands;
#[path = "orrery/stage.rs"]
mod stage;
#[path = "orrery/up.rs"]
mod up;
