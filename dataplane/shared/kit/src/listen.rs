//! Where to listen. A pod, a test and `orrery up` say it the same way: one environment variable
//! per named port, read once at start.

use std::net::SocketAddr;

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{variable}={value:?} is no address: expected host:port, such as 0.0.0.0:6379")]
pub struct ListenError {
    pub variable: String,
    pub value: String,
}

/// Address of the port called `name` (`resp`, `management`, `http` …), from
/// `ORRERY_LISTEN_<NAME>`; `default` when the variable is not set.
pub fn address(name: &str, default: SocketAddr) -> Result<SocketAddr, ListenError> {
    let variable = format!("ORRERY_LISTEN_{}", name.to_uppercase().replace('-', "_"));
    match std::env::var(&variable) {
        Ok(value) => value.parse().map_err(|_| ListenError { variable, value }),
        Err(_) => Ok(default),
    }
}
