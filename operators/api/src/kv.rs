//! The key-value service: engine `KVCluster`, declared object `KVNamespace`, and the configuration
//! file a process of the engine starts with.

pub use crate::spec::journal::{self, Journal, JournalBackend, JournalCaps};

pub mod acl;
pub mod class;
pub mod cluster;
pub mod config;
pub mod layout;
pub mod namespace;
pub mod status;

pub use class::Class;
#[cfg(feature = "crd")]
pub use cluster::KVCluster;
pub use cluster::{
    Adopt, AdoptTls, Auth, ClusterMode, Failover, FailoverPolicy, Http, HttpMode, KVClusterSpec,
    Memcached, MemcachedMode, Memory, Resp, User,
};
pub use config::KvConfig;
pub use layout::Layout;
#[cfg(feature = "crd")]
pub use namespace::KVNamespace;
pub use namespace::{
    Entry, Eviction, EvictionPolicy, KVNamespaceSpec, KVNamespaceStatus, Match, Quota, Ttl,
};
pub use status::{AdoptState, Endpoint, FailoverRecord, FollowerState, KVClusterStatus, Shard};
