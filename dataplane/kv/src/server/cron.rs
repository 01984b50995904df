//! Regular and background work of the loop: expiry, snapshots, idle clients, figures, the end.

use super::connection::{Connection, Hold};
use super::limits::{HANDSHAKE_SECONDS, QUERY_ROOM_BYTES, STALL_SECONDS};
use super::{Ending, Pause, Shard};
use crate::command_table::CommandSpec;
use crate::machine::MemoryPolicy;
use crate::persistence::PersistenceError;
use crate::persistence::snapshots::{Header, Target};

/// Keys that active expiry may delete per turn.
const EXPIRE_KEYS: usize = 200;
/// Pieces of index growth and of dropped values worked off per turn.
const HOUSEKEEP_PIECES: usize = 64;
/// How long a process with a failed journal still answers before it ends.
const FAILED_DRAIN_MS: u64 = 500;
/// How long a primary that ends waits for followers that are in sync.
const FAREWELL_MS: u64 = 15_000;

impl Shard {
    /// Work of every turn, in bounded pieces.
    pub(crate) fn background(&mut self) {
        let may_expire = self.active_expire && self.pause.is_none();
        if may_expire && self.accepts_writes() && !self.log.is_stalled() {
            self.machine.expire(EXPIRE_KEYS);
        }
        self.machine.housekeep(HOUSEKEEP_PIECES);
        let (now_ms, wall_ms) = (self.clock.mono_ms, self.clock.wall_ms());
        let commands = self.stats.commands_processed;
        self.snapshots.step(&mut self.machine, now_ms, wall_ms, commands);
        if let Some(result) = self.snapshots.take_result() {
            self.answer_savers(&result);
        }
    }

    /// Work of every tenth of a second.
    pub(crate) fn cron(&mut self) {
        if self.pause.is_some_and(|pause| self.clock.mono_ms >= pause.until_ms) {
            self.unpause();
        }
        self.stats.sample(self.clock.mono_ms);
        self.stats.memory_peak = self.stats.memory_peak.max(self.machine.used_bytes());
        self.look_after_clients();
        self.look_after_listeners();
        self.look_after_users();
        self.look_after_fence();
        self.replicas.forget_old();
        let is_due = self.snapshots.bytes_since >= self.snapshot_bytes;
        if is_due
            && !self.snapshots.is_running()
            && !self.log.is_failed()
            && let Err(error) = self.begin_snapshot()
        {
            tracing::warn!(%error, "failed to begin a snapshot");
            // Not again at once: the reason is likely to last.
            self.snapshots.bytes_since = self.snapshot_bytes / 2;
        }
        self.publish();
        self.go_on_ending();
    }

    /// Closes clients that are idle for too long or never read what they asked for, and takes
    /// memory back that their requests no longer need.
    fn look_after_clients(&mut self) {
        let (now_ms, limits) = (self.clock.mono_ms, self.limits);
        for slot in self.clients.slots() {
            let Some(connection) = self.clients.get_mut(slot) else { continue };
            let query = &mut connection.query;
            if query.capacity() > 2 * query.len() + QUERY_ROOM_BYTES {
                query.shrink_to_fit();
            }
            let is_stalled = connection.hold == Hold::Output
                && !connection.output.is_gated()
                && now_ms.saturating_sub(connection.sent_ms) > STALL_SECONDS * 1000;
            let is_late = connection.stream.is_handshaking()
                && now_ms.saturating_sub(connection.created_ms) > HANDSHAKE_SECONDS * 1000;
            // A goodbye that nobody takes.
            let is_left = connection.hold == Hold::Closing
                && connection.stream.owes_bytes()
                && now_ms.saturating_sub(connection.sent_ms) > STALL_SECONDS * 1000;
            let idle_ms = now_ms.saturating_sub(connection.active_ms);
            let is_idle = limits.idle_seconds > 0
                && idle_ms > limits.idle_seconds * 1000
                && !matches!(connection.hold, Hold::Save | Hold::Wait);
            let is_over = connection.soft_since_ms.is_some_and(|since| {
                now_ms.saturating_sub(since) > limits.output_soft_seconds * 1000
            });
            if is_stalled || is_over {
                self.stats.output_limit_closed += 1;
            }
            if is_stalled || is_idle || is_over || is_late || is_left {
                connection.broken = true;
                self.doomed.push(slot);
            }
        }
    }

    /// Whether `CLIENT PAUSE` holds this command back.
    pub(crate) fn pause_holds(&self, connection: &Connection, spec: &'static CommandSpec) -> bool {
        let Some(Pause { until_ms, writes_only }) = self.pause else { return false };
        if self.clock.mono_ms >= until_ms {
            return false;
        }
        if !writes_only {
            return true;
        }
        let queued_write = || {
            connection
                .multi
                .as_ref()
                .is_some_and(|multi| multi.queued.iter().any(|queued| queued.spec.is_write()))
        };
        (spec.is_write() && connection.multi.is_none()) || (spec.name == "exec" && queued_write())
    }

    pub(crate) fn unpause(&mut self) {
        self.pause = None;
        self.machine.hold_expiry(self.bar.is_set());
        self.release_held();
    }

    /// Carries changed settings to where they act.
    pub(crate) fn apply_settings(&mut self) {
        if self.cluster.is_some() {
            self.settings.put("cluster-enabled", "yes");
        }
        self.limits = self.settings.limits();
        let policy = MemoryPolicy::from_redis_name(self.settings.text("maxmemory-policy"));
        let limit_bytes = self.settings.number("maxmemory") as u64;
        self.machine.set_memory_limit(limit_bytes, policy.unwrap_or_default());
        let number = |name| self.settings.number(name);
        let thresholds = self.machine.thresholds();
        thresholds.hash_max_listpack_entries = number("hash-max-listpack-entries") as usize;
        thresholds.hash_max_listpack_value = number("hash-max-listpack-value") as usize;
        thresholds.set_max_intset_entries = number("set-max-intset-entries") as usize;
        thresholds.list_max_listpack_size = number("list-max-listpack-size") as i32;
        thresholds.proto_max_bulk_len = number("proto-max-bulk-len") as usize;
    }

