//! The flags of the operator.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::{certificate_life, duration};

/// Carry resources out in a Kubernetes cluster.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  orrery operator --image ghcr.io/example/orrery:0.1.0
  orrery operator --image orrery:dev --no-lease --namespaces shop,blog")]
pub(crate) struct Operator {
    /// Image of the data planes: the one this program comes in.
    #[arg(long, env = "ORRERY_IMAGE")]
    pub(crate) image: String,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Namespaces to look after, separated by commas; all when left out.
    #[arg(long, value_delimiter = ',')]
    pub(crate) namespaces: Vec<String>,
    /// Name of this process in events and in the lease.
    #[arg(long, env = "ORRERY_POD", default_value = "orrery-operator")]
    pub(crate) instance: String,
    /// Take no lease: this is the only operator.
    #[arg(long)]
    pub(crate) no_lease: bool,
    /// Namespace of the lease.
    #[arg(long, default_value = "default")]
    pub(crate) lease_namespace: String,
    /// Name of the lease.
    #[arg(long, default_value = "orrery-operator")]
    pub(crate) lease_name: String,
    /// How long others wait after the last renewal.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub(crate) lease_duration: Duration,
    /// When this process gives up if it could not renew.
    #[arg(long, default_value = "4s", value_parser = duration)]
    pub(crate) lease_renew_deadline: Duration,
    /// Pause between attempts.
    #[arg(long, default_value = "1s", value_parser = duration)]
    pub(crate) lease_retry_period: Duration,
    /// Life of the certificates of pods; a new one is given when a third of it is left.
    #[arg(long, default_value = "2160h", value_parser = certificate_life)]
    pub(crate) certificate_life: Duration,
    /// How long a new certificate authority is published before it signs, and the one before is
    /// trusted after it no longer does.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub(crate) authority_overlap: Duration,
    /// Build pods without certificates: the management protocol is not encrypted. Pods that have one
    /// are spoken to by it until they are replaced.
    #[arg(long)]
    pub(crate) no_certificates: bool,
    /// Objects whose pods a new release of the operator may replace at the same time.
    #[arg(long, default_value = "4", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rollouts_at_once: u16,
}
