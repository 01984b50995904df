//! What every engine must do alike, for the tests of this crate and of those that have an engine.
//!
//! [`conformance!`](crate::conformance) makes a test of each promise; [`model::agrees_with_its_twin`]
//! holds random commits against the twin in memory; [`books`] are what crash tests keep.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub mod books;
mod checkpoints;
pub mod conformance;
pub mod model;
mod watch;

use std::any::Any;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Check, Commit, Epoch, ManualClock, MemoryStores, Options, Pair, ShardId, Store, StoreError,
    Stores, TenantId, Version, Write,
};

/// Whose data the suite writes.
pub const TENANT: TenantId = TenantId(7);
/// The shard that most of it writes.
pub const SHARD: ShardId = ShardId(3);

/// Makes an engine without data.
pub type Make<'a> = &'a dyn Fn(Options) -> Fixture;

/// An engine with a clock in the hands of the test.
#[derive(Debug)]
pub struct Fixture {
    pub stores: Box<dyn Stores>,
    pub clock: Arc<ManualClock>,
    /// What must live as long: a folder, a server.
    pub held: Box<dyn Held>,
}

/// Whatever a fixture holds.
pub trait Held: Any + Send + Sync + std::fmt::Debug {}

impl<T: Any + Send + Sync + std::fmt::Debug> Held for T {}

impl Fixture {
    /// The twin in memory.
    pub fn memory(options: Options) -> Self {
        let clock = Arc::new(ManualClock::default());
        let stores = Box::new(MemoryStores::new(options, clock.clone()));
        Self { stores, clock, held: Box::new(()) }
    }

    pub fn open(&self, epoch: u64) -> Arc<dyn Store> {
        self.try_open(epoch).unwrap()
    }

    pub fn try_open(&self, epoch: u64) -> Result<Arc<dyn Store>, StoreError> {
        self.stores.open(TENANT, SHARD, Epoch(epoch))
    }
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub fn put(key: &str, value: &str) -> Write {
    Write::Put(bytes(key), bytes(value))
}

pub fn commit(
    store: &Arc<dyn Store>,
    checks: Vec<Check>,
    writes: Vec<Write>,
    read_version: Version,
) -> Result<Version, StoreError> {
    store.commit(Commit { read_version, checks, writes, idempotency: None }).wait()
}

pub fn write(store: &Arc<dyn Store>, writes: Vec<Write>) -> Version {
    commit(store, Vec::new(), writes, Version(0)).unwrap()
}

pub fn get(store: &Arc<dyn Store>, key: &str) -> Option<Bytes> {
    store.snapshot().unwrap().get(&[key.as_bytes()]).unwrap().remove(0)
}

pub fn all(store: &Arc<dyn Store>) -> Vec<Pair> {
    store.snapshot().unwrap().scan(b"", b"", false, usize::MAX).unwrap()
}

pub fn keys(pairs: Vec<Pair>) -> Vec<String> {
    pairs.into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect()
}

/// A number different in every run.
pub fn fresh_seed() -> u64 {
    RandomState::new().hash_one(0)
}
