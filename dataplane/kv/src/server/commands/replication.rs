//! REPLCONF, PSYNC, ROLE and the replication section of INFO.
//!
//! A follower logs in as a user of its own, which may do nothing else. After PSYNC its socket leaves
//! the event loop for threads that send the journal.

use std::net::TcpStream;
use std::sync::Arc;

use super::Call;
use super::info::Text;
use crate::replication::peers::Asked;
use crate::replication::replicas::Wish;
use crate::replication::socket::Socket;
use crate::replication::wire::{self, CAPABILITY};
use crate::server::confirmations::Awaited;
use crate::server::connection::Hold;
use crate::server::group::Role;
use crate::server::stream::Stream;

/// Longest name a follower may give itself.
const NAME_BYTES_MAX: usize = 253;

const NO_PERMISSION: &str = "NOPERM only followers of this group may replicate";

/// Whether the connection may replicate: it logged in for that, or nobody needs to because the engine
/// has no token and the peer is on this machine.
fn is_permitted(call: &Call<'_>) -> bool {
    let Some(group) = &call.shard.group else { return false };
    call.connection.is_follower
        || (group.token.is_none() && call.connection.stream.is_from_loopback())
}

/// Whether the connection may get all keys: a client that has logged in may read them anyway.
fn is_client(call: &Call<'_>) -> bool {
    call.connection.authenticated && !call.connection.is_follower
}

pub(super) fn replconf(call: &mut Call<'_>) {
    if !is_permitted(call) && !is_client(call) {
        call.reply.error(NO_PERMISSION);
        return;
    }
    if call.args.len().is_multiple_of(2) {
        call.syntax_error();
        return;
    }
    for at in (1..call.args.len()).step_by(2) {
        if call.is(at, "name") {
            let name = call.args[at + 1];
            let is_plain = name.iter().all(u8::is_ascii_graphic);
            if name.len() > NAME_BYTES_MAX || !is_plain {
                call.reply.error("ERR that is no name of a follower");
                return;
            }
            call.connection.follower_name = call.text(at + 1);
        } else if call.is(at, "capa") {
            call.connection.takes_streams |= call.is(at + 1, "eof");
        } else if call.is(at, "listening-port") {
            let Some(port) = call.number(at + 1).and_then(|port| u16::try_from(port).ok()) else {
                call.not_an_integer();
                return;
            };
            // One that has no port says 0.
            call.connection.announced.port = Some(port).filter(|port| *port > 0);
        } else if call.is(at, "ip-address") {
            let host = call.args[at + 1];
            if host.len() > NAME_BYTES_MAX || !host.iter().all(u8::is_ascii_graphic) {
                call.reply.error("ERR that is no address of a replica");
                return;
            }
            call.connection.announced.host = Some(call.text(at + 1));
        } else {
            let option = call.text(at);
            call.reply.error(format!("ERR Unrecognized REPLCONF option: {option}"));
            return;
        }
    }
    call.reply.ok();
}

pub(super) fn psync(call: &mut Call<'_>) {
    if !call.args[1].starts_with(CAPABILITY.as_bytes()) && is_client(call) {
        serve_replica(call);
        return;
    }
    if !is_permitted(call) {
        call.reply.error(NO_PERMISSION);
        return;
    }
    let Some((wanted, epoch, shard)) = wire::parse_history(&call.text(1)) else {
        call.reply.error(format!("ERR only followers that speak {CAPABILITY} are served"));
        return;
    };
    if shard != call.shard.id {
        // Before anything is made of its epochs, which are those of another primary.
        let own = call.shard.id;
        call.reply.error(format!("NOTPRIMARY this is shard {own}, not {shard}"));
        return;
    }
    let Some(position) = call.number(2).and_then(|number| u64::try_from(number).ok()) else {
        call.not_an_integer();
        return;
    };
    let Some(group) = &call.shard.group else { return };
    let promoted = group.grants.held().promoted;
    if wanted > promoted {
        // Somebody granted a later epoch, to another process or to this one in a moment.
        if group.role == Role::Primary {
            call.shard.hear_of(wanted);
        }
        call.reply.error(format!("NOTPRIMARY this pod has epoch {promoted}, not {wanted}"));
        return;
    }
    if !matches!(group.role, Role::Primary | Role::Fenced) {
        call.reply.error("NOTPRIMARY this pod is no primary");
        return;
    }
    let asked = Asked {
        name: call.connection.follower_name.clone(),
        address: call.connection.address.clone(),
        position,
        epoch,
    };
    let (log, group) = (&call.shard.log, &call.shard.group);
    let (history, feed) = (log.history().clone(), log.journal().feed());
    let Some(peers) = group.as_ref().map(|group| Arc::clone(group.peers())) else { return };
    hand_over(call, |socket| peers.welcome(socket, asked, feed, history));
}

pub(super) fn wait(call: &mut Call<'_>) {
    let is_primary = call.shard.group.as_ref().is_none_or(|group| group.role == Role::Primary);
    if !is_primary || call.shard.adoption.is_some() {
        call.reply.error(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 \
             if a replica is configured to be writable (which is not the default) writes to \
             replicas are just local and are not propagated.",
        );
        return;
    }
    let Some(followers) = call.number(1) else { return call.not_an_integer() };
    let Some(timeout) = call.number(2) else {
        call.reply.error("ERR timeout is not an integer or out of range");
        return;
    };
    let Ok(timeout_ms) = u64::try_from(timeout) else {
        call.reply.error("ERR timeout is negative");
        return;
    };
    let position = call.connection.written;
    let confirmed = call.shard.confirmations().of(position);
    if confirmed >= followers || !call.connection.session.may_wait {
        call.reply.integer(confirmed);
        return;
    }
    call.shard.waiting.asked = Some((Awaited { position, followers }, timeout_ms));
}

