//! One client: its socket, what it has sent, what it is owed, and what it has asked for.

use std::sync::Arc;

use orrery_resp::{Decoder, Proto, Span};

use super::output::Output;
use super::stream::Stream;
use super::users::{User, Users};
use crate::command_table::CommandSpec;
use crate::machine::Session;

/// How long the writes of a connection are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Durability {
    /// Every reply, reads included, waits until all that precedes it is on disk.
    Strict,
    /// What the class of the key says.
    #[default]
    Class,
    /// Replies leave at once; writes are journalled all the same and may be lost with the machine.
    Relaxed,
    /// Only keys that are never journalled may be written.
    None,
}

/// `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ReplyMode {
    #[default]
    On,
    Off,
    /// This command's reply is dropped; set by `CLIENT REPLY SKIP` for the next one.
    SkipNext,
    Skip,
}

/// Why a connection does not run commands although it has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Hold {
    #[default]
    None,
    /// Its output is above the bound.
    Output,
    /// `CLIENT PAUSE`.
    Pause,
    /// The journal's queue is full.
    Journal,
    /// `SAVE`: the snapshot is being written.
    Save,
    /// `BLPOP` and its family: no list has anything for it.
    Wait,
    /// It answers nothing more and ends as soon as its output is sent.
    Closing,
}

/// A command waiting for `EXEC`.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) spec: &'static CommandSpec,
    bytes: Box<[u8]>,
    spans: Box<[Span]>,
}

impl Queued {
    pub(crate) fn new(spec: &'static CommandSpec, args: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(args.iter().map(|a| a.len()).sum());
        let mut spans = Vec::with_capacity(args.len());
        for arg in args {
            spans.push(Span { start: bytes.len() as u32, len: arg.len() as u32 });
            bytes.extend_from_slice(arg);
        }
        Self { spec, bytes: bytes.into(), spans: spans.into() }
    }

    pub(crate) fn args(&self) -> Vec<&[u8]> {
        self.spans.iter().map(|s| s.of(&self.bytes)).collect()
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.len() + self.spans.len() * size_of::<Span>()
    }
}

/// `MULTI` in progress.
#[derive(Debug, Default)]
pub(crate) struct Multi {
    pub(crate) queued: Vec<Queued>,
    pub(crate) bytes: usize,
    /// A command was refused while queueing: `EXEC` will refuse all.
    pub(crate) aborted: bool,
}

/// What a client said about itself.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) name: String,
    pub(crate) lib_name: String,
    pub(crate) lib_ver: String,
}

/// One client.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a socket")]
pub(crate) struct Connection {
    pub(crate) id: u64,
    /// Its place in the slab.
    pub(crate) slot: usize,
    pub(crate) proto: Proto,
    pub(crate) stream: Stream,
    pub(crate) session: Session,
    pub(crate) decoder: Decoder,
    /// Bytes received and not run yet.
    pub(crate) query: Vec<u8>,
    /// The query buffer must be this long before parsing can get any further.
    pub(crate) query_needs: usize,
    /// A command that could not run when its turn came.
    pub(crate) held: Option<Queued>,
    pub(crate) output: Output,
    pub(crate) multi: Option<Box<Multi>>,
    pub(crate) durability: Durability,
    pub(crate) reply_mode: ReplyMode,
    pub(crate) hold: Hold,
    pub(crate) authenticated: bool,
    /// What it may do depends on the command.
    pub(crate) is_restricted: bool,
    /// It logged in as a follower, and may only be one.
    pub(crate) is_follower: bool,
    user: Arc<User>,
    /// It reads from followers too, which may be behind (`READONLY`).
    pub(crate) takes_stale: bool,
    /// It takes images of unknown length, as replicas of Redis do.
    pub(crate) takes_streams: bool,
    /// The name it gave itself for that.
    pub(crate) follower_name: String,
    /// Where a replica of Redis says that it can be reached.
    pub(crate) announced: Announced,
    /// The socket may have bytes to read.
    pub(crate) readable: bool,
    /// The socket may take bytes.
    pub(crate) writable: bool,
    /// The peer has finished sending.
    pub(crate) read_closed: bool,
    /// It is in the list of connections with something to do.
    pub(crate) is_ready: bool,
    /// It is in the list of connections whose output is flushed at the end of the turn.
    pub(crate) flush_later: bool,
    /// Nothing can be done with the socket any more.
    pub(crate) broken: bool,
    pub(crate) no_evict: bool,
    pub(crate) names: Names,
    pub(crate) address: String,
    pub(crate) local_address: String,
    pub(crate) created_ms: u64,
    pub(crate) active_ms: u64,
    /// When output was last taken by the socket, or began to pile up.
    pub(crate) sent_ms: u64,
    /// Since when the output is above the soft limit.
    pub(crate) soft_since_ms: Option<u64>,
    pub(crate) last_command: Option<&'static CommandSpec>,
    /// Position of the last record that its replies depend on; 0 before the first.
    pub(crate) written: u64,
}

