//! CLIENT: what a client can ask and say about connections.

use super::client_filter::{self, Filter};
use super::{Call, help};
use crate::server::connection::{Connection, Durability, Hold, ReplyMode};
use crate::server::waiting::WaitEnd;
use crate::server::{Pause, Shard};

const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";

pub(super) fn run(call: &mut Call<'_>, name: &str) {
    match name {
        "client|id" => call.reply.integer(call.connection.id as i64),
        "client|getname" => match call.connection.names.name.as_str() {
            "" => call.reply.null(),
            name => call.reply.bulk(name.as_bytes()),
        },
        "client|setname" => set_name(call),
        "client|setinfo" => set_info(call),
        "client|info" => {
            let line = describe(call.connection, call.shard.clock.mono_ms) + "\n";
            call.reply.verbatim(*b"txt", line.as_bytes());
        }
        "client|list" => list(call),
        "client|kill" => kill(call),
        "client|pause" => pause(call),
        "client|unpause" => {
            call.shard.unpause();
            call.reply.ok();
        }
        "client|reply" => reply_mode(call),
        "client|durability" => durability(call),
        "client|no-evict" => {
            let Some(on) = on_off(call) else { return };
            call.connection.no_evict = on;
            call.reply.ok();
        }
        "client|tracking" => tracking(call),
        "client|trackinginfo" => tracking_info(call),
        "client|getredir" => call.reply.integer(-1),
        "client|caching" => caching(call),
        "client|unblock" => unblock(call),
        _ => help::write(call.reply, "CLIENT", help::CLIENT),
    }
}

/// Printable, no spaces: names appear in `CLIENT LIST`.
pub(super) fn is_valid_name(name: &[u8]) -> bool {
    name.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

fn set_name(call: &mut Call<'_>) {
    if !is_valid_name(call.args[2]) {
        call.reply.error(BAD_NAME);
        return;
    }
    call.connection.names.name = call.text(2);
    call.reply.ok();
}

/// `CLIENT SETINFO` of Redis 7.2: client libraries send it on connect.
fn set_info(call: &mut Call<'_>) {
    let value = call.text(3);
    let is_name = call.is(2, "LIB-NAME");
    if !is_name && !call.is(2, "LIB-VER") {
        let option = call.text(2);
        call.reply.error(format!("ERR Unrecognized option '{option}'"));
    } else if !is_valid_name(call.args[3]) {
        let option = if is_name { "lib-name" } else { "lib-ver" };
        call.reply
            .error(format!("ERR {option} cannot contain spaces, newlines or special characters."));
    } else {
        let names = &mut call.connection.names;
        *(if is_name { &mut names.lib_name } else { &mut names.lib_ver }) = value;
        call.reply.ok();
    }
}

/// One line of `CLIENT LIST`, with the fields of Redis 7.0 in their order.
pub(crate) fn describe(connection: &Connection, now_ms: u64) -> String {
    let multi = connection.multi.as_ref();
    let command = connection.last_command.map_or("NULL", |spec| spec.full_name);
    let (used, capacity) = (connection.query.len(), connection.query.capacity());
    let pending = connection.output.pending_bytes();
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub=0 psub=0 ssub=0 \
         multi={} qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs={} rbp={} obl={} oll=0 omem={} \
         tot-mem={} events={} cmd={} user={} redir=-1 resp={} lib-name={} lib-ver={}",
        connection.id,
        connection.address,
        connection.local_address,
        connection.stream.descriptor(),
        connection.names.name,
        now_ms.saturating_sub(connection.created_ms) / 1000,
        now_ms.saturating_sub(connection.active_ms) / 1000,
        flags(connection),
        connection.session.db,
        multi.map_or(-1, |m| m.queued.len() as i64),
        used,
        capacity - used,
        multi.map_or(0, |m| m.bytes),
        connection.output.heap_bytes(),
        connection.output.heap_bytes(),
        pending,
        pending,
        connection.heap_bytes(),
        if pending > 0 { "rw" } else { "r" },
        command,
        connection.user().name(),
        if connection.proto == orrery_resp::Proto::Resp3 { 3 } else { 2 },
        connection.names.lib_name,
        connection.names.lib_ver,
    )
}

fn flags(connection: &Connection) -> String {
    let flags = [
        (connection.hold == Hold::Wait, 'b'),
        (connection.multi.is_some(), 'x'),
        (connection.stream.is_unix(), 'U'),
        (connection.no_evict, 'e'),
        (connection.takes_stale, 'r'),
    ];
    let text: String = flags.iter().filter(|(on, _)| *on).map(|(_, flag)| *flag).collect();
    if text.is_empty() { "N".to_owned() } else { text }
}

