//! What the systems build, from YAML.

#[path = "systems/kv.rs"]
mod kv;
