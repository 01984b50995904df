//! The one reconcile pipeline that every kind goes through.
//!
//! Every kind takes the same five steps: dereference, validate, build, apply, report. Validate and
//! build are pure and live with their system; the rest is here, together with everything a kind
//! gets for free: bounded concurrency, backoff, leader election, events, metrics, liveness, drift
//! repair, orphan removal, pause and hibernation.

pub mod backoff;
pub mod board;
pub mod client;
pub mod health;
pub mod labels;
pub mod lease;
pub mod liveness;
pub mod metrics;
pub mod observation;
pub mod redacted;
pub mod resources;

pub use redacted::Redacted;
pub use resources::{Applied, GeneratedKey, GeneratedSecret, Prepared, Resources};
