//! The cluster's namespace with its bridge, and the cables from it to nodes.

use super::plan::{BRIDGE_ADDRESS, Plan};
use super::sandbox::Sandbox;
use crate::ClusterError;
use crate::netns::NetNs;

/// Link address of the bridge; one of those that belong to nobody.
const BRIDGE_MAC: &str = "02:00:0a:58:00:01";

/// A namespace with the bridge and the routes to the pods of `plans`.
pub(super) fn open(plans: &[Plan]) -> Result<NetNs, ClusterError> {
    let netns = NetNs::fresh()?;
    netns.run("ip link set lo up")?;
    // With an address of its own: otherwise it is that of one of its ports, and when that node dies
    // the others do not find the control plane for the half minute that they remember the old one.
    netns.run(&format!("ip link add br0 address {BRIDGE_MAC} type bridge"))?;
    netns.run(&format!("ip address add {BRIDGE_ADDRESS}/24 dev br0"))?;
    netns.run("ip link set br0 up")?;
    for plan in plans {
        netns.run(&format!("ip route add {} via {}", plan.pods(), plan.address()))?;
    }
    netns.set("ipv4/ip_forward", "1")?;
    Ok(netns)
}

/// Plugs a node in.
pub(super) fn attach(
    cluster: &NetNs,
    node: &Sandbox,
    plan: &Plan,
    plans: &[Plan],
) -> Result<(), ClusterError> {
    let port = plan.port();
    // That of a former life may be there for as long as anybody holds its namespace.
    let _ = cluster.run(&format!("ip link delete {port}"));
    let pid = node.pid();
    cluster.run(&format!("ip link add {port} type veth peer name eth0 netns {pid}"))?;
    cluster.run(&format!("ip link set {port} master br0 up"))?;
    let netns = &node.netns;
    netns.run(&format!("ip address add {}/24 dev eth0", plan.address()))?;
    netns.run("ip link set eth0 up")?;
    netns.run(&format!("ip route add default via {BRIDGE_ADDRESS}"))?;
    for other in plans.iter().filter(|other| other.name != plan.name) {
        netns.run(&format!("ip route add {} via {}", other.pods(), other.address()))?;
    }
    netns.set("ipv4/ip_forward", "1")
}
