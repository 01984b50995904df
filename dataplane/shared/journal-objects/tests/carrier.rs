//! The carrier over stores that behave, and over stores that do what stores do: in memory, in a
//! folder, in a bucket of a real server where there is one.

#![allow(clippy::unwrap_used)]

#[path = "carrier/between.rs"]
mod between;
#[path = "carrier/conformance.rs"]
mod conformance;
#[path = "carrier/cost.rs"]
mod cost;
#[path = "carrier/damage.rs"]
mod damage;
#[path = "carrier/faulty.rs"]
mod faulty;
#[path = "carrier/lives.rs"]
mod lives;
#[path = "carrier/machine.rs"]
mod machine;
#[path = "carrier/minio.rs"]
mod minio;
#[path = "carrier/probe.rs"]
mod probe;
