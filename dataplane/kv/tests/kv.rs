//! The engine as its clients meet it: real processes, real sockets.

#[path = "kv/adopt.rs"]
mod adopt;
#[path = "kv/archive.rs"]
mod archive;
#[path = "kv/backlog.rs"]
mod backlog;
#[path = "kv/books.rs"]
mod books;
#[path = "kv/carried.rs"]
mod carried;
#[path = "kv/cluster.rs"]
mod cluster;
#[path = "kv/crash.rs"]
mod crash;
#[path = "kv/disk_full.rs"]
mod disk_full;
#[path = "kv/fence.rs"]
mod fence;
#[path = "kv/histories.rs"]
mod histories;
#[path = "kv/hostile.rs"]
mod hostile;
#[path = "kv/management.rs"]
mod management;
#[path = "kv/pipeline.rs"]
mod pipeline;
#[path = "kv/poisoned.rs"]
mod poisoned;
#[path = "kv/process.rs"]
mod process;
#[path = "kv/replica.rs"]
mod replica;
#[path = "kv/replication.rs"]
mod replication;
#[path = "kv/session.rs"]
mod session;
#[path = "kv/snapshot.rs"]
mod snapshot;
#[path = "kv/tls.rs"]
mod tls;
#[path = "kv/users.rs"]
mod users;
#[path = "kv/waiting.rs"]
mod waiting;
#[path = "kv/watch.rs"]
mod watch;
