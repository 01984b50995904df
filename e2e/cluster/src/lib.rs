//! A real Kubernetes for tests: etcd, API server, controllers and scheduler built from the Go
//! module beside this crate, with toy nodes that stand in for kubelets or, as root, with real nodes
//! in namespaces of the kernel.
//!
//! A test asks for [`Cluster::shared`] or [`Cluster::shared_with_real_nodes`] and takes a
//! [`Namespace`] of its own. What cannot run on this machine says "not run" and why; what should
//! run and does not is a panic with the logs. `README.md` beside this crate has the environment
//! variables.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use orrery_e2e_cluster::{CONTROL_PLANE, Cluster, ClusterError};
//! # async fn test() -> Result<(), ClusterError> {
//! let Some((cluster, nodes)) = Cluster::shared_with_real_nodes().await else { return Ok(()) };
//! let _turn = nodes.turn().await?; // no other test has the nodes, and all of them run
//! let _logs = nodes.logs_if_failed("my-test"); // into target/e2e-logs/my-test
//! nodes.load_image("image.tar".as_ref()).await?;
//! let namespace = cluster.namespace("my-test").await?;
//! namespace.enforce_restricted().await?;
//! // A program beside the control plane: reaches pods, and API server by its KUBECONFIG.
//! let _load = nodes.command("redis-cli").arg("PING").spawn();
//! // A program on a node: reaches Services as well.
//! nodes.run_on("node-1", std::process::Command::new("true")).await?;
//!
//! nodes.kill("node-1").await?; // a power cut
//! nodes.declare_dead("node-1").await?; // the taint out-of-service
//! nodes.start_node("node-1").await?; // the same disk; the taint is gone
//! let paused = nodes.pause("node-2").await?; // SIGSTOP to all of it
//! drop(paused); // every fault but a kill ends with its guard
//! let _unplugged = nodes.isolate("node-2").await?;
//! let _split = nodes.cut("node-1", CONTROL_PLANE).await?;
//! let _slow = nodes.delay("node-1", Duration::from_millis(50)).await?; // `Missing` without netem
//! # Ok(())
//! # }
//! ```

mod address;
mod cache;
mod cgroup;
mod cluster;
mod command;
mod control_plane;
mod error;
mod fetched;
mod go;
mod image;
mod kubeconfig;
mod namespace;
mod netns;
mod node;
mod pki;
mod process;
mod processes;
mod real_nodes;
mod relay;
mod run;
mod say;
mod storage;
mod tools;
mod wait;

pub use cluster::Cluster;
pub use command::output_within;
pub use control_plane::Options;
pub use error::ClusterError;
pub use fetched::{debian_program, go_module, go_program};
pub use image::write_image;
pub use namespace::Namespace;
pub use node::{
    ContainerState, Ended, MarkOnly, Nodes, Order, Phase, PodRunner, PodState, Rule, RuleGuard,
    Seat, Step,
};
pub use processes::Processes;
pub use real_nodes::{CONTROL_PLANE, Dialer, Fault, LogsIfFailed, RealNodes, Turn};
pub use run::clean;
pub use say::not_run;
pub use tools::{is_built, tool};
pub use wait::{poll, poll_for};
