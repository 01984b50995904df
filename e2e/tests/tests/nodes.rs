//! The product on nodes that run pods: installed by its charts, used by kubectl and a Redis client,
//! and losing machines. A binary of its own, because it needs the machine for itself.

#[path = "nodes/faults.rs"]
mod faults;
#[path = "nodes/group.rs"]
mod group;
#[path = "nodes/loss.rs"]
mod loss;
#[path = "common/minio.rs"]
#[expect(dead_code, reason = "a server that comes and goes is another binary's")]
mod minio;
#[path = "common/page.rs"]
mod page;
#[path = "nodes/pools.rs"]
mod pools;
#[path = "nodes/product.rs"]
mod product;
#[path = "nodes/shards.rs"]
mod shards;
#[path = "nodes/time.rs"]
mod time;
#[path = "nodes/user.rs"]
mod user;
