//! CONFIG GET, SET, RESETSTAT, REWRITE and HELP.

use super::{Call, help};
use crate::commands::glob;

pub(super) fn run(call: &mut Call<'_>, name: &str) {
    match name {
        "config|get" => get(call),
        "config|set" => set(call),
        "config|resetstat" => {
            call.shard.stats.reset();
            call.shard.replicas.reset_syncs();
            call.reply.ok();
        }
        "config|rewrite" => call.reply.error("ERR The server is running without a config file"),
        _ => help::write(call.reply, "CONFIG", help::CONFIG),
    }
}

fn get(call: &mut Call<'_>) {
    let patterns: Vec<Vec<u8>> = call.args[2..].iter().map(|p| p.to_ascii_lowercase()).collect();
    let deferred = call.reply.defer();
    let mut pairs = 0;
    let matches = |name: &str| {
        let name = name.as_bytes();
        // Suites read this one; nobody else should see it.
        let is_hidden = name == b"key-load-delay";
        patterns.iter().any(|p| p == name || (!is_hidden && glob::matches(p, name)))
    };
    for (name, value) in call.shard.settings.matching(matches) {
        call.reply.bulk(name.as_bytes());
        call.reply.bulk(value.as_bytes());
        pairs += 1;
    }
    call.reply.finish_map(deferred, pairs);
}

fn set(call: &mut Call<'_>) {
    if !call.args.len().is_multiple_of(2) {
        call.syntax_error();
        return;
    }
    let pairs: Vec<(String, String)> =
        (2..call.args.len()).step_by(2).map(|at| (call.text(at), call.text(at + 1))).collect();
    match call.shard.settings.set(&pairs) {
        Ok(()) => {
            call.shard.apply_settings();
            let password = pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case("requirepass"));
            if let Some((_, text)) = password {
                let password = Some(text.as_str()).filter(|text| !text.is_empty());
                let mut users = call.shard.users.clone();
                users.set_password(password);
                call.shard.take_users(users, Some(call.connection));
                let shown = if text.is_empty() { "" } else { "(secret)" };
                call.shard.settings.put("requirepass", shown);
            }
            call.reply.ok();
        }
        Err(error) => call.reply.error(error.to_string()),
    }
}
