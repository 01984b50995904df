//! What tests of those who build on this need.

use std::env;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

/// Where what is dear to obtain or to build is kept, outside of the clone: `ORRERY_CACHE`, or `orrery`
/// in the user's folder of caches. The error is a sentence.
pub fn cache_folder() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("ORRERY_CACHE") {
        return Ok(PathBuf::from(path));
    }
    match (env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")) {
        (Some(path), _) => Ok(PathBuf::from(path).join("orrery")),
        (None, Some(home)) => Ok(PathBuf::from(home).join(".cache/orrery")),
        (None, None) => Err("neither ORRERY_CACHE nor HOME is set".to_owned()),
    }
}

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
