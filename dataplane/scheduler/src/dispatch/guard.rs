//! Which addresses calls may go to.
//!
//! Jobs are written by people who may not reach what this process reaches. The check is made on the
//! addresses that are connected to, after names are resolved, so that a name cannot lead astray.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::options::Options;

/// Where clouds serve credentials outside of link-local networks: Azure, Alibaba, Oracle.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
];
/// The same in IPv6: AWS, Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];
/// 64:ff9b::/96, addresses of IPv4 behind a translator (RFC 6052).
const NAT64: [u16; 6] = [0x0064, 0xff9b, 0, 0, 0, 0];

/// What is allowed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    deny_link_local: bool,
    allow_loopback: bool,
    allow_private: bool,
}

/// Why a call may not go to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Denied {
    address: IpAddr,
    kind: &'static str,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {} and not allowed as a target", self.address, self.kind)
    }
}

impl std::error::Error for Denied {}

impl Guard {
    pub(super) fn new(options: &Options, allow_private: bool) -> Self {
        Self {
            deny_link_local: options.deny_link_local,
            allow_loopback: options.allow_loopback,
            allow_private,
        }
    }

    pub(super) fn check(self, address: IpAddr) -> Result<(), Denied> {
        let denied = |kind| Err(Denied { address, kind });
        let plain = plain(address);
        if self.deny_link_local && is_link_local(plain) {
            return denied("link-local");
        }
        if self.deny_link_local && is_metadata(plain) {
            return denied("a metadata service");
        }
        if !self.allow_loopback && is_loopback(plain) {
            return denied("this machine itself");
        }
        if !self.allow_private && is_private(plain) {
            return denied("private");
        }
        if plain.is_multicast() || plain == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return denied("no address of one machine");
        }
        Ok(())
    }
}

/// The address of IPv4 inside one of IPv6, where there is one.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let segments = v6.segments();
    if segments[..6] == NAT64 {
        let [.., a, b, c, d] = v6.octets();
        return IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    }
    match v6.to_ipv4() {
        // `::` and `::1` are themselves, not addresses of IPv4.
        Some(v4) if !v6.is_loopback() && !v6.is_unspecified() => IpAddr::V4(v4),
        _ => address,
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => METADATA_V6.contains(&v6),
    }
}

/// 0.0.0.0/8 and `::` lead to this machine as well.
fn is_loopback(address: IpAddr) -> bool {
    address.is_loopback()
        || address.is_unspecified()
        || matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 0)
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(guard: Guard, address: &str) -> Option<&'static str> {
        guard.check(address.parse().expect("an address")).err().map(|denied| denied.kind)
    }

    #[test]
    fn what_serves_credentials_is_denied_however_it_is_written() {
        let guard = Guard { deny_link_local: true, allow_loopback: true, allow_private: true };
        for address in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.1",
            "fe80::1",
            "febf::1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "fd00:ec2::254",
            "fd20:ce::254",
            "168.63.129.16",
            "100.100.100.200",
            "::ffff:100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
        ] {
            assert!(kind(guard, address).is_some(), "{address}");
        }
        for address in ["127.0.0.1", "::1", "10.0.0.1", "93.184.216.34", "2606:4700::1", "fd12::1"]
        {
            assert_eq!(kind(guard, address), None, "{address}");
        }
    }

    #[test]
    fn this_machine_and_private_networks_are_allowed_by_option() {
        let guard = Guard { deny_link_local: false, allow_loopback: false, allow_private: false };
        for address in ["127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1"] {
            assert_eq!(kind(guard, address), Some("this machine itself"), "{address}");
        }
        for address in ["10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1"] {
            assert_eq!(kind(guard, address), Some("private"), "{address}");
        }
        assert_eq!(kind(guard, "169.254.1.1"), None);
    }
}
