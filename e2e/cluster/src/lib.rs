//! A real Kubernetes for tests: etcd, API server, controllers and scheduler built from the Go
//! module beside this crate, and toy nodes that stand in for kubelets.
//!
//! A test asks for [`Cluster::shared`] and takes a [`Namespace`] of its own. What cannot run on
//! this machine says "not run" and why; what should run and does not is a panic with the logs.
//! `README.md` beside this crate has the environment variables.

mod address;
mod cache;
mod cluster;
mod control_plane;
mod error;
mod fetched;
mod go;
mod kubeconfig;
mod namespace;
mod node;
mod pki;
mod process;
mod processes;
mod run;
mod say;
mod storage;
mod tools;
mod wait;

pub use cluster::Cluster;
pub use control_plane::Options;
pub use error::ClusterError;
pub use fetched::{debian_program, go_module, go_program};
pub use namespace::Namespace;
pub use node::{
    ContainerState, Ended, MarkOnly, Nodes, Order, Phase, PodRunner, PodState, Rule, RuleGuard,
    Seat, Step,
};
pub use processes::Processes;
pub use say::not_run;
pub use tools::tool;
pub use wait::{poll, poll_for};
