//! MULTI, EXEC, DISCARD, WATCH and UNWATCH.

use super::Call;
use crate::server::connection::Multi;

pub(super) fn multi(call: &mut Call<'_>) {
    if call.connection.multi.is_some() {
        call.reply.error("ERR MULTI calls can not be nested");
        return;
    }
    call.connection.multi = Some(Box::<Multi>::default());
    call.reply.ok();
}

pub(super) fn discard(call: &mut Call<'_>) {
    if call.connection.multi.take().is_none() {
        call.reply.error("ERR DISCARD without MULTI");
        return;
    }
    call.shard.machine.unwatch(&call.connection.session);
    call.reply.ok();
}

/// The strictest command decides when the whole reply may leave; its effects are one record.
pub(super) fn exec(call: &mut Call<'_>) -> u64 {
    let Some(multi) = call.connection.multi.take() else {
        call.reply.error("ERR EXEC without MULTI");
        return 0;
    };
    let session = &call.connection.session;
    let watched_changed = call.shard.machine.is_dirty(session);
    call.shard.machine.unwatch(session);
    if multi.aborted {
        call.reply.error("EXECABORT Transaction discarded because of previous errors.");
        return 0;
    }
    if watched_changed {
        call.reply.null_array();
        return 0;
    }
    let has_write = multi.queued.iter().any(|queued| queued.spec.is_write());
    if has_write && let Some(error) = call.shard.refuse_writes() {
        let why = error.split_once(' ').map_or(error, |_| error).to_owned();
        call.reply.error(format!("EXECABORT Transaction discarded because of: {why}"));
        return 0;
    }
    let mut gate = 0;
    call.reply.array(multi.queued.len());
    // Nothing may wait in the middle of a transaction.
    call.connection.session.may_wait = false;
    for queued in &multi.queued {
        let args = queued.args();
        if let Some(why) = call.shard.denied_at_exec(call.connection, queued.spec, &args) {
            call.reply.error(why);
            continue;
        }
        gate = gate.max(call.shard.call(call.connection, queued.spec, &args, call.reply));
    }
    call.connection.session.may_wait = true;
    gate
}

pub(super) fn watch(call: &mut Call<'_>) -> u64 {
    if call.connection.multi.is_some() {
        call.reply.error("ERR WATCH inside MULTI is not allowed");
        return 0;
    }
    for key in &call.args[1..] {
        call.shard.machine.watch(&call.connection.session, key);
    }
    call.reply.ok();
    0
}

pub(super) fn unwatch(call: &mut Call<'_>) {
    call.shard.machine.unwatch(&call.connection.session);
    call.reply.ok();
}
