//! Commands that Redis 7.0 does not have, or that suites expect although their milestone is a later
//! one: the rest of the table is `command_table`.

use crate::command_table::{self, CommandSpec, Flags};

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
        acl: &["@slow"],
        tips: &[],
        key_specs: &[],
        since: "7.0.0",
        group: "server",
        summary,
        complexity: "O(1)",
        deprecated_since: "",
        replaced_by: "",
        subcommands: &[],
        handler: None,
    }
}

const SERVER: Flags = Flags::ADMIN.union(Flags::NOSCRIPT);
const SESSION: Flags = Flags::NOSCRIPT.union(Flags::LOADING.union(Flags::STALE));

/// Subcommands of CLIENT.
pub(crate) static CLIENT: [CommandSpec; 2] = [
    spec(0, "setinfo", "client|setinfo", 4, SESSION, "Set client library name and version"),
    spec(1, "durability", "client|durability", 3, SESSION, "Choose what replies wait for"),
];

/// Commands of their own.
pub(crate) static COMMANDS: [CommandSpec; 5] = [
    spec(2, "save", "save", 1, SERVER, "Begin a snapshot"),
    spec(3, "bgsave", "bgsave", -1, SERVER, "Begin a snapshot"),
    spec(4, "bgrewriteaof", "bgrewriteaof", 1, SERVER, "Begin a snapshot"),
    spec(5, "lastsave", "lastsave", 1, Flags::LOADING, "Time of the last snapshot"),
    spec(6, "debug", "debug", -2, SERVER, "The harmless part of DEBUG, when enabled"),
];

/// Commands and subcommands here.
pub(crate) const COUNT: usize = 7;

/// All commands with their subcommands, this table's too.
pub(crate) fn all() -> impl Iterator<Item = &'static CommandSpec> {
    command_table::commands()
        .flat_map(|spec| std::iter::once(spec).chain(spec.subcommands))
        .chain(&CLIENT)
        .chain(&COMMANDS)
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
}
