//! SAVE, BGSAVE, BGREWRITEAOF and LASTSAVE. All three begin the same snapshot; nothing forks and
//! nothing stops serving. SAVE answers when the snapshot is durable, or with the reason why it is
//! not; its connection waits, the others go on.

use super::Call;
use crate::server::Shard;
use crate::server::connection::{Hold, ReplyMode};

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
        // Who wants no reply has nothing to wait for.
        b"save" if matches!(call.connection.reply_mode, ReplyMode::Off | ReplyMode::Skip) => {}
        b"save" => call.connection.hold = Hold::Save,
        b"bgrewriteaof" => call.reply.simple("Background append only file rewriting started"),
        _ => call.reply.simple("Background saving started"),
    }
}

pub(super) fn last_save(call: &mut Call<'_>) {
    let seconds = call.shard.snapshots.last_success_ms / 1000;
    call.reply.integer(seconds);
}

impl Shard {
    /// Answers everyone who waits for the snapshot that has just ended.
    pub(crate) fn answer_savers(&mut self, result: &Result<(), String>) {
        let reply = match result {
            Ok(()) => "+OK\r\n".to_owned(),
            Err(error) => format!("-ERR failed to write a snapshot: {}\r\n", one_line(error)),
        };
        for slot in self.clients.slots() {
            if self.clients.get_mut(slot).is_none_or(|other| other.hold != Hold::Save) {
                continue;
            }
            let Some(mut connection) = self.clients.take(slot) else { continue };
            if result.is_err() {
                self.stats.error_reply(reply.as_bytes());
            }
            connection.hold = Hold::None;
            connection.output.push(reply.as_bytes());
            self.output_bytes_total += reply.len() as i64;
            self.send(&mut connection);
            self.settle(slot, connection);
        }
    }
}

/// An error as one line of the protocol.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}
