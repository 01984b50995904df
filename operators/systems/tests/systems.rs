//! What the systems build, from YAML.

#[path = "systems/examples.rs"]
mod examples;
#[path = "systems/kv.rs"]
mod kv;
