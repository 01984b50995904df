//! Facts about ACL and its subcommands, all handled by the server layer, as `COMMAND INFO` and `COMMAND DOCS` of Redis 7.0.15 tell them.

use super::{CommandSpec, Flags, KEYLESS};

const PUBLIC: Flags = Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE));
const ADMIN: Flags = Flags::ADMIN.union(PUBLIC);

/// What the subcommands of administrators have in common.
const ADMINS: CommandSpec = CommandSpec {
    flags: ADMIN,
    acl: &["@admin", "@slow", "@dangerous"],
    since: "6.0.0",
    group: "server",
    ..KEYLESS
};

/// What the others have in common.
const EVERYBODYS: CommandSpec = CommandSpec { flags: PUBLIC, acl: &["@slow"], ..ADMINS };

pub(super) const COMMANDS: &[CommandSpec] = &[CommandSpec {
    index: 155,
    name: "acl",
    full_name: "acl",
    arity: -2,
    acl: &["@slow"],
    since: "6.0.0",
    group: "server",
    summary: "A container for Access List Control commands ",
    complexity: "Depends on subcommand.",
    subcommands: &[
        CommandSpec {
            index: 156,
            name: "users",
            full_name: "acl|users",
            arity: 2,
            summary: "List the username of all the configured ACL rules",
            complexity: "O(N). Where N is the number of configured users.",
            ..ADMINS
        },
        CommandSpec {
            index: 157,
            name: "whoami",
            full_name: "acl|whoami",
            arity: 2,
            summary: "Return the name of the user associated to the current connection",
            complexity: "O(1)",
            ..EVERYBODYS
        },
        CommandSpec {
            index: 158,
            name: "getuser",
            full_name: "acl|getuser",
            arity: 3,
            summary: "Get the rules for a specific ACL user",
            complexity: "O(N). Where N is the number of password, command and pattern rules that the user has.",
            ..ADMINS
        },
        CommandSpec {
            index: 159,
            name: "cat",
            full_name: "acl|cat",
            arity: -2,
            summary: "List the ACL categories or the commands inside a category",
            complexity: "O(1) since the categories and commands are a fixed set.",
            ..EVERYBODYS
        },
        CommandSpec {
            index: 160,
            name: "list",
            full_name: "acl|list",
            arity: 2,
            summary: "List the current ACL rules in ACL config file format",
            complexity: "O(N). Where N is the number of configured users.",
            ..ADMINS
        },
        CommandSpec {
            index: 161,
            name: "setuser",
            full_name: "acl|setuser",
            arity: -3,
            summary: "Modify or create the rules for a specific ACL user",
            complexity: "O(N). Where N is the number of rules provided.",
            ..ADMINS
        },
        CommandSpec {
            index: 162,
            name: "save",
            full_name: "acl|save",
            arity: 2,
            summary: "Save the current ACL rules in the configured ACL file",
            complexity: "O(N). Where N is the number of configured users.",
            ..ADMINS
        },
        CommandSpec {
            index: 163,
            name: "help",
            full_name: "acl|help",
            arity: 2,
            flags: Flags::LOADING.union(Flags::STALE),
            summary: "Show helpful text about the different subcommands",
            complexity: "O(1)",
            ..EVERYBODYS
        },
        CommandSpec {
            index: 164,
            name: "load",
            full_name: "acl|load",
            arity: 2,
            summary: "Reload the ACLs from the configured ACL file",
            complexity: "O(N). Where N is the number of configured users.",
            ..ADMINS
        },
        CommandSpec {
            index: 165,
            name: "dryrun",
            full_name: "acl|dryrun",
            arity: -4,
            since: "7.0.0",
            summary: "Returns whether the user can execute the given command without executing the command.",
            complexity: "O(1).",
            ..ADMINS
        },
        CommandSpec {
            index: 166,
            name: "genpass",
            full_name: "acl|genpass",
            arity: -2,
            summary: "Generate a pseudorandom secure password to use for ACL users",
            complexity: "O(1)",
            ..EVERYBODYS
        },
        CommandSpec {
            index: 167,
            name: "deluser",
            full_name: "acl|deluser",
            arity: -3,
            summary: "Remove the specified ACL users and the associated rules",
            complexity: "O(1) amortized time considering the typical user.",
            ..ADMINS
        },
        CommandSpec {
            index: 168,
            name: "log",
            full_name: "acl|log",
            arity: -2,
            summary: "List latest events denied because of ACLs in place",
            complexity: "O(N) with N being the number of entries shown.",
            ..ADMINS
        },
    ],
    ..KEYLESS
}];
