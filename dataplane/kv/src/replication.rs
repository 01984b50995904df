//! Several processes with the same data: a primary that writes, followers that keep its records.
//!
//! | module | job |
//! |---|---|
//! | [`grants`] | what a process of a group must not forget: epochs, and how its group is made up |
//! | [`lease`] | until when a primary may write |
//! | [`wire`] | the messages between the two, byte by byte |
//! | [`peers`] | the primary's side: one link per follower |
//! | [`link`] | the follower's side: connecting, receiving, confirming |
//! | [`replicas`] | a real Redis that follows this engine, in the field's own protocol |
//! | [`dial`] | connecting to another server, and commands as a client sends them |
//! | [`socket`] | the socket of a link, with TLS on it or without |
//! | [`copy`] | a full copy of the primary's data, and putting aside what it replaces |
//!
//! Nothing here knows clients or decides about roles: that is `server::group`. `docs/replication.md`
//! describes the whole.

pub(crate) mod copy;
pub(crate) mod dial;
pub(crate) mod grants;
pub(crate) mod lease;
pub(crate) mod link;
pub(crate) mod peers;
pub(crate) mod replicas;
pub(crate) mod socket;
pub(crate) mod wire;

/// The user that followers log in as; its password is the management token.
pub(crate) const USER: &[u8] = orrery_api::kv::acl::REPLICATION_USER.as_bytes();
