//! A connection's part of a turn: read, parse, run, send.

use std::io::{self, Read as _, Write as _};

use orrery_resp::{Decoder, Parsed, Reply, Span};

use super::Shard;
use super::batch::{BATCH_COMMANDS, Batch};
use super::connection::{Connection, Hold, Queued};
use super::limits::{
    COMMANDS_PER_TURN, OUTPUT_PAUSE_BYTES, OUTPUT_PAUSE_BYTES_TIGHT, OUTPUT_TOTAL_BYTES,
    READ_BYTES, SPARE_BUFFER_BYTES, SPARE_BUFFERS,
};

/// Longer keys are not hashed twice for the sake of a hint.
const PREFETCH_KEY_BYTES_MAX: u32 = 256;

/// Arguments of one command; more than this many go to the heap.
pub(crate) type Args<'a> = smallvec::SmallVec<[&'a [u8]; 16]>;

impl Shard {
    /// Gives the connection in `slot` its turn.
    pub(crate) fn serve(&mut self, slot: usize) {
        let Some(mut connection) = self.clients.take(slot) else { return };
        if connection.stream.is_handshaking() {
            if self.handshakes_left == 0 {
                self.ready.push_back(slot);
                self.clients.put_back(slot, connection);
                return;
            }
            self.handshakes_left -= 1;
        }
        connection.is_ready = false;
        self.run(&mut connection);
        self.settle(slot, connection);
    }

    /// Puts a connection back, or closes it when nothing is left to do.
    pub(crate) fn settle(&mut self, slot: usize, mut connection: Box<Connection>) {
        if connection.is_done() {
            // What it did not take is owed to nobody any more.
            self.output_bytes_total -= connection.output.pending_bytes() as i64;
            self.clients.forget(slot);
            self.machine.unwatch(&connection.session);
            self.forget_wait(connection.id);
            return;
        }
        if has_work(&connection) && !connection.is_ready {
            connection.is_ready = true;
            self.ready.push_back(slot);
        }
        self.clients.put_back(slot, connection);
    }

    fn run(&mut self, connection: &mut Connection) {
        let mut budget = COMMANDS_PER_TURN;
        let before = connection.output.pending_bytes();
        let buffer = match connection.output.take_buffer() {
            buffer if buffer.capacity() == 0 => self.spare_buffers.pop().unwrap_or_default(),
            buffer => buffer,
        };
        let mut reply = Reply::with_buffer(connection.proto, buffer);
        if let Some(held) = connection.held.take() {
            if connection.hold == Hold::None {
                self.run_held(connection, &held, &mut reply);
            } else {
                connection.held = Some(held);
            }
        }
        if !connection.query.is_empty() && connection.query.len() >= connection.query_needs {
            self.run_query(connection, &mut reply, &mut budget);
        }
        if connection.hold == Hold::None && connection.readable && budget > 0 {
            self.read_and_run(connection, &mut reply, &mut budget);
        }
        connection.output.put_back(std::mem::take(reply.buffer_mut()));
        let grown = connection.output.pending_bytes() as i64 - before as i64;
        self.output_bytes_total += grown;
        if connection.output.is_empty() {
            self.recycle(connection);
        } else if connection.flush_later {
            self.flush_list.push(connection.slot);
        } else {
            self.send(connection);
        }
    }

    /// Runs a command that had to wait. Meanwhile this process may have lost the right
    /// to write, or to be asked at all.
    fn run_held(&mut self, connection: &mut Connection, held: &Queued, reply: &mut Reply) {
        if self.cluster.is_some() && self.turn_away(connection, held.spec, &held.args(), reply) {
            return;
        }
        let error = self.bar.is_set().then(|| self.barred(connection, held.spec)).flatten();
        match error {
            Some(error) => self.reject(connection, Some(held.spec), reply, error),
            None => self.run_one(connection, held.spec, &held.args(), reply),
        }
    }

