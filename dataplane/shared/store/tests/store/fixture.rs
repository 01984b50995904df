//! Engines to test, and short ways to say what is read and written.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use orrery_store::{
    Check, Commit, Epoch, FjallStores, ManualClock, MemoryStores, Options, Pair, ShardId, Store,
    StoreError, Stores, TenantId, Version, Write,
};
use tempfile::TempDir;

pub const TENANT: TenantId = TenantId(7);
pub const SHARD: ShardId = ShardId(3);

/// An engine with a clock in the hands of the test.
#[derive(Debug)]
pub struct Fixture {
    pub stores: Box<dyn Stores>,
    pub clock: Arc<ManualClock>,
    pub folder: Option<TempDir>,
}

impl Fixture {
    pub fn memory(options: Options) -> Self {
        let clock = Arc::new(ManualClock::default());
        let stores = Box::new(MemoryStores::new(options, clock.clone()));
        Self { stores, clock, folder: None }
    }

    pub fn fjall(options: Options) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::default());
        let stores = Box::new(FjallStores::new(folder.path(), options, clock.clone()));
        Self { stores, clock, folder: Some(folder) }
    }

    #[cfg(feature = "redb")]
    pub fn redb(options: Options) -> Self {
        let folder = TempDir::new().unwrap();
        let clock = Arc::new(ManualClock::default());
        let stores = Box::new(orrery_store::RedbStores::new(folder.path(), options, clock.clone()));
        Self { stores, clock, folder: Some(folder) }
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
