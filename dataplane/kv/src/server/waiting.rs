//! Connections that wait for a list or for followers: their deadlines, and how they go on.
//!
//! The machine knows who waits for which key; here is which connection that is and until when. A
//! waiting connection runs nothing; what it sends meanwhile stays in the socket. A served one gets
//! its reply before the next command of anybody runs, so the order of service is that of Redis.

use std::collections::{BTreeSet, HashMap};

use foldhash::fast::FixedState;
use orrery_resp::Reply;

use super::Shard;
use super::confirmations::Awaited;
use super::connection::{Connection, Hold};

/// Waiting connections of a shard.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Slot and deadline (monotonic milliseconds) by the connection's id.
    by_id: HashMap<u64, (usize, Option<u64>), FixedState>,
    deadlines: BTreeSet<(u64, u64)>,
    /// Those of them that wait for followers.
    pub(super) for_followers: HashMap<u64, Awaited, FixedState>,
    /// The command that runs is to wait for followers, so long.
    pub(super) asked: Option<(Awaited, u64)>,
}

impl Waiting {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Connections with a deadline.
    pub(crate) fn timed(&self) -> usize {
        self.deadlines.len()
    }

    /// When the first of them has waited long enough.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        self.deadlines.first().map(|(at_ms, _)| *at_ms)
    }

    fn insert(&mut self, id: u64, slot: usize, deadline_ms: Option<u64>) {
        self.by_id.insert(id, (slot, deadline_ms));
        if let Some(at_ms) = deadline_ms {
            self.deadlines.insert((at_ms, id));
        }
    }

    fn slot(&self, id: u64) -> Option<usize> {
        self.by_id.get(&id).map(|(slot, _)| *slot)
    }

    fn remove(&mut self, id: u64) -> bool {
        let Some((_, deadline_ms)) = self.by_id.remove(&id) else { return false };
        self.for_followers.remove(&id);
        if let Some(at_ms) = deadline_ms {
            self.deadlines.remove(&(at_ms, id));
        }
        true
    }
}

/// How a wait ends without the list having had anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    Timeout,
    /// `CLIENT UNBLOCK … ERROR`.
    Unblocked,
    /// This process may not write any more.
    RoleChanged,
}

impl Shard {
    /// The command of this connection found nothing and waits.
    pub(crate) fn begin_wait(&mut self, connection: &mut Connection, timeout_ms: u64) {
        connection.hold = Hold::Wait;
        let deadline_ms = (timeout_ms > 0).then(|| self.clock.mono_ms.saturating_add(timeout_ms));
        self.waiting.insert(connection.id, connection.slot, deadline_ms);
        if let Some(spec) = connection.last_command {
            // It counts when it is answered.
            self.stats.commands[spec.index].calls -= 1;
        }
    }

    /// The connection is gone or answered: nobody waits for it any more.
    pub(crate) fn forget_wait(&mut self, id: u64) {
        if self.waiting.remove(id) {
            self.machine.unwait(id);
        }
    }

    /// Serves those who wait for keys that became ready, and those who wait for what these change.
    pub(crate) fn serve_waiting(&mut self) {
        while let Some((_, key, sessions)) = self.machine.next_ready() {
            for id in sessions {
                let Some(slot) = self.waiting.slot(id) else { continue };
                let Some(mut connection) = self.clients.take(slot) else { continue };
                let served = self.reply_to(&mut connection, |shard, connection, reply| {
                    shard.machine.serve_waiting(&connection.session, &key, reply)
                });
                if served {
                    self.forget_wait(id);
                }
                self.clients.put_back(slot, connection);
                if !served {
                    break;
                }
            }
        }
    }

    /// Writes a late reply; false if there is none, and the connection goes on waiting.
    fn reply_to(
        &mut self,
        connection: &mut Connection,
        write: impl FnOnce(&mut Self, &Connection, &mut Reply) -> Option<crate::machine::Outcome>,
    ) -> bool {
        let before = connection.output.pending_bytes();
        let mut reply = Reply::with_buffer(connection.proto, connection.output.take_buffer());
        let start = reply.len();
        let outcome = write(self, connection, &mut reply);
        if let Some(outcome) = outcome {
            connection.hold = Hold::None;
            if let Some(spec) = connection.last_command {
                let stats = &mut self.stats.commands[spec.index];
                stats.calls += 1;
                stats.failed += u64::from(outcome.failed);
            }
            if outcome.failed {
                self.stats.error_reply(&reply.as_bytes()[start..]);
            }
            self.finish_reply(connection, start, outcome.gate, &mut reply);
            // The effects of this turn are appended first, then its output is sent and the rest of
            // its pipeline goes on.
            self.flush_list.push(connection.slot);
        }
        connection.output.put_back(std::mem::take(reply.buffer_mut()));
        self.output_bytes_total += connection.output.pending_bytes() as i64 - before as i64;
        outcome.is_some()
    }

    /// Ends the wait of a connection without a result; false if it does not wait.
    pub(crate) fn end_wait(&mut self, id: u64, how: WaitEnd) -> bool {
        let Some(slot) = self.waiting.slot(id) else { return false };
        let Some(mut connection) = self.clients.take(slot) else { return false };
        let awaited = self.waiting.for_followers.get(&id).copied();
        self.forget_wait(id);
        self.reply_to(&mut connection, |shard, _, reply| {
            match (how, awaited) {
                (WaitEnd::Timeout, Some(awaited)) => {
                    reply.integer(shard.confirmations().of(awaited.position));
                }
                (WaitEnd::Timeout, None) => reply.null_array(),
                (WaitEnd::Unblocked, _) => {
                    reply.error("UNBLOCKED client unblocked via CLIENT UNBLOCK");
                }
                (WaitEnd::RoleChanged, _) => reply.error(
                    "UNBLOCKED force unblock from blocking operation, instance state changed \
                     (master -> replica?)",
                ),
            }
            let failed = how != WaitEnd::Timeout;
            Some(crate::machine::Outcome { gate: 0, failed })
        });
        self.clients.put_back(slot, connection);
        true
    }

    /// Ends all waits.
    pub(crate) fn end_all_waits(&mut self, how: WaitEnd) {
        let ids: Vec<u64> = self.waiting.by_id.keys().copied().collect();
        for id in ids {
            self.end_wait(id, how);
        }
    }

    /// Ends the waits that have lasted long enough.
    pub(crate) fn expire_waits(&mut self) {
        while let Some((at_ms, id)) = self.waiting.deadlines.first().copied()
            && at_ms <= self.clock.mono_ms
        {
            if !self.end_wait(id, WaitEnd::Timeout) {
                self.waiting.deadlines.remove(&(at_ms, id));
            }
        }
    }
}
