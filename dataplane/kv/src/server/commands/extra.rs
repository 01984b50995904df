//! Commands that Redis 7.0 does not have, or that suites expect although their milestone is a later
//! one: the rest of the table is `command_table`.

use crate::command_table::{self, CommandSpec, Flags, Lookup};

const fn spec(
    index: usize,
    name: &'static str,
    full_name: &'static str,
    arity: i32,
    flags: Flags,
    summary: &'static str,
) -> CommandSpec {
    CommandSpec {
        index: command_table::COUNT + index,
        name,
        full_name,
        arity,
        flags,
        first_key: 0,
        last_key: 0,
        key_step: 0,
        acl: &["@admin", "@slow", "@dangerous"],
        tips: &[],
        key_specs: &[],
        since: "1.0.0",
        group: "server",
        summary,
        complexity: "O(1)",
        deprecated_since: "",
        replaced_by: "",
        subcommands: &[],
        handler: None,
    }
}

/// A subcommand of CLIENT.
const fn client(
    index: usize,
    name: &'static str,
    full_name: &'static str,
    arity: i32,
    summary: &'static str,
) -> CommandSpec {
    let flags = Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE));
    CommandSpec {
        acl: &["@slow", "@connection"],
        since: "7.2.0",
        group: "connection",
        ..spec(index, name, full_name, arity, flags, summary)
    }
}

const SERVER: Flags = Flags::ADMIN.union(Flags::NOSCRIPT);
const SNAPSHOT: Flags = SERVER.union(Flags::NO_ASYNC_LOADING);

/// Subcommands of CLIENT.
pub(crate) static CLIENT: [CommandSpec; 2] = [
    client(0, "setinfo", "client|setinfo", 4, "Set client library name and version"),
    client(1, "durability", "client|durability", 3, "Choose what replies wait for"),
];

/// Commands of their own.
pub(crate) static COMMANDS: [CommandSpec; 8] = [
    CommandSpec {
        complexity: "O(N) where N is the total number of keys in all databases",
        ..spec(2, "save", "save", 1, SNAPSHOT.union(Flags::NO_MULTI), "Write a snapshot and wait")
    },
    spec(3, "bgsave", "bgsave", -1, SNAPSHOT, "Begin a snapshot"),
    spec(
        4,
        "bgrewriteaof",
        "bgrewriteaof",
        1,
        SNAPSHOT,
        "Begin a snapshot, which trims the journal",
    ),
    CommandSpec {
        acl: &["@admin", "@fast", "@dangerous"],
        tips: &["nondeterministic_output"],
        ..spec(5, "lastsave", "lastsave", 1, LAST_SAVE, "Time of the last snapshot")
    },
    CommandSpec {
        complexity: "Depends on subcommand.",
        ..spec(6, "debug", "debug", -2, DEBUG, "The harmless part of DEBUG, when enabled")
    },
    CommandSpec {
        acl: &["@slow", "@scripting"],
        since: "7.0.0",
        group: "scripting",
        ..spec(
            7,
            "function",
            "function",
            -2,
            Flags::NOSCRIPT,
            "Libraries of functions: there are none",
        )
    },
    spec(8, "replconf", "replconf", -1, FOLLOWERS, "A follower says who it is"),
    spec(9, "psync", "psync", -3, FOLLOWERS, "A follower asks for records"),
];

/// Who may replicate is decided by the commands themselves.
const FOLLOWERS: Flags =
    SERVER.union(Flags::NO_MULTI).union(Flags::NO_AUTH).union(Flags::LOADING.union(Flags::STALE));

const LAST_SAVE: Flags = Flags::LOADING.union(Flags::STALE.union(Flags::FAST));
const DEBUG: Flags = SERVER.union(Flags::LOADING.union(Flags::STALE));

/// Commands and subcommands here.
pub(crate) const COUNT: usize = 10;

/// All commands, this table's too, without their subcommands.
pub(crate) fn commands() -> impl Iterator<Item = &'static CommandSpec> {
    command_table::commands().chain(&COMMANDS)
}

/// Subcommands of a command, this table's too.
pub(crate) fn subcommands(spec: &CommandSpec) -> impl Iterator<Item = &'static CommandSpec> {
    let more: &[CommandSpec] = if spec.full_name == "client" { &CLIENT } else { &[] };
    spec.subcommands.iter().chain(more)
}

/// All commands with their subcommands, by index.
pub(crate) fn all() -> impl Iterator<Item = &'static CommandSpec> {
    command_table::commands()
        .flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
        .chain(&CLIENT)
        .chain(&COMMANDS)
}

/// Finds a command or subcommand of either table by its arguments.
pub(crate) fn find(args: &[&[u8]]) -> Option<&'static CommandSpec> {
    match command_table::lookup(args) {
        Lookup::Found(spec) => Some(spec),
        Lookup::Unknown | Lookup::UnknownSubcommand(_) => lookup(args),
    }
}

/// Finds `command` or `container|subcommand`, in any case.
pub(crate) fn by_full_name(name: &[u8]) -> Option<&'static CommandSpec> {
    all().find(|spec| spec.full_name.as_bytes().eq_ignore_ascii_case(name))
}

/// Finds what the other table does not know.
pub(crate) fn lookup(args: &[&[u8]]) -> Option<&'static CommandSpec> {
    let find = |table: &'static [CommandSpec], name: &[u8]| {
        table.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
    };
    match args {
        [command, sub, ..] if command.eq_ignore_ascii_case(b"client") => find(&CLIENT, sub),
        [command, ..] => find(&COMMANDS, command),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_where_the_other_table_ends() {
        assert!(all().enumerate().all(|(number, spec)| spec.index == number));
        assert_eq!(all().count(), command_table::COUNT + COUNT);
    }

    #[test]
    fn what_can_be_called_is_listed_and_what_is_listed_can_be_called() {
        let mut listed = 0;
        for spec in commands().flat_map(|spec| std::iter::once(spec).chain(subcommands(spec))) {
            let args: Vec<&[u8]> = spec.full_name.split('|').map(str::as_bytes).collect();
            assert!(std::ptr::eq(find(&args).expect("it can be called"), spec));
            assert!(std::ptr::eq(by_full_name(spec.full_name.as_bytes()).expect("named"), spec));
            listed += 1;
        }
        assert_eq!(listed, all().count());
    }
}
