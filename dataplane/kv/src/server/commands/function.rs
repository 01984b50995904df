//! FUNCTION of a server that has no libraries. What can be said without a script engine is said
//! truly (there is nothing to list, flush or kill); what needs one is refused by name.

use super::{Call, help};

/// Commands a server without libraries cannot carry out.
const NO_ENGINE: &str = "ERR scripting is not available in this version";

pub(super) fn function(call: &mut Call<'_>) {
    let sub = call.args[1].to_ascii_lowercase();
    match (sub.as_slice(), call.args.len()) {
        (b"flush", 2) => call.reply.ok(),
        (b"flush", 3) if call.is(2, "ASYNC") || call.is(2, "SYNC") => call.reply.ok(),
        (b"flush", 3) => {
            call.reply.error("ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
        }
        (b"list", 2..) => call.reply.array(0),
        (b"delete", 3) => call.reply.error("ERR Library not found"),
        (b"kill", 2) => call.reply.error("NOTBUSY No scripts in execution right now."),
        (b"help", 2) => help::write(call.reply, "FUNCTION", help::FUNCTION),
        (b"load" | b"dump" | b"restore" | b"stats", _) => call.reply.error(NO_ENGINE),
        (b"flush" | b"delete" | b"kill" | b"help", _) => {
            let sub = String::from_utf8_lossy(&sub).into_owned();
            call.reply.error(format!("ERR wrong number of arguments for 'function|{sub}' command"));
        }
        _ => {
            let sub = call.text(1);
            call.reply.error(format!("ERR unknown subcommand '{sub}'. Try FUNCTION HELP."));
        }
    }
}
