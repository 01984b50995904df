//! Facts about the commands of transactions, all handled by the server layer, as `COMMAND INFO` and `COMMAND DOCS` of Redis 7.0.15 tell them.

use super::{CommandSpec, Flags, KEYLESS, KeySpec, keys};

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        index: 121,
        name: "multi",
        full_name: "multi",
        arity: 1,
        flags: Flags::NOSCRIPT
            .union(Flags::LOADING.union(Flags::STALE.union(Flags::FAST.union(Flags::ALLOW_BUSY)))),
        acl: &["@fast", "@transaction"],
        since: "1.2.0",
        group: "transactions",
        summary: "Mark the start of a transaction block",
        complexity: "O(1)",
        ..KEYLESS
    },
    CommandSpec {
        index: 122,
        name: "exec",
        full_name: "exec",
        arity: 1,
        flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE.union(Flags::SKIP_SLOWLOG))),
        acl: &["@slow", "@transaction"],
        since: "1.2.0",
        group: "transactions",
        summary: "Execute all commands issued after MULTI",
        complexity: "Depends on commands in the transaction",
        ..KEYLESS
    },
    CommandSpec {
        index: 123,
        name: "discard",
        full_name: "discard",
        arity: 1,
        flags: Flags::NOSCRIPT
            .union(Flags::LOADING.union(Flags::STALE.union(Flags::FAST.union(Flags::ALLOW_BUSY)))),
        acl: &["@fast", "@transaction"],
        since: "2.0.0",
        group: "transactions",
        summary: "Discard all commands issued after MULTI",
        complexity: "O(N), when N is the number of queued commands",
        ..KEYLESS
    },
    CommandSpec {
        index: 124,
        name: "watch",
        full_name: "watch",
        arity: -2,
        flags: Flags::NOSCRIPT
            .union(Flags::LOADING.union(Flags::STALE.union(Flags::FAST.union(Flags::ALLOW_BUSY)))),
        acl: &["@fast", "@transaction"],
        key_specs: &[KeySpec::range(1, -1, 1, &["RO"])],
        since: "2.2.0",
        group: "transactions",
        summary: "Watch the given keys to determine execution of the MULTI/EXEC block",
        complexity: "O(1) for every key.",
        ..keys(1, -1, 1)
    },
    CommandSpec {
        index: 125,
        name: "unwatch",
        full_name: "unwatch",
        arity: 1,
        flags: Flags::NOSCRIPT
            .union(Flags::LOADING.union(Flags::STALE.union(Flags::FAST.union(Flags::ALLOW_BUSY)))),
        acl: &["@fast", "@transaction"],
        since: "2.2.0",
        group: "transactions",
        summary: "Forget about all watched keys",
        complexity: "O(1)",
        ..KEYLESS
    },
];
