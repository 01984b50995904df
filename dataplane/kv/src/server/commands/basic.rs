//! PING, SELECT, QUIT, RESET, TIME and the harmless part of DEBUG.

use std::time::Duration;

use orrery_resp::Proto;

use super::Call;
use crate::server::connection::{Durability, Hold, Names, ReplyMode};

/// Longest `DEBUG SLEEP`: it stops the shard, which is its purpose.
const SLEEP_SECONDS_MAX: f64 = 60.0;

pub(super) fn ping(call: &mut Call<'_>) {
    match *call.args {
        [_] => call.reply.simple("PONG"),
        [_, message] => call.reply.bulk(message),
        _ => call.reply.error("ERR wrong number of arguments for 'ping' command"),
    }
}

pub(super) fn select(call: &mut Call<'_>) {
    let Some(db) = call.number(1).filter(|n| i32::try_from(*n).is_ok()) else {
        call.not_an_integer();
        return;
    };
    if db < 0 || db >= i64::from(call.shard.databases) {
        call.reply.error("ERR DB index is out of range");
        return;
    }
    if db != 0 && call.shard.cluster.is_some() {
        call.reply.error("ERR SELECT is not allowed in cluster mode");
        return;
    }
    call.connection.session.db = db as u16;
    call.reply.ok();
}

pub(super) fn quit(call: &mut Call<'_>) {
    call.reply.ok();
    call.connection.hold = Hold::Closing;
}

pub(super) fn reset(call: &mut Call<'_>) {
    let connection = &mut *call.connection;
    connection.multi = None;
    call.shard.machine.unwatch(&connection.session);
    connection.session.db = 0;
    connection.proto = Proto::Resp2;
    connection.names = Names::default();
    connection.reply_mode = ReplyMode::On;
    connection.durability = Durability::default();
    connection.no_evict = false;
    connection.takes_stale = false;
    connection.log_out(&call.shard.users);
    call.reply.set_proto(Proto::Resp2);
    call.reply.simple("RESET");
}

pub(super) fn time(call: &mut Call<'_>) {
    let wall_us = call.shard.clock.read_wall_us();
    call.reply.array(2);
    call.reply.bulk_integer(wall_us / 1_000_000);
    call.reply.bulk_integer(wall_us % 1_000_000);
}

pub(super) fn debug(call: &mut Call<'_>) {
    if !call.shard.debug_enabled {
        call.reply.error(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \
             \"local\", you can run it from a local connection, otherwise you need to set this \
             option in the configuration file, and then restart the server.",
        );
        return;
    }
    if call.is(1, "SLEEP") && call.args.len() == 3 {
        let seconds: f64 = call.text(2).parse().unwrap_or(0.0);
        let seconds = if seconds.is_finite() { seconds.clamp(0.0, SLEEP_SECONDS_MAX) } else { 0.0 };
        std::thread::sleep(Duration::from_secs_f64(seconds));
        call.reply.ok();
    } else if call.is(1, "SET-ACTIVE-EXPIRE") && call.args.len() == 3 {
        call.shard.active_expire = !call.is(2, "0");
        call.reply.ok();
    } else {
        let name = call.text(1);
        call.reply.error(format!(
            "ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP."
        ));
    }
}
