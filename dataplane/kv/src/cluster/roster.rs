//! The nodes of a cluster as its commands show them: who they are, where, and with which slots.
//!
//! Pure: from a topology to replies. A node is one shard of one process; every process knows all nodes
//! by the same ids, because an id is a hash of what names the node.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use orrery_api::kv::layout::SLOTS;
use orrery_resp::Reply;
use sha2::{Digest as _, Sha256};

use super::{Cluster, Node, Place, Topology};

/// Distance of the port that nodes of Redis talk to each other at; here nobody does.
const BUS_PORT_OFFSET: u16 = 10_000;
/// Bytes of an id, which is shown in hexadecimal digits.
const ID_BYTES: usize = 20;

/// The id of a shard in a process: 40 hexadecimal digits.
pub(crate) fn node_id(process: &str, shard: u32) -> String {
    let digest = Sha256::new().chain_update(shard.to_be_bytes()).chain_update(process).finalize();
    digest[..ID_BYTES].iter().fold(String::with_capacity(2 * ID_BYTES), |mut id, byte| {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
        id
    })
}

/// Where the client that asks has reached this process.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// It came by TLS, and so it will to the others.
    pub(crate) is_tls: bool,
    /// The last position of the shard.
    pub(crate) position: u64,
}

/// One node.
#[derive(Debug)]
struct Member {
    id: String,
    host: String,
    port: u16,
    is_primary: bool,
    is_myself: bool,
    /// The topology names it; of the others only this one is known here.
    is_told: bool,
}

/// One shard and its nodes, the primary first.
#[derive(Debug)]
struct Division {
    slots: RangeInclusive<u16>,
    epoch: u64,
    members: Vec<Member>,
}

impl Division {
    fn primary(&self) -> Option<&Member> {
        self.members.first().filter(|member| member.is_primary)
    }

    fn told(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_told)
    }
}

/// All nodes, by shard.
#[derive(Debug)]
pub(crate) struct Roster {
    divisions: Vec<Division>,
    own: usize,
    here: Here,
}

/// Which shard a node that was named is of, or why it is of none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("ERR Unknown node {0}")]
    Unknown(String),
    #[error("ERR The specified node is not a master")]
    NoPrimary,
}

impl Roster {
    /// The nodes that `cluster` knows.
    pub(crate) fn new(cluster: &Cluster, here: Here) -> Self {
        let topology: &Topology = &cluster.known.get();
        let none = Place::default();
        let divisions = (0..cluster.layout.shards).map(|shard| {
            let place = topology.places.get(shard as usize).unwrap_or(&none);
            let is_myself = |name: &str| shard == cluster.shard && name == cluster.pod;
            let member = |node: &Node, is_primary| Member {
                id: node_id(&node.name, shard),
                host: node.host.clone().unwrap_or_else(|| here.host.clone()),
                port: node.port,
                is_primary,
                is_myself: is_myself(&node.name),
                is_told: true,
            };
            let primary = place.primary.iter().map(|node| member(node, true));
            let followers = place.followers.iter().map(|node| member(node, false));
            let mut members: Vec<Member> = primary.chain(followers).collect();
            if shard == cluster.shard && !members.iter().any(|member| member.is_myself) {
                members.push(Member {
                    id: node_id(&cluster.pod, shard),
                    host: here.host.clone(),
                    port: here.port,
                    is_primary: false,
                    is_myself: true,
                    is_told: false,
                });
            }
            Division { slots: cluster.layout.slots_of(shard), epoch: place.epoch, members }
        });
        Self { divisions: divisions.collect(), own: cluster.shard as usize, here }
    }

    /// `CLUSTER SLOTS`: shards that have a primary, with who has their keys.
    pub(crate) fn slots(&self, reply: &mut Reply) {
        let served = || self.divisions.iter().filter(|division| division.primary().is_some());
        reply.array(served().count());
        for division in served() {
            reply.array(2 + division.told().count());
            reply.integer((*division.slots.start()).into());
            reply.integer((*division.slots.end()).into());
            for member in division.told() {
                reply.array(4);
                reply.bulk(member.host.as_bytes());
                reply.integer(member.port.into());
                reply.bulk(member.id.as_bytes());
                reply.map(0);
            }
        }
    }

