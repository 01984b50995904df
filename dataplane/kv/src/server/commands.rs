//! Commands about the session and the server: everything that is not about keys.
//!
//! One file per family; each takes the shard, the connection and the arguments, writes the reply,
//! and returns the journal position the reply must wait for (0 = none).

mod acl;
mod auth;
mod basic;
mod client;
mod client_filter;
mod cluster;
mod command;
mod config;
pub(crate) mod extra;
mod function;
mod help;
mod info;
mod info_sections;
mod replication;
mod saving;
mod transaction;

use orrery_resp::Reply;

pub(crate) use client::describe as describe_client;

use super::Shard;
use super::connection::Connection;
use crate::command_table::CommandSpec;

/// Everything a command of the server gets.
pub(crate) struct Call<'a> {
    pub(crate) shard: &'a mut Shard,
    pub(crate) connection: &'a mut Connection,
    pub(crate) args: &'a [&'a [u8]],
    pub(crate) reply: &'a mut Reply,
}

impl std::fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("args", &self.args.len()).finish_non_exhaustive()
    }
}

impl Call<'_> {
    /// The argument at `index` as text for messages and names.
    pub(crate) fn text(&self, index: usize) -> String {
        String::from_utf8_lossy(self.args[index]).into_owned()
    }

    /// Whether the argument at `index` is this word, in any case.
    pub(crate) fn is(&self, index: usize, word: &str) -> bool {
        self.args.get(index).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// The argument at `index` as a number.
    pub(crate) fn number(&self, index: usize) -> Option<i64> {
        parse_i64(self.args.get(index)?)
    }

    pub(crate) fn syntax_error(&mut self) {
        self.reply.error("ERR syntax error");
    }

    pub(crate) fn not_an_integer(&mut self) {
        self.reply.error("ERR value is not an integer or out of range");
    }
}

/// A decimal number, as strictly as Redis takes it.
pub(crate) fn parse_i64(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = match digits {
        [] => false,
        [b'0'] => text.len() == 1,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if !is_canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Runs a command of the server.
pub(crate) fn run(
    shard: &mut Shard,
    connection: &mut Connection,
    spec: &'static CommandSpec,
    args: &[&[u8]],
    reply: &mut Reply,
) -> u64 {
    let call = &mut Call { shard, connection, args, reply };
    match spec.full_name {
        "exec" => return transaction::exec(call),
        "multi" => transaction::multi(call),
        "discard" => transaction::discard(call),
        "watch" => return transaction::watch(call),
        "unwatch" => transaction::unwatch(call),
        "ping" => basic::ping(call),
        "echo" => call.reply.bulk(call.args[1]),
        "select" => basic::select(call),
        "quit" => basic::quit(call),
        "reset" => basic::reset(call),
        "time" => basic::time(call),
        "role" => replication::role(call),
        "replconf" => replication::replconf(call),
        "psync" => replication::psync(call),
        "wait" => replication::wait(call),
        "debug" => basic::debug(call),
        "auth" => auth::auth(call),
        "hello" => auth::hello(call),
        "info" => info::info(call),
        "save" | "bgsave" | "bgrewriteaof" => saving::save(call),
        "memory|help" => help::write(call.reply, "MEMORY", help::MEMORY),
        "function" => function::function(call),
        "lastsave" => saving::last_save(call),
        name @ ("asking" | "readonly" | "readwrite") => cluster::say(call, name),
        name if name.starts_with("cluster") => return cluster::run(call, name),
        name if name.starts_with("acl") => acl::run(call, name),
        name if name.starts_with("client") => client::run(call, name),
        name if name.starts_with("config") => config::run(call, name),
        name if name.starts_with("command") => command::run(call, name),
        name => {
            let text = format!("ERR command '{name}' is not available in this version");
            call.reply.error(text);
        }
    }
    0
}
