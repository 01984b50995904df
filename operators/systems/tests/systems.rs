//! What the systems build, from YAML.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "systems/edges.rs"]
mod edges;
#[path = "systems/examples.rs"]
mod examples;
#[path = "systems/kv.rs"]
mod kv;
#[path = "systems/scheduler.rs"]
mod scheduler;