    /// Sends what may be sent now; what the socket does not take waits for the next event.
    pub(crate) fn send(&mut self, connection: &mut Connection) {
        if self.group.is_some() && connection.output.was_gated() && !self.may_acknowledge() {
            self.stats.unknown_outcomes += 1;
            connection.broken = true;
            return;
        }
        if connection.stream.owes_bytes() && connection.stream.flush().is_err() {
            connection.broken = true;
            return;
        }
        while connection.writable {
            let sendable = connection.output.sendable(self.durable);
            if sendable.is_empty() {
                break;
            }
            let asked = sendable.len();
            match connection.stream.write(sendable) {
                Ok(sent) => {
                    self.stats.writes += 1;
                    self.stats.output_bytes += sent as u64;
                    self.output_bytes_total -= sent as i64;
                    connection.sent_ms = self.clock.mono_ms;
                    connection.output.advance(sent);
                    connection.writable = sent == asked;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.writable = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => connection.broken = true,
            }
            if connection.broken {
                break;
            }
        }
        if connection.output.is_empty() {
            self.recycle(connection);
        } else if let Some(position) = connection.output.next_gate(self.durable)
            && position > self.durable
        {
            // A gate that is durable already stays in front only while the socket takes nothing:
            // then it is the socket's event that goes on, not the journal's.
            self.wait_for(position, connection.slot, connection.id);
        }
        self.check_output(connection);
    }

    /// Holds a connection to its bounds of unsent output.
    fn check_output(&mut self, connection: &mut Connection) {
        let pending = connection.output.pending_bytes();
        let limits = &self.limits;
        if limits.output_hard_bytes > 0 && pending > limits.output_hard_bytes {
            self.stats.output_limit_closed += 1;
            connection.broken = true;
            return;
        }
        if limits.output_soft_bytes > 0 && pending > limits.output_soft_bytes {
            connection.soft_since_ms.get_or_insert(self.clock.mono_ms);
        } else {
            connection.soft_since_ms = None;
        }
        let bound = self.output_pause_bytes();
        match connection.hold {
            Hold::None if pending > bound => connection.hold = Hold::Output,
            Hold::Output if pending <= bound / 2 => connection.hold = Hold::None,
            _ => {}
        }
    }

    /// Unsent output above which a connection runs nothing more.
    fn output_pause_bytes(&self) -> usize {
        let tight = self.output_bytes_total > OUTPUT_TOTAL_BYTES as i64;
        if tight { OUTPUT_PAUSE_BYTES_TIGHT } else { OUTPUT_PAUSE_BYTES }
    }

    /// Takes the empty buffer of a connection back for the next one that needs it.
    fn recycle(&mut self, connection: &mut Connection) {
        if let Some(buffer) = connection.output.release_buffer()
            && buffer.capacity() <= SPARE_BUFFER_BYTES
            && self.spare_buffers.len() < SPARE_BUFFERS
        {
            self.spare_buffers.push(buffer);
        }
    }

    /// Runs what an earlier read left over.
    fn run_query(&mut self, connection: &mut Connection, reply: &mut Reply, budget: &mut usize) {
        let mut query = std::mem::take(&mut connection.query);
        let consumed = self.run_buffer(connection, &mut query, reply, budget);
        if consumed == query.len() || connection.hold == Hold::Closing {
            if query.capacity() <= SPARE_BUFFER_BYTES && self.spare_buffers.len() < SPARE_BUFFERS {
                query.clear();
                self.spare_buffers.push(query);
            }
            return;
        }
        query.drain(..consumed);
        if query.capacity() > SPARE_BUFFER_BYTES && query.len() < query.capacity() / 4 {
            query.shrink_to(query.len());
        }
        connection.query = query;
    }

    /// Reads once and runs what came in. A read that does not fill the buffer has emptied the
    /// socket: the next bytes will be announced by another event.
    fn read_and_run(&mut self, connection: &mut Connection, reply: &mut Reply, budget: &mut usize) {
        let mut buffer = std::mem::take(&mut self.read_buffer);
        match connection.stream.read(&mut buffer) {
            Ok(0) => {
                connection.readable = false;
                connection.close_after_output();
            }
            Ok(len) => {
                let is_emptied = connection.stream.is_emptied(len, READ_BYTES);
                connection.readable = !is_emptied || connection.read_closed;
                connection.active_ms = self.clock.mono_ms;
                self.stats.reads += 1;
                self.stats.input_bytes += len as u64;
                self.take_input(connection, &mut buffer[..len], reply, budget);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => connection.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => connection.broken = true,
        }
        self.read_buffer = buffer;
    }

    fn take_input(
        &mut self,
        connection: &mut Connection,
        input: &mut [u8],
        reply: &mut Reply,
        budget: &mut usize,
    ) {
        if !connection.query.is_empty() {
            connection.query.extend_from_slice(input);
            if connection.query.len() > self.limits.query_bytes_max {
                self.stats.query_limit_closed += 1;
                connection.broken = true;
                return;
            }
            if connection.query.len() >= connection.query_needs {
                self.run_query(connection, reply, budget);
            }
            return;
        }
        let consumed = self.run_buffer(connection, input, reply, budget);
        if consumed < input.len() && connection.hold != Hold::Closing {
            if connection.query.capacity() == 0 {
                connection.query = self.spare_buffers.pop().unwrap_or_default();
            }
            connection.query.extend_from_slice(&input[consumed..]);
        }
    }

    /// Parses and runs commands at the front of `buffer`; returns the bytes that are done with.
    ///
    /// Several commands are parsed before the first of them runs, so that the memory their keys lie
    /// in can be asked for meanwhile.
    fn run_buffer(
        &mut self,
        connection: &mut Connection,
        buffer: &mut [u8],
        reply: &mut Reply,
        budget: &mut usize,
    ) -> usize {
        let mut from = 0;
        let mut batch = std::mem::take(&mut self.batch);
        let pause_bytes = self.output_pause_bytes();
        connection.query_needs = 0;
        while *budget > 0 && connection.hold == Hold::None {
            let end = batch.parse(connection, buffer, from, *budget, self.limits.bulk_bytes_max);
            self.prefetch(connection.session.db, buffer, &batch);
            let mut held_back = false;
            for args in batch.commands() {
                held_back = connection.hold != Hold::None;
                if held_back {
                    break;
                }
                from = args.end;
                if !args.spans.is_empty() {
                    *budget -= 1;
                    self.run_spans(connection, buffer, args.spans, reply);
                    if reply.len() > pause_bytes && connection.hold == Hold::None {
                        // Large replies must not add up for a whole turn: what the socket does not
                        // take is decided on when they are sent.
                        connection.hold = Hold::Output;
                    }
                }
            }
            match end {
                // What was parsed and not run is parsed again when its time comes.
                _ if held_back => connection.decoder = Decoder::default(),
                Parsed::Command { .. } => {}
                Parsed::Incomplete { need } => {
                    connection.query_needs = need;
                    break;
                }
                Parsed::Error(_) if connection.hold != Hold::None => {}
                Parsed::Error(error) => {
                    self.reject(connection, None, reply, &format!("ERR {error}"));
                    connection.close_after_output();
                }
            }
        }
        self.batch = batch;
        from
    }

    /// Asks the processor for the memory of the keys of a batch: first all groups of the index,
    /// then, when those have arrived, all entries.
    fn prefetch(&self, db: u16, buffer: &[u8], batch: &Batch) {
        if batch.len() < 2 {
            return;
        }
        let mut hashes = [None; BATCH_COMMANDS];
        for (hash, args) in hashes.iter_mut().zip(batch.commands()) {
            // Nearly every command's first argument is a key; for the others a hint is wasted.
            if let Some(key) = args.spans.get(1)
                && key.len <= PREFETCH_KEY_BYTES_MAX
            {
                *hash = Some(self.machine.prefetch(db, key.of(buffer)));
            }
        }
        for hash in hashes.into_iter().flatten() {
            self.machine.prefetch_entry(db, hash);
        }
    }

    fn run_spans(
        &mut self,
        connection: &mut Connection,
        buffer: &[u8],
        spans: &[Span],
        reply: &mut Reply,
    ) {
        let args: Args<'_> = spans.iter().map(|s| s.of(buffer)).collect();
        let Some(spec) = self.admit(connection, &args, reply) else { return };
        self.run_one(connection, spec, &args, reply);
    }
}

/// Whether another turn would get any further without anything new from outside.
fn has_work(connection: &Connection) -> bool {
    connection.hold == Hold::None
        && (connection.readable
            || connection.held.is_some()
            || (!connection.query.is_empty() && connection.query.len() >= connection.query_needs))
}