    /// `CLUSTER SHARDS`. Of other nodes no position is known.
    pub(crate) fn shards(&self, reply: &mut Reply) {
        reply.array(self.divisions.len());
        for division in &self.divisions {
            reply.map(2);
            reply.bulk(b"slots");
            if division.primary().is_some() {
                reply.array(2);
                reply.integer((*division.slots.start()).into());
                reply.integer((*division.slots.end()).into());
            } else {
                reply.array(0);
            }
            reply.bulk(b"nodes");
            reply.array(division.told().count());
            division.told().for_each(|member| self.shard_member(member, reply));
        }
    }

    fn shard_member(&self, member: &Member, reply: &mut Reply) {
        let position = if member.is_myself { self.here.position } else { 0 };
        reply.map(7);
        for (name, text) in [
            ("id", member.id.as_str()),
            ("ip", &member.host),
            ("endpoint", &member.host),
            ("role", if member.is_primary { "master" } else { "replica" }),
            ("health", "online"),
        ] {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
        reply.bulk(if self.here.is_tls { b"tls-port" } else { b"port" });
        reply.integer(member.port.into());
        reply.bulk(b"replication-offset");
        reply.integer(position as i64);
    }

    /// `CLUSTER NODES`: a line per node.
    pub(crate) fn nodes(&self) -> String {
        let lines = self.divisions.iter().flat_map(|division| {
            division.members.iter().map(|member| line(division, member) + "\n")
        });
        lines.collect()
    }

    /// `CLUSTER REPLICAS`: the lines of the followers of a node.
    pub(crate) fn followers_of(&self, id: &[u8]) -> Result<Vec<String>, NodeError> {
        let (division, member) = self.find(id)?;
        if !member.is_primary {
            return Err(NodeError::NoPrimary);
        }
        let followers = division.members.iter().filter(|member| !member.is_primary);
        Ok(followers.map(|member| line(division, member)).collect())
    }

    /// Whether there is such a node.
    pub(crate) fn check(&self, id: &[u8]) -> Result<(), NodeError> {
        self.find(id).map(|_| ())
    }

    fn find(&self, id: &[u8]) -> Result<(&Division, &Member), NodeError> {
        let all = self
            .divisions
            .iter()
            .flat_map(|division| division.members.iter().map(move |member| (division, member)));
        let mut all = all.filter(|(_, member)| member.id.as_bytes().eq_ignore_ascii_case(id));
        all.next().ok_or_else(|| NodeError::Unknown(String::from_utf8_lossy(id).into_owned()))
    }

    /// `CLUSTER INFO`: `ok` while every slot has a primary. No messages go between nodes.
    pub(crate) fn info(&self) -> String {
        let served = || self.divisions.iter().filter(|division| division.primary().is_some());
        let slots: usize = served().map(|division| division.slots.len()).sum();
        let nodes: usize = self.divisions.iter().map(|division| division.members.len()).sum();
        let epoch = self.divisions.iter().map(|division| division.epoch).max().unwrap_or(0);
        let state = if slots == usize::from(SLOTS) { "ok" } else { "fail" };
        format!(
            "cluster_state:{state}\r\n\
             cluster_slots_assigned:{slots}\r\n\
             cluster_slots_ok:{slots}\r\n\
             cluster_slots_pfail:0\r\n\
             cluster_slots_fail:0\r\n\
             cluster_known_nodes:{nodes}\r\n\
             cluster_size:{}\r\n\
             cluster_current_epoch:{epoch}\r\n\
             cluster_my_epoch:{}\r\n\
             cluster_stats_messages_sent:0\r\n\
             cluster_stats_messages_received:0\r\n\
             total_cluster_links_buffer_limit_exceeded:0\r\n",
            served().count(),
            self.divisions.get(self.own).map_or(0, |division| division.epoch),
        )
    }
}

/// A line of `CLUSTER NODES`, without its end.
fn line(division: &Division, member: &Member) -> String {
    let Member { id, host, port, .. } = member;
    let bus = port.checked_add(BUS_PORT_OFFSET).unwrap_or(0);
    let myself = if member.is_myself { "myself," } else { "" };
    let (role, primary) = match division.primary() {
        _ if member.is_primary => ("master", "-"),
        Some(primary) => ("slave", primary.id.as_str()),
        None => ("slave", "-"),
    };
    let mut line = format!(
        "{id} {host}:{port}@{bus} {myself}{role} {primary} 0 0 {} connected",
        division.epoch
    );
    if member.is_primary {
        // Writing to a string cannot fail.
        let _ = write!(line, " {}-{}", division.slots.start(), division.slots.end());
    }
    line
}

#[cfg(test)]
mod tests;
