//! The command line of each part. Pure.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use crate::pki::{Pair, TokenKey};

const ETCD_CLIENT: u16 = 2379;
const ETCD_PEER: u16 = 2380;
pub(super) const APISERVER: u16 = 6443;
const CONTROLLERS: u16 = 10257;
const SCHEDULER: u16 = 10259;

/// All that must be free on the address of a control plane.
pub(super) const PORTS: [u16; 5] = [ETCD_CLIENT, ETCD_PEER, APISERVER, CONTROLLERS, SCHEDULER];

/// Service addresses answer where a kube-proxy runs; without real nodes they are numbers.
const SERVICES: &str = "10.96.0.0/16";

/// The address that the Service `kubernetes` gets.
pub(super) const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);

/// Where pods find the API server; only a number without real nodes. It must not be loopback.
pub(crate) const ADVERTISED: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

/// Requests a second that a controller may make, far above what tests need: the default of 20
/// would be measured instead of the product.
const QPS: u32 = 500;

/// Addresses and files of one control plane.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) address: Ipv4Addr,
    /// Whether pods can reach `address`, which then is [`ADVERTISED`].
    pub(super) is_reachable: bool,
    pub(super) folder: PathBuf,
    pub(super) authority: Pair,
    pub(super) server_pair: Pair,
    pub(super) token_key: TokenKey,
    pub(super) admin_pair: Pair,
    /// Kubeconfig of a user who may do everything.
    pub(super) admin: PathBuf,
    pub(super) node_grace: Duration,
}

impl Layout {
    pub(super) fn server(&self) -> String {
        format!("https://{}:{APISERVER}", self.address)
    }

    /// Kubeconfig of one part.
    pub(super) fn kubeconfig(&self, part: &str) -> PathBuf {
        self.folder.join(format!("{part}.kubeconfig"))
    }

    pub(super) fn etcd(&self) -> Vec<String> {
        let client = format!("http://{}:{ETCD_CLIENT}", self.address);
        let peer = format!("http://{}:{ETCD_PEER}", self.address);
        vec![
            "--name=e2e".to_owned(),
            format!("--data-dir={}", self.folder.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=e2e={peer}"),
            // Nothing here has to survive a power cut.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    pub(super) fn apiserver(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--etcd-servers=http://{}:{ETCD_CLIENT}", self.address),
            format!("--secure-port={APISERVER}"),
            format!("--advertise-address={ADVERTISED}"),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--allow-privileged=true".to_owned(),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.token_key.public.display()),
            format!("--service-account-signing-key-file={}", self.token_key.private.display()),
            format!("--client-ca-file={}", self.authority.certificate.display()),
            format!("--kubelet-client-certificate={}", self.admin_pair.certificate.display()),
            format!("--kubelet-client-key={}", self.admin_pair.key.display()),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ];
        if !self.is_reachable {
            // Would write the advertised address into an EndpointSlice that nobody can use.
            flags.push("--endpoint-reconciler-type=none".to_owned());
        }
        flags.extend(self.serving());
        flags
    }

    pub(super) fn controllers(&self) -> Vec<String> {
        let grace = self.node_grace.as_secs();
        let mut flags = vec![
            format!("--secure-port={CONTROLLERS}"),
            "--use-service-account-credentials".to_owned(),
            format!("--service-account-private-key-file={}", self.token_key.private.display()),
            format!("--root-ca-file={}", self.authority.certificate.display()),
            format!("--cluster-signing-cert-file={}", self.authority.certificate.display()),
            format!("--cluster-signing-key-file={}", self.authority.key.display()),
            format!("--node-monitor-grace-period={grace}s"),
        ];
        flags.extend(self.serving());
        flags.extend(self.leading("controllers"));
        flags
    }

    pub(super) fn scheduler(&self) -> Vec<String> {
        let mut flags = vec![format!("--secure-port={SCHEDULER}")];
        flags.extend(self.serving());
        flags.extend(self.leading("scheduler"));
        flags
    }

    fn serving(&self) -> [String; 3] {
        [
            format!("--bind-address={}", self.address),
            format!("--tls-cert-file={}", self.server_pair.certificate.display()),
            format!("--tls-private-key-file={}", self.server_pair.key.display()),
        ]
    }

    fn leading(&self, part: &str) -> [String; 6] {
        let own = self.kubeconfig(part);
        [
            format!("--kubeconfig={}", own.display()),
            format!("--authentication-kubeconfig={}", own.display()),
            format!("--authorization-kubeconfig={}", own.display()),
            "--leader-elect=false".to_owned(),
            format!("--kube-api-qps={QPS}"),
            format!("--kube-api-burst={}", 2 * QPS),
        ]
    }
}
