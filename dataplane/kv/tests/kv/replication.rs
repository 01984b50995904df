//! Primary and followers as real processes: copies, roles, leases, and what kills do to them.

#[path = "replication/copies.rs"]
mod copies;
#[path = "replication/group.rs"]
pub(crate) mod group;
#[path = "replication/hostile.rs"]
mod hostile;
#[path = "replication/keeper.rs"]
pub(crate) mod keeper;
#[path = "replication/kills.rs"]
mod kills;
#[path = "replication/lease.rs"]
mod lease;
#[path = "replication/partial.rs"]
mod partial;
#[path = "replication/roles.rs"]
mod roles;
#[path = "replication/secured.rs"]
mod secured;
#[path = "replication/slow.rs"]
mod slow;
#[path = "replication/unsafe_reads.rs"]
mod unsafe_reads;
#[path = "replication/wait.rs"]
mod wait;
