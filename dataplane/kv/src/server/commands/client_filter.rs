//! The filters of CLIENT LIST and CLIENT KILL.

use super::{Call, parse_i64};
use crate::server::connection::Connection;

/// Which connections are meant; a field that is not set means all.
#[derive(Debug, Default)]
pub(super) struct Filter {
    ids: Option<Vec<u64>>,
    address: Option<String>,
    local_address: Option<String>,
    user: Option<String>,
    /// No connection has the asked type: only normal clients exist in this version.
    no_such_type: bool,
    skips_caller: bool,
}

impl Filter {
    pub(super) fn matches(&self, connection: &Connection, caller_id: u64) -> bool {
        !self.no_such_type
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&connection.id))
            && self.address.as_ref().is_none_or(|a| *a == connection.address)
            && self.local_address.as_ref().is_none_or(|a| *a == connection.local_address)
            && self.user.as_ref().is_none_or(|user| *user == connection.user().name())
            && !(self.skips_caller && connection.id == caller_id)
    }

    fn set_type(&mut self, call: &mut Call<'_>, at: usize) -> bool {
        let is_known = ["normal", "master", "replica", "slave", "pubsub"]
            .into_iter()
            .find(|name| call.is(at, name));
        if let Some(name) = is_known {
            self.no_such_type |= name != "normal";
        } else {
            let name = call.text(at);
            call.reply.error(format!("ERR Unknown client type '{name}'"));
        }
        is_known.is_some()
    }
}

/// `CLIENT LIST [TYPE type] [ID id ...]`; `None`: refused and answered.
pub(super) fn for_list(call: &mut Call<'_>) -> Option<Filter> {
    let mut filter = Filter::default();
    if call.args.len() == 2 {
        return Some(filter);
    }
    if call.args.len() == 4 && call.is(2, "TYPE") {
        return filter.set_type(call, 3).then_some(filter);
    }
    if call.args.len() > 3 && call.is(2, "ID") {
        let ids: Option<Vec<u64>> = call.args[3..]
            .iter()
            .map(|id| parse_i64(id).and_then(|id| u64::try_from(id).ok()))
            .collect();
        if ids.is_none() {
            call.reply.error("ERR Invalid client ID");
            return None;
        }
        filter.ids = ids;
        return Some(filter);
    }
    call.syntax_error();
    None
}

/// Both forms of `CLIENT KILL`; the flag says that it was the old one.
pub(super) fn for_kill(call: &mut Call<'_>) -> Option<(Filter, bool)> {
    if call.args.len() == 3 {
        let filter = Filter { address: Some(call.text(2)), ..Filter::default() };
        return Some((filter, true));
    }
    let mut filter = Filter { skips_caller: true, ..Filter::default() };
    for at in (2..call.args.len()).step_by(2) {
        if at + 1 >= call.args.len() {
            call.syntax_error();
            return None;
        }
        if call.is(at, "ID") {
            match call.number(at + 1) {
                Some(id) if id > 0 => filter.ids = Some(vec![id as u64]),
                _ => {
                    call.reply.error("ERR client-id should be greater than 0");
                    return None;
                }
            }
        } else if call.is(at, "TYPE") {
            if !filter.set_type(call, at + 1) {
                return None;
            }
        } else if call.is(at, "ADDR") {
            filter.address = Some(call.text(at + 1));
        } else if call.is(at, "LADDR") {
            filter.local_address = Some(call.text(at + 1));
        } else if call.is(at, "USER") {
            let user = call.text(at + 1);
            if call.shard.users.find(call.args[at + 1]).is_none() {
                call.reply.error(format!("ERR No such user '{user}'"));
                return None;
            }
            filter.user = Some(user);
        } else if call.is(at, "SKIPME") && (call.is(at + 1, "YES") || call.is(at + 1, "NO")) {
            filter.skips_caller = call.is(at + 1, "YES");
        } else {
            call.syntax_error();
            return None;
        }
    }
    Some((filter, false))
}
