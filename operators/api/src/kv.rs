//! The key-value service: engine `KVCluster`, declared object `KVNamespace`, and the configuration
//! file a process of the engine starts with.

pub mod acl;
pub mod class;
pub mod cluster;
pub mod config;
pub mod namespace;

pub use class::Class;
#[cfg(feature = "crd")]
pub use cluster::KVCluster;
pub use cluster::{
    Adopt, AdoptState, Auth, ClusterMode, Endpoint, Failover, FailoverPolicy, FailoverRecord,
    FollowerState, Journal, JournalBackend, KVClusterSpec, KVClusterStatus, Memcached,
    MemcachedMode, Memory, Resp, Shard, User,
};
pub use config::KvConfig;
#[cfg(feature = "crd")]
pub use namespace::KVNamespace;
pub use namespace::{
    Entry, Eviction, EvictionPolicy, KVNamespaceSpec, KVNamespaceStatus, Match, Quota, Ttl,
};
