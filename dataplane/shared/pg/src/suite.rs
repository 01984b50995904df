//! For tests of those who build on this: a server of Debian's package, and a network that loses things.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod proxy;
mod server;

pub use proxy::Proxy;
pub use server::{ADMIN, Server};
