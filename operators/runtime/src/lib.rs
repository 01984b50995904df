//! The one reconcile pipeline that every kind goes through.
//!
//! Every kind takes the same five steps: dereference, validate, build, apply, report. Validate and
//! build are pure and live with their system; the rest is here, together with everything a kind
//! gets for free: bounded concurrency, backoff, leader election, events, metrics, liveness, drift
//! repair, orphan removal, pause and hibernation.
//!
//! | to learn | read |
//! |---|---|
//! | what a system must say | [`system`], [`resources`], [`labels`], [`observation`] |
//! | how a round goes | `engine`, `declared`, [`step`] |
//! | what is said about an object | [`status`], [`events`] |
//! | how rounds are started | [`watch`], [`children`], [`triggers`], [`controller`] |
//! | who may write | [`lease`], [`client`], [`group`] |
//! | where clients are sent | [`routes`] |
//! | how all of it is put together | [`operator`] |

#[cfg(test)]
extern crate self as orrery_runtime;
#[cfg(test)]
#[path = "../tests/orrery_runtime/toy.rs"]
mod toy;

pub mod backoff;
pub mod backup;
pub mod board;
pub mod cache;
mod catalogs;
pub mod certificates;
pub mod children;
pub mod client;
pub mod context;
pub mod controller;
pub mod cronjobs;
pub mod declared;
pub mod engine;
pub mod errands;
pub mod events;
#[cfg(feature = "faults")]
pub mod faults;
pub mod group;
pub mod health;
pub mod labels;
pub mod lease;
mod listen;
pub mod liveness;
pub mod metrics;
pub mod observation;
pub mod operator;
pub mod orphans;
pub mod redacted;
pub mod release;
pub mod resources;
pub mod rollout;
pub mod routes;
pub mod startup;
pub mod status;
pub mod step;
pub mod system;
pub mod triggers;
pub mod volumes;
pub mod watch;

pub use certificates::AuthorityOptions;
pub use context::Options;
pub use errands::{Kept, MakesJobs, Occasion};
pub use observation::{Acceptance, Observation, PodView, Report, WorkloadView};
pub use operator::{Connection, Operator, OperatorError};
pub use redacted::Redacted;
pub use resources::{Applied, CertifiedSecret, GeneratedKey, GeneratedSecret, Prepared, Resources};
pub use status::{Facts, Progress, summarise};
pub use system::{
    Carrier, DEFAULT_ENGINE, Declared, Identity, Mode, News, Object, Reference, Referenced,
    Refusal, Standing, System,
};
