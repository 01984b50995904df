//! The carrier on a real broker: the suite of all carriers, and what only this one can get wrong.
//!
//! If there is no Java, or no Kafka for it, each test says `not run` and why.

#![allow(clippy::unwrap_used)]

#[path = "carrier/broker.rs"]
mod broker;
#[path = "carrier/fencing.rs"]
mod fencing;
#[path = "carrier/history.rs"]
mod history;
#[path = "carrier/suite.rs"]
mod suite;
