//! Commands that another node of the cluster is to run: which, and what their clients are told.
//!
//! Without cluster mode nothing here is called. With it a command costs a CRC16 and a comparison per
//! key; the decision itself is [`Cluster::course`](crate::cluster::Cluster::course).

use std::net::SocketAddr;

use orrery_resp::Reply;

use super::Shard;
use super::connection::Connection;
use super::group::Bar;
use crate::cluster::course::{Course, Kind, Standing};
use crate::cluster::slot::slot_of;
use crate::command_table::CommandSpec;
use crate::commands::number::parse_i64;

/// The host of a client that came by no network, in redirects to another port of this process.
const NO_NETWORK: &str = "127.0.0.1";

impl Shard {
    /// Whether the command belongs elsewhere and was answered so. A transaction is spoiled by it; one
    /// that was to be carried out is given up.
    pub(crate) fn turn_away(
        &mut self,
        connection: &mut Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
        reply: &mut Reply,
    ) -> bool {
        let course = self.course(connection, spec, args);
        if matches!(course, Course::Here) {
            return false;
        }
        let Some(error) = course.error(&host(connection)) else { return false };
        if spec.name == "exec" && connection.multi.take().is_some() {
            self.machine.unwatch(&connection.session);
        }
        self.reject(connection, Some(spec), reply, &error);
        true
    }

    #[inline]
    fn course(
        &self,
        connection: &Connection,
        spec: &'static CommandSpec,
        args: &[&[u8]],
    ) -> Course {
        let Some(cluster) = &self.cluster else { return Course::Here };
        // A process of the group: it gets records, not keys.
        if connection.is_follower {
            return Course::Here;
        }
        let takes_stale = connection.takes_stale;
        if spec.key_specs.is_empty() {
            return match &connection.multi {
                Some(multi) if spec.name == "exec" => {
                    // Every command was looked at when it was queued; what may have changed since
                    // is what this process may do.
                    let writes = multi.queued.iter().any(|queued| queued.spec.is_write());
                    let slot = multi.queued.iter().find_map(|queued| {
                        let args = queued.args();
                        let at = queued.spec.keys_at(&args).next()?;
                        Some(slot_of(args[at]))
                    });
                    let kind = Kind { writes, takes_stale };
                    cluster.course(self.standing(), kind, slot.into_iter())
                }
                _ => Course::Here,
            };
        }
        let slots = spec.keys_at(args).map(|at| slot_of(args[at]));
        cluster.course(self.standing(), Kind { writes: spec.is_write(), takes_stale }, slots)
    }

    /// What clients may have of this shard.
    #[inline]
    pub(crate) fn standing(&self) -> Standing {
        if !self.bar.is_set() && self.log.is_writable() {
            return Standing::Primary;
        }
        if self.group.is_none() {
            // Of one process, or of a Redis that is taken over: nobody else has its keys, unless it
            // was fenced.
            let is_fenced = self.log.epoch() < self.log.fenced_below();
            return if is_fenced { Standing::Nothing } else { Standing::Primary };
        }
        match self.bar {
            // It stays the primary, and says by itself why it takes no writes.
            Bar::None | Bar::Replicas | Bar::Owner => Standing::Primary,
            Bar::Ending => Standing::Ending,
            Bar::Follower => Standing::Follower,
            Bar::Standby | Bar::TakingOver | Bar::Copying | Bar::Fenced | Bar::Lease => {
                Standing::Nothing
            }
        }
    }

    /// Ends the waits of clients whose lists are elsewhere from now on, or nowhere: in a cluster they
    /// find the node that has them. A primary that ends closes its connections.
    pub(crate) fn release_waiting_in_cluster(&mut self) {
        if self.cluster.is_some()
            && matches!(self.standing(), Standing::Follower | Standing::Nothing)
        {
            self.end_all_waits(super::waiting::WaitEnd::RoleChanged);
        }
    }
}

/// The address that the client reached this process at, as Redis writes it: IPv6 without brackets.
pub(crate) fn host(connection: &Connection) -> String {
    let address: Option<SocketAddr> = connection.local_address.parse().ok();
    address.map_or_else(|| NO_NETWORK.into(), |address| address.ip().to_canonical().to_string())
}

/// Why a command that names a database besides its own is refused: a cluster has one.
pub(crate) fn refuse_database(spec: &CommandSpec, args: &[&[u8]]) -> Option<&'static str> {
    match spec.name {
        "move" => Some("ERR MOVE is not allowed in cluster mode"),
        "swapdb" => Some("ERR SWAPDB is not allowed in cluster mode"),
        "copy" => {
            let options = args.get(3..)?;
            let mut pairs = options.iter().zip(options.get(1..)?);
            pairs
                .any(|(option, value)| {
                    option.eq_ignore_ascii_case(b"db") && parse_i64(value).is_some_and(|db| db != 0)
                })
                .then_some("ERR Copying to another database is not allowed in cluster mode")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
