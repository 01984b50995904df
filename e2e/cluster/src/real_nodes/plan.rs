//! Names and addresses of a cluster's network. The same for all clusters: each has network
//! namespaces of its own, so none sees another. Pure.

use std::net::Ipv4Addr;

/// Where the control plane, DNS and clients of tests are: the bridge that nodes hang on.
pub(super) const BRIDGE_ADDRESS: Ipv4Addr = crate::control_plane::ADVERTISED;

/// The cluster's namespace, in calls that name a side of the network.
pub const CONTROL_PLANE: &str = "control-plane";

/// All pods of all nodes.
pub(super) const PODS: &str = "10.244.0.0/16";

/// The Service that pods ask for names.
pub(super) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);

/// Ends every name of a Service.
pub(super) const DOMAIN: &str = "cluster.local";

/// Nodes' addresses begin behind this in the bridge's subnet.
const FIRST_HOST: u8 = 10;

/// What fits into the subnets, and far more than two processors carry.
pub(super) const NODES_MAX: usize = 9;

/// One node's names and addresses.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    number: u8,
    pub(super) name: String,
}

impl Plan {
    /// Nodes `node-1` and on.
    pub(super) fn all(count: usize) -> Vec<Self> {
        let numbers = (1..=NODES_MAX as u8).take(count);
        numbers.map(|number| Self { number, name: format!("node-{number}") }).collect()
    }

    pub(super) fn address(&self) -> Ipv4Addr {
        let [a, b, c, _] = BRIDGE_ADDRESS.octets();
        Ipv4Addr::new(a, b, c, FIRST_HOST + self.number)
    }

    /// The subnet of the node's pods.
    pub(super) fn pods(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    pub(super) fn zone(&self) -> String {
        format!("zone-{}", self.number)
    }

    /// The bridge's end of the node's cable.
    pub(super) fn port(&self) -> String {
        format!("n{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_addresses_of_their_own() {
        let plans = Plan::all(2);
        assert_eq!(plans[0].address().to_string(), "10.88.0.11");
        assert_eq!(plans[1].pods(), "10.244.2.0/24");
        assert_eq!(Plan::all(100).len(), NODES_MAX);
    }
}
