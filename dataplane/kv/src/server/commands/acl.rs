//! ACL: who the users are and what they may do.
//!
//! Users are declared in the spec of the object, so clients cannot change them; where test suites
//! are allowed to (`debugCommands`), the change lasts until the file of users changes.

use std::fmt::Write as _;

use orrery_kit::env::{Env, SystemEnv};

use super::extra;
use super::{Call, help};
use crate::command_table::CommandSpec;
use crate::server::users::User;
use crate::server::users::user::Denied;
use orrery_api::kv::acl::{CATEGORIES, DEFAULT_USER};

/// Bits of `ACL GENPASS`.
const BITS_DEFAULT: i64 = 256;
const BITS_MAX: i64 = 4096;
/// Entries of `ACL LOG` unless asked for more.
const LOG_ENTRIES: usize = 10;
/// Longest name of a user.
const NAME_BYTES_MAX: usize = 256;
/// Users there can be.
const USERS_MAX: usize = 1024;

const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want \
    to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you \
    have a Redis configuration file set) in order to store users in the Redis configuration.";
const DECLARED: &str = "ERR users are declared: change spec.resp.users of the KVCluster";
const BAD_BITS: &str = "ERR ACL GENPASS argument must be the number of bits for the output \
    password, a positive number up to 4096";

pub(super) fn run(call: &mut Call<'_>, name: &str) {
    match name {
        "acl|whoami" => {
            let user = call.connection.user();
            call.reply.bulk(user.name().as_bytes());
        }
        "acl|users" => {
            let users: Vec<String> =
                call.shard.users.iter().map(|user| user.name().to_owned()).collect();
            write_texts(call, &users);
        }
        "acl|list" => {
            let lines: Vec<String> = call.shard.users.iter().map(|user| user.line()).collect();
            write_texts(call, &lines);
        }
        "acl|getuser" => match call.shard.users.find(call.args[2]) {
            Some(user) => user.write(call.reply),
            None => call.reply.null(),
        },
        "acl|cat" => categories(call),
        "acl|dryrun" => dry_run(call),
        "acl|genpass" => password(call),
        "acl|log" => log(call),
        "acl|setuser" => set_user(call),
        "acl|deluser" => delete_users(call),
        "acl|save" | "acl|load" => call.reply.error(NO_FILE),
        _ => help::write(call.reply, "ACL", help::ACL),
    }
}

fn write_texts(call: &mut Call<'_>, texts: &[String]) {
    call.reply.array(texts.len());
    for text in texts {
        call.reply.bulk(text.as_bytes());
    }
}

fn categories(call: &mut Call<'_>) {
    let Some(wanted) = call.args.get(2) else {
        let names: Vec<String> = CATEGORIES.iter().map(|&name| name.to_owned()).collect();
        write_texts(call, &names);
        return;
    };
    if call.args.len() > 3 {
        call.reply
            .error("ERR unknown subcommand or wrong number of arguments for 'CAT'. Try ACL HELP.");
        return;
    }
    let Some(name) = CATEGORIES.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(wanted))
    else {
        let name = call.text(2);
        call.reply.error(format!("ERR Unknown category '{name}'"));
        return;
    };
    let is_of =
        |spec: &&CommandSpec| spec.acl.iter().any(|acl| acl.strip_prefix('@') == Some(name));
    let names: Vec<String> =
        extra::all().filter(is_of).map(|spec| spec.full_name.to_owned()).collect();
    write_texts(call, &names);
}

fn dry_run(call: &mut Call<'_>) {
    let Some(user) = call.shard.users.find(call.args[2]).cloned() else {
        let name = call.text(2);
        call.reply.error(format!("ERR User '{name}' not found"));
        return;
    };
    let command = &call.args[3..];
    let Some(spec) = extra::find(command) else {
        let name = call.text(3);
        call.reply.error(format!("ERR Command '{name}' not found"));
        return;
    };
    if !spec.arity_matches(command.len()) {
        let name = spec.full_name;
        call.reply.error(format!("ERR wrong number of arguments for '{name}' command"));
        return;
    }
    match user.check(spec, command) {
        Ok(()) => call.reply.ok(),
        Err(Denied::Command) => {
            let name = spec.full_name;
            let text = format!("This user has no permissions to run the '{name}' command");
            call.reply.bulk(text.as_bytes());
        }
        Err(Denied::Key(at)) => {
            let mut text = b"This user has no permissions to access the '".to_vec();
            text.extend_from_slice(command.get(at).copied().unwrap_or_default());
            text.extend_from_slice(b"' key");
            call.reply.bulk(&text);
        }
    }
}