fn list(call: &mut Call<'_>) {
    let Some(filter) = client_filter::for_list(call) else { return };
    let now_ms = call.shard.clock.mono_ms;
    let mut lines: Vec<(u64, String)> = call
        .shard
        .clients
        .iter()
        .map(|(_, other)| other)
        .chain([&*call.connection])
        .filter(|other| filter.matches(other, 0))
        .map(|other| (other.id, describe(other, now_ms)))
        .collect();
    lines.sort_unstable();
    let text: String = lines.into_iter().map(|(_, line)| line + "\n").collect();
    call.reply.verbatim(*b"txt", text.as_bytes());
}

fn kill(call: &mut Call<'_>) {
    let Some((filter, is_old_form)) = client_filter::for_kill(call) else { return };
    let own_id = call.connection.id;
    let killed = kill_matching(call.shard, &filter, own_id);
    let kills_itself = filter.matches(call.connection, own_id);
    let total = killed + i64::from(kills_itself);
    match (is_old_form, total) {
        (true, 0) => call.reply.error("ERR No such client"),
        (true, _) => call.reply.ok(),
        (false, total) => call.reply.integer(total),
    }
    if kills_itself {
        call.connection.hold = crate::server::connection::Hold::Closing;
    }
}

fn kill_matching(shard: &mut Shard, filter: &Filter, own_id: u64) -> i64 {
    let mut killed = 0;
    for slot in shard.clients.slots() {
        let Some(other) = shard.clients.get_mut(slot) else { continue };
        if filter.matches(other, own_id) {
            other.broken = true;
            shard.doomed.push(slot);
            killed += 1;
        }
    }
    killed
}

fn pause(call: &mut Call<'_>) {
    let mut writes_only = false;
    if call.args.len() == 4 {
        writes_only = call.is(3, "WRITE");
        if !writes_only && !call.is(3, "ALL") {
            call.reply.error("ERR CLIENT PAUSE mode must be WRITE or ALL");
            return;
        }
    }
    match call.number(2) {
        None => call.reply.error("ERR timeout is not an integer or out of range"),
        Some(timeout) if timeout < 0 => call.reply.error("ERR timeout is negative"),
        Some(timeout) => {
            let until_ms = call.shard.clock.mono_ms.saturating_add(timeout as u64);
            // As in Redis, a second pause never shortens or weakens the first.
            let old = call.shard.pause;
            call.shard.pause = Some(Pause {
                until_ms: old.map_or(until_ms, |old| old.until_ms.max(until_ms)),
                writes_only: writes_only && old.is_none_or(|old| old.writes_only),
            });
            call.reply.ok();
        }
    }
}

fn reply_mode(call: &mut Call<'_>) {
    if call.is(2, "ON") {
        call.connection.reply_mode = ReplyMode::On;
        call.reply.ok();
    } else if call.is(2, "OFF") {
        call.connection.reply_mode = ReplyMode::Off;
    } else if call.is(2, "SKIP") {
        if call.connection.reply_mode != ReplyMode::Off {
            call.connection.reply_mode = ReplyMode::SkipNext;
        }
    } else {
        call.syntax_error();
    }
}

fn durability(call: &mut Call<'_>) {
    let words = [
        ("STRICT", Durability::Strict),
        ("CLASS", Durability::Class),
        ("RELAXED", Durability::Relaxed),
        ("NONE", Durability::None),
    ];
    match words.into_iter().find(|(word, _)| call.is(2, word)) {
        Some((_, durability)) => {
            call.connection.durability = durability;
            call.reply.ok();
        }
        None => call.syntax_error(),
    }
}

fn on_off(call: &mut Call<'_>) -> Option<bool> {
    if call.is(2, "ON") {
        return Some(true);
    }
    if call.is(2, "OFF") {
        return Some(false);
    }
    call.syntax_error();
    None
}

fn tracking(call: &mut Call<'_>) {
    match on_off(call) {
        Some(true) => call.reply.error("ERR CLIENT TRACKING is not available in this version"),
        Some(false) => call.reply.ok(),
        None => {}
    }
}

fn tracking_info(call: &mut Call<'_>) {
    call.reply.map(3);
    call.reply.bulk(b"flags");
    call.reply.set(1);
    call.reply.bulk(b"off");
    call.reply.bulk(b"redirect");
    call.reply.integer(-1);
    call.reply.bulk(b"prefixes");
    call.reply.array(0);
}

fn caching(call: &mut Call<'_>) {
    call.reply.error(
        "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or \
         OPTOUT mode enabled",
    );
}

fn unblock(call: &mut Call<'_>) {
    let how = match call.args.len() {
        4 if call.is(3, "ERROR") => WaitEnd::Unblocked,
        4 if !call.is(3, "TIMEOUT") => {
            let text = "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
            call.reply.error(text);
            return;
        }
        _ => WaitEnd::Timeout,
    };
    match call.number(2) {
        Some(id) => {
            let ended = u64::try_from(id).is_ok_and(|id| call.shard.end_wait(id, how));
            call.reply.integer(i64::from(ended));
        }
        None => call.not_an_integer(),
    }
}
