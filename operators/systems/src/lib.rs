//! One module per system: validate and build, nothing else.
//!
//! Everything here is pure: objects in, objects or a typed refusal out. Clients, clocks and random
//! sources belong to `orrery-runtime` and `orrery-local`, which call it.

pub mod archive;
pub mod kv;
pub mod labels;
mod parts;
pub mod pod_template;
pub mod policy;
pub mod scheduler;
