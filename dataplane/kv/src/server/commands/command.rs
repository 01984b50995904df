//! COMMAND: what this server knows, from the tables that also say what it carries out.

use orrery_resp::Reply;

use super::extra::{self, by_full_name};
use super::{Call, help};
use crate::command_table::{BeginSearch, CommandSpec, FindKeys, KeySpec};
use crate::commands::glob;

pub(super) fn run(call: &mut Call<'_>, name: &str) {
    match name {
        "command|count" => call.reply.integer(extra::commands().count() as i64),
        "command|list" => list(call),
        "command|docs" => docs(call),
        "command|getkeys" => keys(call, false),
        "command|getkeysandflags" => keys(call, true),
        "command|help" => help::write(call.reply, "COMMAND", help::COMMAND),
        _ => info(call),
    }
}

fn info(call: &mut Call<'_>) {
    if call.args.len() <= 2 {
        call.reply.array(extra::commands().count());
        extra::commands().for_each(|spec| write_info(call.reply, spec));
        return;
    }
    call.reply.array(call.args.len() - 2);
    for name in &call.args[2..] {
        match by_full_name(name) {
            Some(spec) => write_info(call.reply, spec),
            None => call.reply.null(),
        }
    }
}

fn write_info(reply: &mut Reply, spec: &CommandSpec) {
    reply.array(10);
    reply.bulk(spec.full_name.as_bytes());
    reply.integer(i64::from(spec.arity));
    let flags: Vec<&str> = spec.flags.names().collect();
    write_statuses(reply, &flags);
    reply.integer(i64::from(spec.first_key));
    reply.integer(i64::from(spec.last_key));
    reply.integer(i64::from(spec.key_step));
    write_statuses(reply, spec.acl);
    reply.set(spec.tips.len());
    for tip in spec.tips {
        reply.bulk(tip.as_bytes());
    }
    reply.set(spec.key_specs.len());
    spec.key_specs.iter().for_each(|keys| write_key_spec(reply, keys));
    reply.set(extra::subcommands(spec).count());
    extra::subcommands(spec).for_each(|sub| write_info(reply, sub));
}

fn write_statuses(reply: &mut Reply, words: &[&str]) {
    reply.set(words.len());
    for word in words {
        reply.simple(word);
    }
}

fn write_key_spec(reply: &mut Reply, keys: &KeySpec) {
    reply.map(if keys.notes.is_empty() { 3 } else { 4 });
    if !keys.notes.is_empty() {
        reply.bulk(b"notes");
        reply.bulk(keys.notes.as_bytes());
    }
    reply.bulk(b"flags");
    write_statuses(reply, keys.flags);
    let BeginSearch::Index(index) = keys.begin;
    write_step(reply, "begin_search", "index", &[("index", index as i64)]);
    match keys.find {
        FindKeys::Range { last, step, limit } => {
            let fields = [
                ("lastkey", i64::from(last)),
                ("keystep", step as i64),
                ("limit", i64::from(limit)),
            ];
            write_step(reply, "find_keys", "range", &fields);
        }
        FindKeys::Count { at, first, step } => {
            let fields =
                [("keynumidx", at as i64), ("firstkey", first as i64), ("keystep", step as i64)];
            write_step(reply, "find_keys", "keynum", &fields);
        }
    }
}

fn write_step(reply: &mut Reply, name: &str, kind: &str, fields: &[(&str, i64)]) {
    reply.bulk(name.as_bytes());
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(fields.len());
    for (name, value) in fields {
        reply.bulk(name.as_bytes());
        reply.integer(*value);
    }
}

fn docs(call: &mut Call<'_>) {
    let specs: Vec<&CommandSpec> = if call.args.len() <= 2 {
        extra::commands().collect()
    } else {
        call.args[2..].iter().filter_map(|name| by_full_name(name)).collect()
    };
    call.reply.map(specs.len());
    for spec in specs {
        write_docs(call.reply, spec);
    }
}

fn write_docs(reply: &mut Reply, spec: &CommandSpec) {
    reply.bulk(spec.full_name.as_bytes());
    let deferred = reply.defer();
    let mut pairs = 0;
    let texts = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group),
        ("complexity", spec.complexity),
        ("deprecated_since", spec.deprecated_since),
        ("replaced_by", spec.replaced_by),
    ];
    for (name, text) in texts {
        if !text.is_empty() {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
            pairs += 1;
        }
    }
    let subcommands = extra::subcommands(spec).count();
    if subcommands > 0 {
        reply.bulk(b"subcommands");
        reply.map(subcommands);
        extra::subcommands(spec).for_each(|sub| write_docs(reply, sub));
        pairs += 1;
    }
    reply.finish_map(deferred, pairs);
}

/// `COMMAND LIST [FILTERBY MODULE m | ACLCAT c | PATTERN p]`.
fn list(call: &mut Call<'_>) {
    let wanted: Box<dyn Fn(&CommandSpec) -> bool> = match call.args.len() {
        2 => Box::new(|_| true),
        5 if call.is(2, "FILTERBY") => {
            let value = call.args[4].to_ascii_lowercase();
            if call.is(3, "MODULE") {
                Box::new(|_| false)
            } else if call.is(3, "ACLCAT") {
                let category = [b"@".as_slice(), &value].concat();
                Box::new(move |spec| spec.acl.iter().any(|acl| acl.as_bytes() == category))
            } else if call.is(3, "PATTERN") {
                Box::new(move |spec| glob::matches(&value, spec.full_name.as_bytes()))
            } else {
                call.syntax_error();
                return;
            }
        }
        _ => {
            call.syntax_error();
            return;
        }
    };
    let filters = call.args.len() > 2;
    let deferred = call.reply.defer();
    let mut count = 0;
    for spec in extra::commands() {
        let subcommands = extra::subcommands(spec).filter(|_| filters);
        for spec in std::iter::once(spec).chain(subcommands) {
            if wanted(spec) {
                call.reply.bulk(spec.full_name.as_bytes());
                count += 1;
            }
        }
    }
    call.reply.finish_array(deferred, count);
}

fn keys(call: &mut Call<'_>, with_flags: bool) {
    let args = &call.args[2..];
    let Some(spec) = extra::find(args) else {
        call.reply.error("ERR Invalid command specified");
        return;
    };
    if spec.key_specs.is_empty() {
        call.reply.error("ERR The command has no key arguments");
        return;
    }
    if !spec.arity_matches(args.len()) {
        call.reply.error("ERR Invalid number of arguments specified for command");
        return;
    }
    let positions = spec.key_positions(args);
    if positions.is_empty() {
        call.reply.error("ERR Invalid arguments specified for command");
        return;
    }
    let flags = spec.key_specs[0].flags;
    call.reply.array(positions.len());
    for at in positions {
        if with_flags {
            call.reply.array(2);
        }
        call.reply.bulk(args[at]);
        if with_flags {
            write_statuses(call.reply, flags);
        }
    }
}
