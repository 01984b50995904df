//! Writes CEL rules into a schema.
//!
//! Must not: evaluate anything. The API server and `orrery check` do that, from the schema.

use serde_json::{Value, json};

/// One rule: an expression over `self` (and `oldSelf` for changes), and what to tell the user.
pub(crate) type Rule = (&'static str, &'static str);

/// The value of `x-kubernetes-validations`.
pub(crate) fn rules(rules: &[Rule]) -> Value {
    rules.iter().map(|(rule, message)| json!({ "rule": rule, "message": message })).collect()
}
