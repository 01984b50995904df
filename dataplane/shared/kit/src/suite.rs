//! What tests of those who build on this need.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// A port of loopback on which nothing listens, each one once in the life of a process. It lies below
/// those that the system gives to outgoing connections: one of these could be taken before a server
/// listens.
#[must_use]
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const PORTS: u16 = 12_000;
    let spread = (std::process::id().wrapping_mul(97) % u32::from(PORTS)) as u16;
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % PORTS;
        let port = FIRST + (spread + number) % PORTS;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
