//! The kinds as the API server will see them: bounds, defaults, rules.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "api/rules.rs"]
mod rules;
#[path = "api/schema.rs"]
mod schema;
