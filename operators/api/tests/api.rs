//! The kinds as the API server will see them: bounds, defaults, rules.

#[path = "api/rules.rs"]
mod rules;
#[path = "api/schema.rs"]
mod schema;