/// Where a replica of Redis can be reached, as far as it says so.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
}

impl Announced {
    /// Address of one that came from `address`.
    pub(crate) fn of(&self, address: &str) -> String {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
        let host = self.host.as_deref().unwrap_or(host);
        self.port.map_or_else(|| format!("{host}:{port}"), |port| format!("{host}:{port}"))
    }
}

impl Connection {
    pub(crate) fn new(
        id: u64,
        slot: usize,
        stream: Stream,
        unix_path: &str,
        users: &Users,
        now_ms: u64,
    ) -> Self {
        let (address, local_address) = stream.addresses(unix_path);
        let mut connection = Self {
            id,
            slot,
            proto: Proto::default(),
            stream,
            session: Session { id, db: 0, may_wait: true },
            decoder: Decoder::default(),
            query: Vec::new(),
            query_needs: 0,
            held: None,
            output: Output::default(),
            multi: None,
            durability: Durability::default(),
            reply_mode: ReplyMode::default(),
            hold: Hold::default(),
            authenticated: false,
            is_restricted: false,
            is_follower: false,
            user: Arc::clone(users.default_user()),
            takes_stale: false,
            takes_streams: false,
            follower_name: String::new(),
            announced: Announced::default(),
            readable: true,
            writable: true,
            read_closed: false,
            is_ready: false,
            flush_later: false,
            broken: false,
            no_evict: false,
            names: Names::default(),
            address,
            local_address,
            created_ms: now_ms,
            active_ms: now_ms,
            sent_ms: now_ms,
            soft_since_ms: None,
            last_command: None,
            written: 0,
        };
        connection.log_out(users);
        connection
    }

    /// Who it is; before it has logged in, `default`.
    pub(crate) fn user(&self) -> &User {
        &self.user
    }

    pub(crate) fn log_in(&mut self, user: &Arc<User>) {
        self.authenticated = true;
        self.is_follower = false;
        self.is_restricted = !user.is_unrestricted();
        self.user = Arc::clone(user);
    }

    /// As it was when it connected.
    pub(crate) fn log_out(&mut self, users: &Users) {
        let user = users.default_user();
        self.log_in(user);
        self.authenticated = user.is_open();
    }

    /// It proved that it is a follower of this group.
    pub(crate) fn log_in_as_follower(&mut self, users: &Users) {
        self.log_in(users.default_user());
        self.is_follower = true;
        self.is_restricted = false;
    }

    /// Takes over what its user may do from now on. False: there is no such user any more.
    pub(crate) fn renew_rights(&mut self, users: &Users) -> bool {
        if self.is_follower {
            return true;
        }
        let Some(user) = users.find(self.user.name().as_bytes()) else { return false };
        self.is_restricted = !user.is_unrestricted();
        self.user = Arc::clone(user);
        true
    }

    /// Ends the connection once everything it is owed is sent.
    pub(crate) fn close_after_output(&mut self) {
        self.hold = Hold::Closing;
        self.query = Vec::new();
    }

    /// Nothing is left to do before the socket is closed.
    pub(crate) fn is_done(&self) -> bool {
        self.broken
            || (self.hold == Hold::Closing && self.output.is_empty() && !self.stream.owes_bytes())
    }

    /// Memory this client holds besides its keys.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.query.capacity()
            + self.decoder.heap_bytes()
            + self.output.heap_bytes()
            + self.multi.as_ref().map_or(0, |m| m.bytes)
    }
}
