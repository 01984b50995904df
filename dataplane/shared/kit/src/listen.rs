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
    Ok(given(name)?.unwrap_or(default))
}

/// The same of a port that is there only when the variable is set.
pub fn given(name: &str) -> Result<Option<SocketAddr>, ListenError> {
    let variable = format!("ORRERY_LISTEN_{}", name.to_uppercase().replace('-', "_"));
    match std::env::var(&variable) {
        Ok(value) => value.parse().map(Some).map_err(|_| ListenError { variable, value }),
        Err(_) => Ok(None),
    }
}
