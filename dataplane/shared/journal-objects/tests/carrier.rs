//! The carrier over stores that behave, and over stores that do what stores do: in memory, in a
//! folder, in a bucket of a real server where there is one.

#![allow(clippy::unwrap_used)]

#[path = "carrier/conformance.rs"]
mod conformance;
#[path = "carrier/minio.rs"]
mod minio;
