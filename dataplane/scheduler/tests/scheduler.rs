//! The scheduler as those around it meet it: real sockets, real threads.

#[path = "dispatch/dispatch.rs"]
mod dispatch;
#[path = "process/process.rs"]
mod process;
