//! The resource kinds of Orrery: pure types, conditions, reasons and shared spec blocks.
//!
//! Operator, command line and data planes read the same types. Without feature `crd` nothing of
//! Kubernetes is compiled; with it the kinds become custom resources, and `generate` writes their
//! definitions and documentation.
//!
//! Must not: hold a client, a clock or any behaviour of a system.
#![allow(
    clippy::duplicated_attributes,
    reason = "each printer column repeats the names of its parts"
)]

pub mod backup;
pub mod catalog;
mod cel;
pub mod condition;
pub mod durability;
#[cfg(feature = "crd")]
pub mod generate;
pub mod kv;
pub mod not_yet;
pub mod reason;
pub mod scheduler;
pub mod spec;
pub mod status;

pub use condition::{Condition, ConditionSet, ConditionStatus, ConditionType, Time};
pub use durability::Durability;
pub use reason::Reason;
pub use status::CommonStatus;

/// API group of all kinds.
pub const GROUP: &str = "orrery.dev";
/// API version of all kinds.
pub const VERSION: &str = "v1alpha1";