fn password(call: &mut Call<'_>) {
    let bits = match call.args.len() {
        2 => Some(BITS_DEFAULT),
        3 => call.number(2).filter(|bits| (1..=BITS_MAX).contains(bits)),
        _ => {
            let text =
                "ERR unknown subcommand or wrong number of arguments for 'GENPASS'. Try ACL HELP.";
            call.reply.error(text);
            return;
        }
    };
    let Some(bits) = bits else {
        call.reply.error(BAD_BITS);
        return;
    };
    let chars = (bits as usize).div_ceil(4);
    let mut text = String::with_capacity(chars + 16);
    let source = SystemEnv::default();
    while text.len() < chars {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:016x}", source.random());
    }
    call.reply.bulk(&text.as_bytes()[..chars]);
}

fn log(call: &mut Call<'_>) {
    if call.args.len() > 3 {
        call.reply
            .error("ERR unknown subcommand or wrong number of arguments for 'LOG'. Try ACL HELP.");
        return;
    }
    if call.is(2, "RESET") {
        call.shard.denied.clear();
        call.reply.ok();
        return;
    }
    let most = match (call.args.len(), call.number(2)) {
        (2, _) => LOG_ENTRIES,
        (_, Some(most)) => usize::try_from(most).unwrap_or(0),
        (_, None) => {
            call.not_an_integer();
            return;
        }
    };
    let now_ms = call.shard.clock.mono_ms;
    call.shard.denied.write(most, now_ms, call.reply);
}

fn set_user(call: &mut Call<'_>) {
    if !call.shard.debug_enabled {
        call.reply.error(DECLARED);
        return;
    }
    let name = call.text(2);
    if name.len() > NAME_BYTES_MAX || name.contains([' ', '\0']) {
        call.reply.error("ERR Usernames can't contain spaces or null characters");
        return;
    }
    let known = call.shard.users.find(name.as_bytes());
    if known.is_none() && call.shard.users.iter().count() == USERS_MAX {
        call.reply.error("ERR there are too many users");
        return;
    }
    let mut user = known.map_or_else(|| User::new(&name), |user| User::clone(user));
    let words = match selectors_joined(call) {
        Ok(words) => words,
        Err(from) => {
            call.reply
                .error(format!("ERR Unmatched parenthesis in acl selector starting at '{from}'."));
            return;
        }
    };
    for word in &words {
        if let Err(error) = user.apply(word) {
            call.reply.error(format!("ERR Error in ACL SETUSER modifier '{word}': {error}"));
            return;
        }
    }
    let mut users = call.shard.users.clone();
    users.put(user);
    call.shard.take_users(users, Some(call.connection));
    call.reply.ok();
}

/// The words of SETUSER: arguments from one parenthesis to the other are one word. What stands
/// behind the first parenthesis that is not closed is the error.
fn selectors_joined(call: &Call<'_>) -> Result<Vec<String>, String> {
    let mut words: Vec<String> = vec![];
    let mut open: Option<String> = None;
    for at in 3..call.args.len() {
        let text = call.text(at);
        let word = match open.take() {
            Some(before) => format!("{before} {text}"),
            None => text,
        };
        if word.starts_with('(') && !word.ends_with(')') {
            open = Some(word);
        } else {
            words.push(word);
        }
    }
    match open {
        Some(word) => Err(word.split(' ').next().unwrap_or_default().to_owned()),
        None => Ok(words),
    }
}

fn delete_users(call: &mut Call<'_>) {
    if !call.shard.debug_enabled {
        call.reply.error(DECLARED);
        return;
    }
    if call.args[2..].contains(&DEFAULT_USER.as_bytes()) {
        call.reply.error("ERR The 'default' user cannot be removed");
        return;
    }
    let mut users = call.shard.users.clone();
    let removed = call.args[2..].iter().filter(|name| users.remove(name)).count();
    call.shard.take_users(users, Some(call.connection));
    call.reply.integer(removed as i64);
}
