//! AUTH and HELLO: who the client is, and which protocol version it speaks.

use orrery_api::kv::acl::DEFAULT_USER;
use orrery_resp::Proto;
use subtle::ConstantTimeEq;

use super::Call;
use super::client::is_valid_name;
use crate::replication;
use crate::server::users::denied::{Entry, Reason};

/// Clients decide by this version which commands they may send.
pub(crate) const REDIS_VERSION: &str = "7.0.15";

const WRONGPASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &str = "ERR AUTH <password> called without any password configured for the \
    default user. Are you sure your configuration is correct?";
const HELLO_NOAUTH: &str = "NOAUTH HELLO must be called with the client already authenticated, \
    otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client \
    and select the RESP protocol version at the same time";

pub(super) fn auth(call: &mut Call<'_>) {
    let (user, password) = match *call.args {
        [_, _] if call.shard.users.default_user().has_no_password() => {
            call.reply.error(NO_PASSWORD);
            return;
        }
        [_, password] => (DEFAULT_USER.as_bytes(), password),
        [_, user, password] => (user, password),
        _ => {
            call.syntax_error();
            return;
        }
    };
    if log_in(call, user, password) {
        call.reply.ok();
    }
}

/// Checks the credentials; answers with the error when they are wrong.
fn log_in(call: &mut Call<'_>, user: &[u8], password: &[u8]) -> bool {
    if user == replication::USER {
        return log_in_follower(call, password);
    }
    if let Some(known) = call.shard.users.find(user)
        && known.admits(password)
    {
        call.connection.log_in(known);
        return true;
    }
    let entry = Entry::new(Reason::Auth, call.args[0], user);
    let is_in_multi = call.connection.multi.is_some();
    call.shard.note_denied(call.connection, entry, is_in_multi);
    call.reply.error(WRONGPASS);
    false
}

/// Followers prove by the token of their group that they belong to it.
fn log_in_follower(call: &mut Call<'_>, password: &[u8]) -> bool {
    let token = call.shard.group.as_ref().and_then(|group| group.token.as_ref());
    if token.is_some_and(|token| bool::from(password.ct_eq(token.reveal().as_bytes()))) {
        call.connection.log_in_as_follower(&call.shard.users);
        return true;
    }
    call.reply.error(WRONGPASS);
    false
}

pub(super) fn hello(call: &mut Call<'_>) {
    let mut proto = call.connection.proto;
    if call.args.len() > 1 {
        proto = match call.number(1) {
            Some(2) => Proto::Resp2,
            Some(3) => Proto::Resp3,
            Some(_) => {
                call.reply.error("NOPROTO unsupported protocol version");
                return;
            }
            None => {
                call.reply.error("ERR Protocol version is not an integer or out of range");
                return;
            }
        };
    }
    let Some(options) = Options::parse(call) else { return };
    if let Some((user, password)) = options.auth
        && !log_in(call, user, password)
    {
        return;
    }
    if !call.connection.authenticated {
        call.reply.error(HELLO_NOAUTH);
        return;
    }
    if let Some(name) = options.name {
        if !is_valid_name(name) {
            let text = "ERR Client names cannot contain spaces, newlines or special characters.";
            call.reply.error(text);
            return;
        }
        call.connection.names.name = String::from_utf8_lossy(name).into_owned();
    }
    call.connection.proto = proto;
    call.reply.set_proto(proto);
    describe(call, proto);
}

#[derive(Default)]
struct Options<'a> {
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(call: &mut Call<'a>) -> Option<Self> {
        let (mut options, mut at) = (Self::default(), 2);
        while at < call.args.len() {
            let rest = call.args.len() - at - 1;
            if call.is(at, "AUTH") && rest >= 2 {
                options.auth = Some((call.args[at + 1], call.args[at + 2]));
                at += 3;
            } else if call.is(at, "SETNAME") && rest >= 1 {
                options.name = Some(call.args[at + 1]);
                at += 2;
            } else {
                let option = call.text(at);
                call.reply.error(format!("ERR Syntax error in HELLO option '{option}'"));
                return None;
            }
        }
        Some(options)
    }
}

fn describe(call: &mut Call<'_>, proto: Proto) {
    let id = call.connection.id as i64;
    let mode = super::info_sections::mode(call.shard);
    let role = if call.shard.view().link.is_some() { "replica" } else { "master" };
    let reply = &mut *call.reply;
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if proto == Proto::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(id);
    reply.bulk(b"mode");
    reply.bulk(mode.as_bytes());
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"modules");
    reply.array(0);
}
