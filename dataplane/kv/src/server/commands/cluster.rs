//! CLUSTER, READONLY, READWRITE and ASKING: what clients of a cluster ask, and what they say first.
//!
//! Must not: change who has which slots. The operator does, so the commands for it are refused.

use std::net::SocketAddr;

use orrery_api::kv::layout::SLOTS;

use super::{Call, help};
use crate::cluster::roster::{Here, Roster, node_id};
use crate::cluster::slot::slot_of;
use crate::keyspace::raw::Entry;
use crate::machine::Database;
use crate::server::redirect;
use crate::server::stream::Stream;

const DISABLED: &str = "ERR This instance has cluster support disabled";
const ASSIGNED: &str =
    "ERR the operator of this cluster assigns the slots: change the KVCluster instead";

/// READONLY, READWRITE and ASKING. Nobody is ever sent anywhere to ask, so asking changes nothing.
pub(super) fn say(call: &mut Call<'_>, name: &str) {
    if call.shard.cluster.is_none() {
        call.reply.error(DISABLED);
        return;
    }
    if name != "asking" {
        call.connection.takes_stale = name == "readonly";
    }
    call.reply.ok();
}

/// CLUSTER; returns the position that the reply waits for.
pub(super) fn run(call: &mut Call<'_>, name: &str) -> u64 {
    if name == "cluster|help" {
        help::write(call.reply, "CLUSTER", help::CLUSTER);
        return 0;
    }
    let Some(cluster) = &call.shard.cluster else {
        call.reply.error(DISABLED);
        return 0;
    };
    match name {
        "cluster|myid" => {
            let id = node_id(&cluster.pod, cluster.shard);
            call.reply.bulk(id.as_bytes());
        }
        "cluster|keyslot" => call.reply.integer(slot_of(call.args[2]).into()),
        "cluster|countkeysinslot" => return count_keys(call),
        "cluster|getkeysinslot" => return get_keys(call),
        // Nodes of this cluster have no connections to each other for its sake.
        "cluster|links" => call.reply.array(0),
        "cluster|slots"
        | "cluster|shards"
        | "cluster|nodes"
        | "cluster|info"
        | "cluster|replicas"
        | "cluster|slaves"
        | "cluster|count-failure-reports" => {
            let roster = Roster::new(cluster, here(call));
            show(call, name, &roster);
        }
        _ => call.reply.error(ASSIGNED),
    }
    0
}

fn here(call: &Call<'_>) -> Here {
    let reached: Option<SocketAddr> = call.connection.local_address.parse().ok();
    let listens = || call.shard.settings.number("port").try_into().unwrap_or(0);
    Here {
        host: redirect::host(call.connection),
        port: reached.map_or_else(listens, |address| address.port()),
        is_tls: matches!(call.connection.stream, Stream::Tls(_)),
        position: call.shard.log.appended(),
    }
}

fn show(call: &mut Call<'_>, name: &str, roster: &Roster) {
    let reply = &mut *call.reply;
    match name {
        "cluster|slots" => roster.slots(reply),
        "cluster|shards" => roster.shards(reply),
        "cluster|nodes" => reply.verbatim(*b"txt", roster.nodes().as_bytes()),
        "cluster|info" => reply.verbatim(*b"txt", roster.info().as_bytes()),
        "cluster|count-failure-reports" => match roster.check(call.args[2]) {
            Ok(()) => reply.integer(0),
            Err(error) => reply.error(error.to_string()),
        },
        _ => match roster.followers_of(call.args[2]) {
            Ok(lines) => {
                reply.array(lines.len());
                for line in &lines {
                    reply.bulk(line.as_bytes());
                }
            }
            Err(error) => reply.error(error.to_string()),
        },
    }
}

/// The slot that an argument names.
fn slot(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS)
}

/// `CLUSTER COUNTKEYSINSLOT slot`. As KEYS, it looks at every key of the node.
fn count_keys(call: &mut Call<'_>) -> u64 {
    let Some(number) = call.number(2) else {
        call.not_an_integer();
        return 0;
    };
    let Some(slot) = slot(number) else {
        call.reply.error("ERR Invalid slot");
        return 0;
    };
    let (keys, gate) = keys_of(call, slot);
    let count = keys.count();
    call.reply.integer(count as i64);
    gate
}

/// `CLUSTER GETKEYSINSLOT slot count`. As KEYS, but it ends once it has as many as were asked for.
fn get_keys(call: &mut Call<'_>) -> u64 {
    let (Some(number), Some(most)) = (call.number(2), call.number(3)) else {
        call.not_an_integer();
        return 0;
    };
    let (Some(slot), Ok(most)) = (slot(number), usize::try_from(most)) else {
        call.reply.error("ERR Invalid slot or number of keys");
        return 0;
    };
    let (keys, gate) = keys_of(call, slot);
    let keys: Vec<Vec<u8>> = keys.take(most).map(<[u8]>::to_vec).collect();
    call.reply.array(keys.len());
    for key in &keys {
        call.reply.bulk(key);
    }
    gate
}

/// The keys of a slot that have not expired, and the position that makes all of them durable.
fn keys_of<'a>(call: &'a Call<'_>, slot: u16) -> (impl Iterator<Item = &'a [u8]>, u64) {
    let (machine, cluster) = (&call.shard.machine, &call.shard.cluster);
    let is_own =
        cluster.as_ref().is_some_and(|cluster| cluster.layout.shard_of(slot) == cluster.shard);
    let now_ms = machine.now_ms();
    // A cluster has one database.
    let database = machine.databases().first().filter(|_| is_own);
    let alive = database
        .into_iter()
        .flat_map(Database::entries)
        .filter(move |entry| entry.expire_ms().is_none_or(|at| at > now_ms));
    let keys = alive.map(Entry::key).filter(move |key| slot_of(key) == slot);
    (keys, machine.gate_of_all())
}
