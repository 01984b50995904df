//! From a parsed command to its reply: may it run now, who runs it, what must its reply wait for.
//!
//! The order of checks is that of `processCommand` in Redis 7.0, because clients see which of two
//! errors they get.

use std::fmt::Write as _;
use std::time::Instant;

use orrery_resp::Reply;

use super::Shard;
use super::commands;
use super::connection::{Connection, Durability, Hold, Multi, Queued, ReplyMode};
use super::limits::{MULTI_BYTES_MAX, RECORD_BYTES, SNAPSHOT_BACKLOG_BYTES};
use super::redirect::refuse_database;
use crate::command_table::{self, CommandSpec, Flags, Lookup};
use crate::commands::fail::OUT_OF_MEMORY;

/// How much of a client's text is repeated in an error.
const QUOTE_BYTES: usize = 128;

impl Shard {
    /// Finds the command and checks everything that can be said before running it. `None`: it was
    /// refused and answered.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        connection: &mut Connection,
        args: &[&[u8]],
        reply: &mut Reply,
    ) -> Option<&'static CommandSpec> {
        let spec = match command_table::lookup(args) {
            Lookup::Found(spec) => spec,
            other => {
                let Some(spec) = commands::extra::lookup(args) else {
                    self.refuse_lookup(connection, args, &other, reply);
                    return None;
                };
                spec
            }
        };
        if !spec.arity_matches(args.len()) {
            let text = format!("ERR wrong number of arguments for '{}' command", spec.full_name);
            self.reject(connection, Some(spec), reply, &text);
            return None;
        }
        if !connection.authenticated && !spec.is_allowed_before_auth() {
            self.reject(connection, Some(spec), reply, "NOAUTH Authentication required.");
            return None;
        }
        if connection.is_restricted
            && let Some(error) = self.denied(connection, spec, args)
        {
            self.reject(connection, Some(spec), reply, &error);
            return None;
        }
        if self.cluster.is_some() && self.turn_away(connection, spec, args, reply) {
            return None;
        }
        if self.machine.is_memory_limited() && self.is_refused_for_memory(connection, spec) {
            self.reject(connection, Some(spec), reply, &OUT_OF_MEMORY.0);
            return None;
        }
        if (connection.is_follower || self.bar.is_set())
            && let Some(error) = self.barred(connection, spec)
        {
            self.reject(connection, Some(spec), reply, error);
            return None;
        }
        if spec.is_write()
            && let Some(error) = self.refuse_writes()
        {
            let error = error.to_owned();
            self.reject(connection, Some(spec), reply, &error);
            return None;
        }
        if connection.durability == Durability::None && self.would_journal(connection, spec, args) {
            let text = "DURABILITY this connection may only write keys that are not journalled";
            self.reject(connection, Some(spec), reply, text);
            return None;
        }
        Some(spec)
    }

    /// Whether `maxmemory` is reached and the command, or the transaction it adds to or ends, would
    /// take more.
    fn is_refused_for_memory(
        &mut self,
        connection: &Connection,
        spec: &'static CommandSpec,
    ) -> bool {
        let denies = |spec: &CommandSpec| spec.flags.contains(Flags::DENYOOM);
        let would_grow = match &connection.multi {
            Some(multi) if spec.name == "exec" => multi.queued.iter().any(|q| denies(q.spec)),
            Some(_) if spec.runs_inside_multi() => false,
            // Queueing takes memory, whatever is queued.
            Some(_) => true,
            None => denies(spec),
        };
        would_grow && !self.machine.has_room()
    }

    /// Whether a command writes keys of a journalled class. One without keys may write any.
    fn would_journal(
        &self,
        connection: &Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> bool {
        let positions = spec.key_positions(args);
        let is_durable =
            |at: &usize| self.machine.class_of(connection.session.db, args[*at]).is_durable();
        spec.is_write() && (positions.is_empty() || positions.iter().any(is_durable))
    }

    /// Why no write is accepted now, as an error reply.
    pub(crate) fn refuse_writes(&self) -> Option<&str> {
        if self.bar.is_set() {
            Some(self.bar.text())
        } else if self.log.is_writable() {
            None
        } else {
            Some(self.log.refusal())
        }
    }

    /// Whether keys may be changed now.
    pub(crate) fn accepts_writes(&self) -> bool {
        !self.bar.is_set() && self.log.is_writable()
    }

    fn refuse_lookup(
        &mut self,
        connection: &mut Connection,
        args: &[&[u8]],
        lookup: &Lookup,
        reply: &mut Reply,
    ) {
        let quote = |arg: &[u8], len: usize| {
            let arg = arg.split(|b| *b == 0).next().unwrap_or_default();
            String::from_utf8_lossy(&arg[..arg.len().min(len)]).into_owned()
        };
        let text = if let Lookup::UnknownSubcommand(container) = lookup {
            let name = container.name.to_uppercase();
            let sub = quote(args[1], QUOTE_BYTES);
            format!("ERR unknown subcommand '{sub}'. Try {name} HELP.")
        } else {
            let mut shown = String::new();
            for arg in &args[1..] {
                if shown.len() >= QUOTE_BYTES {
                    break;
                }
                // Writing to a string cannot fail.
                let _ = write!(shown, "'{}' ", quote(arg, QUOTE_BYTES - shown.len()));
            }
            let name = quote(args[0], QUOTE_BYTES);
            format!("ERR unknown command '{name}', with args beginning with: {shown}")
        };
        self.reject(connection, None, reply, &text);
    }

    /// Answers with an error instead of running; a transaction being queued is spoiled by it.
    pub(crate) fn reject(
        &mut self,
        connection: &mut Connection,
        spec: Option<&'static CommandSpec>,
        reply: &mut Reply,
        text: &str,
    ) {
        if let Some(multi) = &mut connection.multi {
            multi.aborted = true;
        }
        let start = reply.len();
        if spec.is_some_and(|spec| spec.name == "exec") && connection.multi.take().is_some() {
            self.machine.unwatch(&connection.session);
            reply.error(format!("EXECABORT Transaction discarded because of: {text}"));
        } else {
            reply.error(text);
        }
        self.stats.error_reply(&reply.as_bytes()[start..]);
        if let Some(spec) = spec {
            self.stats.commands[spec.index].rejected += 1;
        }
        self.finish_reply(connection, start, 0, reply);
    }

    /// Runs an admitted command, or queues it, or holds it back.
    #[inline]
    pub(crate) fn run_one(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        reply: &mut Reply,
    ) {
        if self.pause.is_some() && self.pause_holds(connection, spec) {
            self.hold(connection, Hold::Pause, spec, args);
            return;
        }
        if self.log.is_stalled() || (self.is_snapshot_behind() && may_change(connection, spec)) {
            self.hold(connection, Hold::Journal, spec, args);
            return;
        }
        connection.last_command = Some(spec);
        if connection.multi.is_some() && !spec.runs_inside_multi() {
            self.queue(connection, spec, args, reply);
            return;
        }
        let start = reply.len();
        let gate = self.call(connection, spec, args, reply);
        if spec.flags.contains(Flags::BLOCKING)
            && let Some(timeout_ms) = self.machine.take_wait()
        {
            self.begin_wait(connection, timeout_ms);
            return;
        }
        if spec.is_server() && self.begin_wait_for_followers(connection) {
            return;
        }
        self.finish_reply(connection, start, gate, reply);
        if self.machine.has_ready() {
            self.serve_waiting();
        }
        if self.machine.effects().len() >= RECORD_BYTES {
            self.append_effects();
        }
    }

    /// A running snapshot has so much put aside that it must be taken before anything more is.
    #[inline]
    pub(crate) fn is_snapshot_behind(&self) -> bool {
        self.machine.snapshot_backlog_bytes() > SNAPSHOT_BACKLOG_BYTES
    }

    /// Calls the command and counts it; returns the position its reply waits for.
    #[inline]
    pub(crate) fn call(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        reply: &mut Reply,
    ) -> u64 {
        let start = reply.len();
        self.stats.commands_processed += 1;
        let began = self.stats.commands[spec.index].is_timed().then(Instant::now);
        let gate = if spec.is_server() {
            commands::run(self, connection, spec, args, reply)
        } else if self.cluster.is_some()
            && let Some(error) = refuse_database(spec, args)
        {
            reply.error(error);
            0
        } else {
            self.machine.execute(&mut connection.session, spec, args, reply).gate
        };
        let stats = &mut self.stats.commands[spec.index];
        stats.calls += 1;
        if let Some(began) = began {
            stats.time(began.elapsed());
        }
        if reply.as_bytes().get(start) == Some(&b'-') {
            stats.failed += 1;
            self.stats.error_reply(&reply.as_bytes()[start..]);
        }
        gate
    }

    fn queue(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        reply: &mut Reply,
    ) {
        if spec.is_forbidden_in_multi() {
            let text = "ERR Command not allowed inside a transaction";
            self.reject(connection, Some(spec), reply, text);
            return;
        }
        let queued = Queued::new(spec, args);
        let multi = connection.multi.get_or_insert_with(Box::<Multi>::default);
        multi.bytes += queued.heap_bytes();
        if multi.bytes > MULTI_BYTES_MAX {
            multi.queued = vec![];
            multi.bytes = 0;
            let text = "ERR the transaction holds more than can be queued";
            self.reject(connection, Some(spec), reply, text);
            return;
        }
        if !multi.aborted {
            multi.queued.push(queued);
        }
        let start = reply.len();
        reply.simple("QUEUED");
        self.finish_reply(connection, start, 0, reply);
    }

    fn hold(
        &mut self,
        connection: &mut Connection,
        hold: Hold,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) {
        connection.held = Some(Queued::new(spec, args));
        connection.hold = hold;
        self.held.push(connection.slot);
    }

    /// Applies `CLIENT REPLY` and `CLIENT DURABILITY` to the reply that begins at `start`.
    #[inline]
    pub(crate) fn finish_reply(
        &mut self,
        connection: &mut Connection,
        start: usize,
        gate: u64,
        reply: &mut Reply,
    ) {
        connection.written = connection.written.max(gate);
        match connection.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off => reply.truncate(start),
            ReplyMode::Skip => {
                connection.reply_mode = ReplyMode::On;
                reply.truncate(start);
            }
            ReplyMode::SkipNext => connection.reply_mode = ReplyMode::Skip,
        }
        if reply.len() == start {
            return;
        }
        let gate = match connection.durability {
            Durability::Class | Durability::None => gate,
            Durability::Strict => gate.max(self.log.last_position_with(self.machine.effects())),
            Durability::Relaxed => {
                // Its reply leaves at once, but not before the journal has taken the effects.
                connection.flush_later |= gate > 0;
                0
            }
        };
        if gate > self.durable {
            self.stats.gated_replies += 1;
            connection.output.gate(start, gate);
        }
    }
}

/// Whether running it now may change keys; what is only queued does not.
fn may_change(connection: &Connection, spec: &CommandSpec) -> bool {
    if connection.multi.is_some() { spec.name == "exec" } else { spec.is_write() }
}