    pub(crate) fn begin_snapshot(&mut self) -> Result<u64, PersistenceError> {
        self.begin_snapshot_to(Target::Journal)
    }

    pub(crate) fn begin_snapshot_to(&mut self, target: Target) -> Result<u64, PersistenceError> {
        // The image is the state after the last record: what this turn changed belongs to it.
        self.append_effects();
        self.log.flush();
        let json = serde_json::to_vec(&self.declared).unwrap_or_else(|_| b"{}".to_vec());
        let history = self.log.history().to_text();
        let header = Header {
            wall_ms: self.clock.wall_ms(),
            declared_json: &json,
            fenced_below: self.log.fenced_below(),
            history: &history,
        };
        let waker = std::sync::Arc::clone(&self.waker);
        let wake = move || {
            // A poll that cannot be woken looks again at its next cron.
            let _ = waker.wake();
        };
        self.snapshots.begin(&mut self.machine, &self.log, target, header, self.clock.mono_ms, wake)
    }

    /// The journal began or stopped refusing records.
    pub(crate) fn writability_changed(&mut self) {
        self.trouble = self.log.trouble();
        if self.log.is_writable() {
            tracing::info!("writes are accepted again");
        } else {
            tracing::error!(reason = self.log.refusal(), "writes are refused");
        }
        if self.log.is_failed() {
            self.disown_unknown();
            if self.log.replaced_by().is_some() {
                self.begin_again();
            }
            if !self.is_leaving() {
                let until_ms = self.clock.mono_ms + FAILED_DRAIN_MS;
                let began_ms = self.clock.mono_ms;
                self.ending = Ending::Draining { began_ms, until_ms, ends: true };
                self.stop_listening();
            }
        }
        self.publish();
    }

    /// Has another shard take the place of this one after this turn, unless the process is to end.
    pub(crate) fn begin_again(&mut self) {
        if !matches!(self.ending, Ending::Draining { ends: true, .. } | Ending::Now) {
            self.ending = Ending::Again;
        }
    }

    /// This turn is the last one.
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.ending, Ending::Now | Ending::Again)
    }

    /// Tells every client that waits for the journal that nobody knows what became of its writes.
    fn disown_unknown(&mut self) {
        self.gated.clear();
        for slot in self.clients.slots() {
            let Some(mut connection) = self.clients.take(slot) else { continue };
            if connection.output.drop_gated() {
                connection.output.push(
                    b"-MISCONF the outcome is unknown: the journal failed before it confirmed\r\n",
                );
                connection.close_after_output();
                self.send(&mut connection);
            }
            self.settle(slot, connection);
        }
    }

    fn go_on_ending(&mut self) {
        let Ending::Draining { began_ms: drained_ms, until_ms, ends } = self.ending else { return };
        let is_durable = self.machine.effects().is_empty() && self.durable >= self.log.appended();
        let is_late = self.clock.mono_ms >= until_ms;
        if self.log.is_failed() {
            if is_late {
                self.ending = Ending::Now;
            }
            return;
        }
        if is_late || (is_durable && self.ready.is_empty()) {
            for slot in self.clients.slots() {
                let Some(mut connection) = self.clients.take(slot) else { continue };
                self.send(&mut connection);
                connection.close_after_output();
                self.settle(slot, connection);
            }
            let farewell_ms = until_ms.min(drained_ms + FAREWELL_MS);
            if (is_late || self.clients.len() == 0)
                && (!ends || self.say_goodbye(self.clock.mono_ms, farewell_ms))
            {
                self.ending = if ends { Ending::Now } else { Ending::Drained };
            }
        }
    }

    /// Publishes what other threads may know.
    pub(crate) fn publish(&mut self) {
        let stats = self.machine.stats();
        let shared = &self.shared;
        shared.connected_clients.set(self.clients.len() as u64);
        shared.commands.set(self.stats.commands_processed);
        shared.input_bytes.set(self.stats.input_bytes);
        shared.output_bytes.set(self.stats.output_bytes);
        shared.error_replies.set(self.stats.error_replies);
        shared.gated_replies.set(self.stats.gated_replies);
        shared.rejected_connections.set(self.stats.connections_rejected);
        shared.keys.set(self.machine.databases().iter().map(|db| db.len() as u64).sum());
        shared.used_bytes.set(self.machine.used_bytes());
        shared.memory_limit_bytes.set(self.settings.number("maxmemory") as u64);
        shared.hits.set(stats.keyspace_hits);
        shared.misses.set(stats.keyspace_misses);
        shared.expired.set(stats.expired_keys);
        shared.evicted.set(stats.evicted_keys);
        shared.appended.set(self.log.appended());
        shared.durable.set(self.log.durable());
        shared.epoch.set(self.log.epoch());
        shared.fenced_below.set(self.log.fenced_below());
        shared.snapshot_position.set(self.snapshots.position);
        let is_writable = self.ending == Ending::No && self.accepts_writes();
        shared.writable.set(u64::from(is_writable));
        shared.lag_records.set(self.lag_records());
        let source_lag = self.adoption.as_ref().map_or(0, |adoption| adoption.lag_bytes());
        shared.source_lag_bytes.set(source_lag);
        shared.set_view(self.view());
        shared.operations_per_second.set(self.stats.ops.per_second() as u64);
        shared.set_readiness(self.readiness(), &self.declared.set_hash);
    }
}
