//! What holds for a dispatcher as a whole.

use std::sync::Arc;

use super::target::AdHoc;
use crate::ownership::Lease;

/// How a dispatcher works.
#[derive(Debug, Clone)]
pub struct Options {
    /// Threads that send; one carries tens of thousands of calls in a second.
    pub threads: usize,
    /// Calls that may be here at the same time, queued or in flight: see `Dispatcher::room`.
    pub calls_max: usize,
    /// Calls in flight to all targets together: each has a socket.
    pub in_flight_max: usize,
    /// Refuses link-local addresses and those where clouds serve credentials, after names are
    /// resolved. Off only where nobody but the owner of the machine writes jobs.
    pub deny_link_local: bool,
    /// Lets calls go to this machine itself.
    pub allow_loopback: bool,
    /// While it does not hold, nothing leaves.
    pub lease: Arc<Lease>,
    /// What holds for targets that are known by their address alone.
    pub ad_hoc: AdHoc,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threads: 1,
            calls_max: 200_000,
            in_flight_max: 8_192,
            deny_link_local: true,
            allow_loopback: false,
            lease: Arc::default(),
            ad_hoc: AdHoc::default(),
        }
    }
}
