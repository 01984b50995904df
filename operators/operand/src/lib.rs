//! The management protocol `orrery.operand.v1` between the operator and the data planes.
//!
//! Both sides are ours, so there is one contract for all systems: the operator holds a
//! [`client::OperandClient`], a data plane implements [`server::Operand`], and
//! [`conformance`] says with tests what every implementation must do. The messages are generated
//! from `proto/orrery/operand/v1/operand.proto` and committed; `cargo run -p xtask --features
//! protocol -- protocol` regenerates them.
//!
//! This crate must not know any system, nor Kubernetes.

pub mod changes;
pub mod client;
pub mod conformance;
pub mod errands;
pub mod error;
pub mod progress;
pub mod secured;
pub mod server;
pub mod set_hash;
mod shards;
pub mod trace;

/// Messages and service as the proto file says them.
#[allow(clippy::all, clippy::pedantic, unreachable_pub, missing_debug_implementations)]
#[path = "generated/orrery.operand.v1.rs"]
pub mod v1;

pub use error::OperandError;

/// The name that the operator's certificate has, and nobody else's.
pub const OPERATOR_NAME: &str = "operator.orrery.internal";
