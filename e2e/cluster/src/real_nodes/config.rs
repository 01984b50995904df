//! The configuration files of a node's parts. Pure: paths are those that the node sees, where
//! `/var` and `/run` are its own.

use std::path::Path;

use serde_json::{Value, json};

use super::plan::{DNS_SERVICE, DOMAIN, PODS, Plan};

pub(super) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// The image that holds a pod's namespaces.
pub(super) const PAUSE_IMAGE: &str = "localhost/pause:1";

/// How long a node's lease lasts; a quarter of it is how often it is renewed.
const LEASE_SECONDS: u32 = 8;

/// Requests a second that a kubelet may make, far above its default, which would be measured
/// instead of the product.
const QPS: u32 = 200;

/// containerd 1.6 and newer read this version.
pub(super) fn containerd(plugins: &Path, cni: &Path) -> String {
    format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# They look for devices and folders of the machine that nothing here uses.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Where CAP_SYS_RESOURCE is missing nothing may ask for a lower score than its parent's.
  restrict_oom_score_adj = true
  disable_tcp_service = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{cni}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
"#,
        plugins = plugins.display(),
        cni = cni.display(),
    )
}

/// Point-to-point links to pods, as kind has: every packet passes the node's own rules, so
/// Services work between pods of one node without the bridge filter module.
pub(super) fn cni(plan: &Plan) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-addresses",
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "ranges": [[{ "subnet": plan.pods() }]],
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

/// Limits at which a kubelet evicts pods are far below what a test machine with a full disk has.
pub(super) fn kubelet(cgroup_root: &str, authority: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "failCgroupV1": false,
        "failSwapOn": false,
        "oomScoreAdj": 0,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": authority },
        },
        "authorization": { "mode": "Webhook" },
        "clusterDomain": DOMAIN,
        "clusterDNS": [DNS_SERVICE],
        "resolvConf": "",
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeLeaseDurationSeconds": LEASE_SECONDS,
        "nodeStatusUpdateFrequency": "4s",
        "serializeImagePulls": false,
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "kubeAPIQPS": QPS,
        "kubeAPIBurst": 2 * QPS,
    })
}

pub(super) fn proxy(plan: &Plan, kubeconfig: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": plan.name,
        "clusterCIDR": PODS,
        "clientConnection": { "kubeconfig": kubeconfig },
        // Zeros leave the machine's own limits alone.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
        "oomScoreAdj": 0,
    })
}

pub(super) fn dns(kubeconfig: &Path) -> String {
    let kubeconfig = kubeconfig.display();
    format!(
        ".:53 {{\n    errors\n    cache 5\n    kubernetes {DOMAIN} in-addr.arpa {{\n        \
         kubeconfig {kubeconfig}\n        pods insecure\n        ttl 5\n    }}\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_hands_out_addresses_of_its_own_subnet() {
        let plans = Plan::all(2);
        let subnet = &cni(&plans[1])["plugins"][0]["ipam"]["ranges"][0][0]["subnet"];
        assert_eq!(subnet, "10.244.2.0/24");
    }

    #[test]
    fn containerd_is_told_where_plugins_are() {
        let text = containerd(Path::new("/usr/lib/cni"), Path::new("/etc/cni"));
        assert!(text.contains("bin_dir = \"/usr/lib/cni\"") && text.contains(PAUSE_IMAGE));
    }
}
