//! SAVE, BGSAVE, BGREWRITEAOF and LASTSAVE. All three begin the same snapshot; nothing forks and
//! nothing stops serving, so SAVE too answers when it has begun.

use super::Call;

pub(super) fn save(call: &mut Call<'_>) {
    let name = call.args[0].to_ascii_lowercase();
    if call.shard.snapshots.is_running() {
        let text = if name == b"bgrewriteaof" {
            "ERR Background append only file rewriting already in progress"
        } else {
            "ERR Background save already in progress"
        };
        call.reply.error(text);
        return;
    }
    if let Err(error) = call.shard.begin_snapshot() {
        call.reply.error(format!("ERR failed to begin a snapshot: {error}"));
        return;
    }
    match name.as_slice() {
        b"save" => call.reply.ok(),
        b"bgrewriteaof" => call.reply.simple("Background append only file rewriting started"),
        _ => call.reply.simple("Background saving started"),
    }
}

pub(super) fn last_save(call: &mut Call<'_>) {
    let seconds = call.shard.snapshots.last_success_ms / 1000;
    call.reply.integer(seconds);
}
