//! Facts about the commands that wait and about MEMORY, as `COMMAND INFO` and `COMMAND DOCS` of Redis 7.0.15 tell them.

use super::{BeginSearch, CommandSpec, FindKeys, Flags, KEYLESS, KeySpec, keys};
use crate::commands::{list, server};

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        index: 147,
        name: "blmove",
        full_name: "blmove",
        arity: 6,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::NOSCRIPT).union(Flags::BLOCKING),
        acl: &["@write", "@list", "@slow", "@blocking"],
        key_specs: &[
            KeySpec::range(1, 0, 1, &["RW", "access", "delete"]),
            KeySpec::range(2, 0, 1, &["RW", "insert"]),
        ],
        since: "6.2.0",
        group: "list",
        summary: "Pop an element from a list, push it to another list and return it; or block until one is available",
        complexity: "O(1)",
        handler: Some(list::blmove),
        ..keys(1, 2, 1)
    },
    CommandSpec {
        index: 148,
        name: "blmpop",
        full_name: "blmpop",
        arity: -5,
        flags: Flags::WRITE.union(Flags::BLOCKING).union(Flags::MOVABLEKEYS),
        acl: &["@write", "@list", "@slow", "@blocking"],
        key_specs: &[KeySpec {
            notes: "",
            flags: &["RW", "access", "delete"],
            begin: BeginSearch::Index(2),
            find: FindKeys::Count { at: 0, first: 1, step: 1 },
        }],
        since: "7.0.0",
        group: "list",
        summary: "Pop elements from a list, or block until one is available",
        complexity: "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        handler: Some(list::blmpop),
        ..KEYLESS
    },
    CommandSpec {
        index: 149,
        name: "blpop",
        full_name: "blpop",
        arity: -3,
        flags: Flags::WRITE.union(Flags::NOSCRIPT).union(Flags::BLOCKING),
        acl: &["@write", "@list", "@slow", "@blocking"],
        key_specs: &[KeySpec::range(1, -2, 1, &["RW", "access", "delete"])],
        since: "2.0.0",
        group: "list",
        summary: "Remove and get the first element in a list, or block until one is available",
        complexity: "O(N) where N is the number of provided keys.",
        handler: Some(list::blpop),
        ..keys(1, -2, 1)
    },
    CommandSpec {
        index: 150,
        name: "brpop",
        full_name: "brpop",
        arity: -3,
        flags: Flags::WRITE.union(Flags::NOSCRIPT).union(Flags::BLOCKING),
        acl: &["@write", "@list", "@slow", "@blocking"],
        key_specs: &[KeySpec::range(1, -2, 1, &["RW", "access", "delete"])],
        since: "2.0.0",
        group: "list",
        summary: "Remove and get the last element in a list, or block until one is available",
        complexity: "O(N) where N is the number of provided keys.",
        handler: Some(list::brpop),
        ..keys(1, -2, 1)
    },
    CommandSpec {
        index: 151,
        name: "brpoplpush",
        full_name: "brpoplpush",
        arity: 4,
        flags: Flags::WRITE.union(Flags::DENYOOM).union(Flags::NOSCRIPT).union(Flags::BLOCKING),
        acl: &["@write", "@list", "@slow", "@blocking"],
        key_specs: &[
            KeySpec::range(1, 0, 1, &["RW", "access", "delete"]),
            KeySpec::range(2, 0, 1, &["RW", "insert"]),
        ],
        since: "2.2.0",
        group: "list",
        summary: "Pop an element from a list, push it to another list and return it; or block until one is available",
        complexity: "O(1)",
        deprecated_since: "6.2.0",
        replaced_by: "`BLMOVE` with the `RIGHT` and `LEFT` arguments",
        handler: Some(list::brpoplpush),
        ..keys(1, 2, 1)
    },
    CommandSpec {
        index: 152,
        name: "memory",
        full_name: "memory",
        arity: -2,
        flags: Flags::NONE,
        acl: &["@slow"],
        summary: "A container for memory diagnostics commands",
        complexity: "Depends on subcommand.",
        since: "4.0.0",
        group: "server",
        subcommands: &[
            CommandSpec {
                index: 153,
                name: "help",
                full_name: "memory|help",
                arity: 2,
                flags: Flags::LOADING.union(Flags::STALE),
                acl: &["@slow"],
                summary: "Show helpful text about the different subcommands",
                complexity: "O(1)",
                since: "4.0.0",
                group: "server",
                ..KEYLESS
            },
            CommandSpec {
                index: 154,
                name: "usage",
                full_name: "memory|usage",
                arity: -3,
                flags: Flags::READONLY,
                acl: &["@read", "@slow"],
                key_specs: &[KeySpec::range(2, 0, 1, &["RO"])],
                summary: "Estimate the memory usage of a key",
                complexity: "O(N) where N is the number of samples.",
                since: "4.0.0",
                group: "server",
                handler: Some(server::memory_usage),
                ..keys(2, 2, 1)
            },
        ],
        ..KEYLESS
    },
];
