//! Facts about the commands of connections, all handled by the server layer, as `COMMAND INFO` and `COMMAND DOCS` of Redis 7.0.15 tell them.

use super::{CommandSpec, Flags, KEYLESS};

pub(super) const COMMANDS: &[CommandSpec] = &[
    CommandSpec {
        index: 97,
        name: "auth",
        full_name: "auth",
        arity: -2,
        flags: Flags::NOSCRIPT.union(
            Flags::LOADING.union(
                Flags::STALE.union(Flags::FAST.union(Flags::NO_AUTH.union(Flags::ALLOW_BUSY))),
            ),
        ),
        acl: &["@fast", "@connection"],
        since: "1.0.0",
        group: "connection",
        summary: "Authenticate to the server",
        complexity: "O(N) where N is the number of passwords defined for the user",
        ..KEYLESS
    },
    CommandSpec {
        index: 98,
        name: "client",
        full_name: "client",
        arity: -2,
        flags: Flags::NONE,
        acl: &["@slow"],
        since: "2.4.0",
        group: "connection",
        summary: "A container for client connection commands",
        complexity: "Depends on subcommand.",
        subcommands: &[
            CommandSpec {
                index: 99,
                name: "pause",
                full_name: "client|pause",
                arity: -3,
                flags: Flags::ADMIN
                    .union(Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE))),
                acl: &["@admin", "@slow", "@dangerous", "@connection"],
                since: "2.9.50",
                group: "connection",
                summary: "Stop processing commands from clients for some time",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 100,
                name: "id",
                full_name: "client|id",
                arity: 2,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                since: "5.0.0",
                group: "connection",
                summary: "Returns the client ID for the current connection",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 101,
                name: "list",
                full_name: "client|list",
                arity: -2,
                flags: Flags::ADMIN
                    .union(Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE))),
                acl: &["@admin", "@slow", "@dangerous", "@connection"],
                tips: &["nondeterministic_output"],
                since: "2.4.0",
                group: "connection",
                summary: "Get the list of client connections",
                complexity: "O(N) where N is the number of client connections",
                ..KEYLESS
            },
            CommandSpec {
                index: 102,
                name: "help",
                full_name: "client|help",
                arity: 2,
                flags: Flags::LOADING.union(Flags::STALE),
                acl: &["@slow", "@connection"],
                since: "5.0.0",
                group: "connection",
                summary: "Show helpful text about the different subcommands",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 103,
                name: "getredir",
                full_name: "client|getredir",
                arity: 2,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                since: "6.0.0",
                group: "connection",
                summary: "Get tracking notifications redirection client ID if any",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 104,
                name: "info",
                full_name: "client|info",
                arity: 2,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                tips: &["nondeterministic_output"],
                since: "6.2.0",
                group: "connection",
                summary: "Returns information about the current client connection.",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 105,
                name: "no-evict",
                full_name: "client|no-evict",
                arity: 3,
                flags: Flags::ADMIN
                    .union(Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE))),
                acl: &["@admin", "@slow", "@dangerous", "@connection"],
                since: "7.0.0",
                group: "connection",
                summary: "Set client eviction mode for the current connection",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 106,
                name: "getname",
                full_name: "client|getname",
                arity: 2,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                since: "2.6.9",
                group: "connection",
                summary: "Get the current connection name",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 107,
                name: "setname",
                full_name: "client|setname",
                arity: 3,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                since: "2.6.9",
                group: "connection",
                summary: "Set the current connection name",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 108,
                name: "trackinginfo",
                full_name: "client|trackinginfo",
                arity: 2,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                since: "6.2.0",
                group: "connection",
                summary: "Return information about server assisted client side caching for the current connection",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 109,
                name: "kill",
                full_name: "client|kill",
                arity: -3,
                flags: Flags::ADMIN
                    .union(Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE))),
                acl: &["@admin", "@slow", "@dangerous", "@connection"],
                since: "2.4.0",
                group: "connection",
                summary: "Kill the connection of a client",
                complexity: "O(N) where N is the number of client connections",
                ..KEYLESS
            },
            CommandSpec {
                index: 110,
                name: "tracking",
                full_name: "client|tracking",
                arity: -3,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                since: "6.0.0",
                group: "connection",
                summary: "Enable or disable server assisted client side caching support",
                complexity: "O(1). Some options may introduce additional complexity.",
                ..KEYLESS
            },
            CommandSpec {
                index: 111,
                name: "unblock",
                full_name: "client|unblock",
                arity: -3,
                flags: Flags::ADMIN
                    .union(Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE))),
                acl: &["@admin", "@slow", "@dangerous", "@connection"],
                since: "5.0.0",
                group: "connection",
                summary: "Unblock a client blocked in a blocking command from a different connection",
                complexity: "O(log N) where N is the number of client connections",
                ..KEYLESS
            },
            CommandSpec {
                index: 112,
                name: "unpause",
                full_name: "client|unpause",
                arity: 2,
                flags: Flags::ADMIN
                    .union(Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE))),
                acl: &["@admin", "@slow", "@dangerous", "@connection"],
                since: "6.2.0",
                group: "connection",
                summary: "Resume processing of clients that were paused",
                complexity: "O(N) Where N is the number of paused clients",
                ..KEYLESS
            },
            CommandSpec {
                index: 113,
                name: "caching",
                full_name: "client|caching",
                arity: 3,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                since: "6.0.0",
                group: "connection",
                summary: "Instruct the server about tracking or not keys in the next request",
                complexity: "O(1)",
                ..KEYLESS
            },
            CommandSpec {
                index: 114,
                name: "reply",
                full_name: "client|reply",
                arity: 3,
                flags: Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE)),
                acl: &["@slow", "@connection"],
                since: "3.2.0",
                group: "connection",
                summary: "Instruct the server whether to reply to commands",
                complexity: "O(1)",
                ..KEYLESS
            },
        ],
        ..KEYLESS
    },
    CommandSpec {
        index: 115,
        name: "echo",
        full_name: "echo",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE.union(Flags::FAST)),
        acl: &["@fast", "@connection"],
        since: "1.0.0",
        group: "connection",
        summary: "Echo the given string",
        complexity: "O(1)",
        ..KEYLESS
    },
    CommandSpec {
        index: 116,
        name: "hello",
        full_name: "hello",
        arity: -1,
        flags: Flags::NOSCRIPT.union(
            Flags::LOADING.union(
                Flags::STALE.union(Flags::FAST.union(Flags::NO_AUTH.union(Flags::ALLOW_BUSY))),
            ),
        ),
        acl: &["@fast", "@connection"],
        since: "6.0.0",
        group: "connection",
        summary: "Handshake with Redis",
        complexity: "O(1)",
        ..KEYLESS
    },
    CommandSpec {
        index: 117,
        name: "ping",
        full_name: "ping",
        arity: -1,
        flags: Flags::FAST,
        acl: &["@fast", "@connection"],
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        since: "1.0.0",
        group: "connection",
        summary: "Ping the server",
        complexity: "O(1)",
        ..KEYLESS
    },
    CommandSpec {
        index: 118,
        name: "quit",
        full_name: "quit",
        arity: -1,
        flags: Flags::NOSCRIPT.union(
            Flags::LOADING.union(
                Flags::STALE.union(Flags::FAST.union(Flags::NO_AUTH.union(Flags::ALLOW_BUSY))),
            ),
        ),
        acl: &["@fast", "@connection"],
        since: "1.0.0",
        group: "connection",
        summary: "Close the connection",
        complexity: "O(1)",
        ..KEYLESS
    },
    CommandSpec {
        index: 119,
        name: "reset",
        full_name: "reset",
        arity: 1,
        flags: Flags::NOSCRIPT.union(
            Flags::LOADING.union(
                Flags::STALE.union(Flags::FAST.union(Flags::NO_AUTH.union(Flags::ALLOW_BUSY))),
            ),
        ),
        acl: &["@fast", "@connection"],
        since: "6.2.0",
        group: "connection",
        summary: "Reset the connection",
        complexity: "O(1)",
        ..KEYLESS
    },
    CommandSpec {
        index: 120,
        name: "select",
        full_name: "select",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE.union(Flags::FAST)),
        acl: &["@fast", "@connection"],
        since: "1.0.0",
        group: "connection",
        summary: "Change the selected database for the current connection",
        complexity: "O(1)",
        ..KEYLESS
    },
];
