//! Facts about WAIT, as `COMMAND INFO` and `COMMAND DOCS` of Redis 7.0.15 tell them.

use super::{CommandSpec, Flags, KEYLESS};

pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    index: 169,
    name: "wait",
    full_name: "wait",
    arity: 3,
    flags: Flags::NOSCRIPT,
    acl: &["@slow", "@connection"],
    tips: &["request_policy:all_shards", "response_policy:agg_min"],
    since: "3.0.0",
    group: "generic",
    summary: "Wait for the synchronous replication of all the write commands sent in the context of the current connection",
    complexity: "O(1)",
    ..KEYLESS
}];