/// A replica that speaks the field's own protocol gets everything, or what it missed.
fn serve_replica(call: &mut Call<'_>) {
    let role = call.shard.group.as_ref().map(|group| group.role);
    if role.is_some_and(|role| role != Role::Primary) {
        call.reply.error("NOMASTERLINK this pod is no primary");
        return;
    }
    if !call.connection.takes_streams {
        call.reply.error("ERR replicas must announce REPLCONF capa eof");
        return;
    }
    // It names the next byte it wants, the first of a stream being 1.
    let next = call.number(2).and_then(|next| u64::try_from(next).ok());
    let wish = next.and_then(|next| next.checked_sub(1)).filter(|_| !call.is(1, "?"));
    let wish = wish.map(|executed| Wish { id: call.text(1), executed });
    let replicas = Arc::clone(&call.shard.replicas);
    let address = call.connection.announced.of(&call.connection.address);
    let (feed, waker) = (call.shard.log.journal().feed(), Arc::clone(&call.shard.waker));
    hand_over(call, |socket| replicas.welcome(socket, address, wish, feed, waker));
}

/// Takes the socket out of the event loop and gives it away.
fn hand_over(call: &mut Call<'_>, give: impl FnOnce(Socket) -> std::io::Result<()>) {
    match take_socket(call).and_then(give) {
        Ok(()) => {
            // The socket lives on elsewhere: here it is closed without a word.
            call.connection.hold = Hold::Closing;
            call.connection.broken = true;
        }
        Err(error) => call.reply.error(format!("ERR failed to serve the follower: {error}")),
    }
}

fn take_socket(call: &mut Call<'_>) -> std::io::Result<Socket> {
    let registry = call.shard.poll.registry();
    // Both descriptors name one socket: the loop would go on hearing of it.
    match &mut call.connection.stream {
        Stream::Tcp(stream) => {
            let socket = socket2::SockRef::from(&*stream).try_clone()?;
            mio::event::Source::deregister(stream, registry)?;
            Ok(Socket::plain(TcpStream::from(socket)))
        }
        Stream::Tls(stream) => {
            let socket = socket2::SockRef::from(stream.socket()).try_clone()?;
            mio::event::Source::deregister(stream.socket_mut(), registry)?;
            let session = stream.take_session();
            let session = session.ok_or_else(|| std::io::Error::other("it is not connected"))?;
            Ok(Socket::accepted(TcpStream::from(socket), session))
        }
        Stream::Unix(_) => Err(std::io::Error::other("followers come by TCP")),
    }
}

pub(super) fn role(call: &mut Call<'_>) {
    let view = call.shard.view();
    let Some(link) = view.link else {
        let position = call.shard.durable;
        let followers = call.shard.shown_followers();
        call.reply.array(3);
        call.reply.bulk(b"master");
        call.reply.integer(position as i64);
        call.reply.array(followers.len());
        for follower in followers {
            let (host, port) = split(&follower.address);
            call.reply.array(3);
            call.reply.bulk(host.as_bytes());
            call.reply.bulk(port.as_bytes());
            call.reply.bulk(follower.position.to_string().as_bytes());
        }
        return;
    };
    let (host, port) = split(&link.address);
    let state = match (link.up, link.copy_percent) {
        (false, _) => "connect",
        (true, 100) => "connected",
        (true, _) => "sync",
    };
    let position = call.shard.log.appended();
    call.reply.array(5);
    call.reply.bulk(b"slave");
    call.reply.bulk(host.as_bytes());
    call.reply.integer(port.parse().unwrap_or(0));
    call.reply.bulk(state.as_bytes());
    call.reply.integer(position as i64);
}

fn split(address: &str) -> (&str, &str) {
    address.rsplit_once(':').unwrap_or((address, "0"))
}

pub(super) fn info(call: &Call<'_>, text: &mut Text) {
    let shard = &*call.shard;
    let view = shard.view();
    text.title("Replication");
    match &view.link {
        None => text.field("role", "master"),
        Some(link) => {
            let (host, port) = split(&link.address);
            text.field("role", "slave");
            text.field("master_host", host);
            text.field("master_port", port);
            text.field("master_link_status", if link.up { "up" } else { "down" });
            text.field("master_last_io_seconds_ago", link.silent_milliseconds / 1000);
            text.field("master_sync_in_progress", i32::from(link.up && link.copy_percent < 100));
            text.field("slave_read_repl_offset", shard.log.appended());
            text.field("slave_repl_offset", shard.log.appended());
            text.field("slave_read_only", 1);
            text.field("slave_lag_records", shard.lag_records());
        }
    }
    let followers = shard.shown_followers();
    text.field("connected_slaves", followers.len());
    for (number, follower) in followers.iter().enumerate() {
        let (host, port) = split(&follower.address);
        let state = if follower.is_in_sync { "online" } else { "wait_bgsave" };
        let offset = follower.position;
        text.field(
            format_args!("slave{number}"),
            format_args!("ip={host},port={port},state={state},offset={offset},lag=0"),
        );
    }
    text.field("master_failover_state", "no-failover");
    text.field("master_replid", &shard.run_id);
    text.field("master_replid2", "0".repeat(40));
    text.field("master_repl_offset", shard.durable);
    text.field("second_repl_offset", -1);
    text.field("repl_backlog_active", 0);
    text.field("repl_backlog_size", 0);
    text.field("repl_backlog_first_byte_offset", 0);
    text.field("repl_backlog_histlen", 0);
    text.field("orrery_epoch", view.epoch);
    text.field("orrery_known_epoch", view.known_epoch);
    text.field("orrery_writable", i32::from(shard.accepts_writes()));
    text.field("orrery_discarded_records", view.discarded);
}
