//! A loopback address that belongs to one run: all of 127.0.0.0/8 answers on Linux, so every
//! cluster gets an address of its own and its parts keep their usual ports. No port is guessed
//! free and then lost to somebody else.

use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;

use crate::ClusterError;

/// Second octets handed out to control planes; toy nodes use others (see `node::pod_address`).
const OCTETS: std::ops::Range<u8> = 64..128;

/// How many addresses are tried before giving up.
const TRIES: usize = 32;

/// An address on which every one of `ports` can be bound now.
pub(crate) fn free(ports: &[u16]) -> Result<Ipv4Addr, ClusterError> {
    let mut random = rand::rng();
    for _ in 0..TRIES {
        let address = Ipv4Addr::new(
            127,
            random.random_range(OCTETS),
            random.random_range(1..255),
            random.random_range(1..255),
        );
        if ports.iter().all(|port| TcpListener::bind((address, *port)).is_ok()) {
            return Ok(address);
        }
    }
    Err(ClusterError::Missing(format!(
        "no address in 127.0.0.0/8 has the ports {ports:?} free; something listens on all \
         addresses, or this system gives loopback one address only"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_loopback_and_differs_between_runs() {
        let first = free(&[39_871]).expect("an address");
        let second = free(&[39_871]).expect("an address");
        assert!(first.is_loopback() && second.is_loopback());
        assert_ne!(first, second);
    }

    #[test]
    fn a_port_taken_on_all_addresses_is_named() {
        let taken = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let error = free(&[port]).expect_err("nothing is free");
        assert!(error.to_string().contains(&port.to_string()));
    }
}
