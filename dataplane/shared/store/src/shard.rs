//! Shards in folders: a lock, a database, and the thread that commits to it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use crate::committer::{Committer, Shared};
#[cfg(feature = "redb")]
use crate::engine::RedbEngine;
use crate::engine::{Engine, FjallEngine, Folder, View, own};
use crate::feed::Feed;
use crate::queue::{Entry, Queue};
use crate::receipts::Receipts;
use crate::store::Pair;
use crate::{
    Clock, Commit, Epoch, Options, ShardId, Snapshot, Store, StoreError, Stores, TenantId, Ticket,
    Version, Watch,
};

/// Name of the file whose lock keeps other processes out.
const LOCK: &str = "lock";
/// Folder of the database beside it.
const DATABASE: &str = "database";

/// Shards on the local disk, kept by one kind of engine.
#[derive(Debug)]
struct Shards<E> {
    root: PathBuf,
    options: Options,
    clock: Arc<dyn Clock>,
    engine: PhantomData<fn() -> E>,
}

/// The public face of an engine.
macro_rules! stores {
    ($(#[$attribute:meta])* $name:ident, $engine:ty) => {
        $(#[$attribute])*
        #[derive(Debug)]
        pub struct $name(Shards<$engine>);

        impl $name {
            /// Shards below `root`, which is made when the first is opened.
            pub fn new(root: impl Into<PathBuf>, options: Options, clock: Arc<dyn Clock>) -> Self {
                Self(Shards { root: root.into(), options, clock, engine: PhantomData })
            }

            /// The folder of a shard.
            pub fn folder(&self, tenant: TenantId, shard: ShardId) -> PathBuf {
                self.0.folder(tenant, shard)
            }
        }

        impl Stores for $name {
            fn open(
                &self,
                tenant: TenantId,
                shard: ShardId,
                epoch: Epoch,
            ) -> Result<Arc<dyn Store>, StoreError> {
                self.0.open(tenant, shard, epoch)
            }

            fn options(&self) -> &Options {
                &self.0.options
            }
        }
    };
}

stores! {
    /// Shards on the local disk, kept by fjall.
    FjallStores, FjallEngine
}

#[cfg(feature = "redb")]
stores! {
    /// Shards on the local disk, kept by redb.
    RedbStores, RedbEngine
}

impl<E: Folder> Shards<E> {
    fn folder(&self, tenant: TenantId, shard: ShardId) -> PathBuf {
        self.root.join(format!("tenant-{}", tenant.0)).join(format!("shard-{}", shard.0))
    }

    fn open(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let folder = self.folder(tenant, shard);
        make_durably(&folder).map_err(|error| unavailable("make", &folder, &error))?;
        let lock = lock(&folder)?;
        let database = E::open(&folder.join(DATABASE), &self.options)?;
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| unavailable("sync", &folder, &error))?;
        own(&database, tenant, shard, epoch)?;
        let receipts = Receipts::new(database.receipts()?, self.options.receipts_max);
        let version = database.view()?.version();
        let engine = Arc::new(Shared {
            engine: database,
            queue: Queue::new(&self.options),
            feed: Arc::new(Feed::new(version, self.options.feed_bytes_max)),
            clock: Arc::clone(&self.clock),
            options: self.options,
            durable: AtomicU64::new(version),
        });
        let committer = Committer::new(Arc::clone(&engine), receipts);
        let thread = thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| StoreError::unavailable(error.to_string()))?;
        Ok(Arc::new(OpenStore {
            thread: Some(thread),
            open: Arc::new(Open { engine, _lock: lock }),
        }))
    }
}

/// What must not be gone while anyone reads. The lock goes last.
#[derive(Debug)]
struct Open<E> {
    engine: Arc<Shared<E>>,
    _lock: Lock,
}

#[derive(Debug)]
struct OpenStore<E: Engine> {
    thread: Option<JoinHandle<()>>,
    open: Arc<Open<E>>,
}

impl<E: Engine> Store for OpenStore<E> {
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let shared = &self.open.engine;
        let view = shared.engine.view()?;
        let now_us = shared.clock.wall_us();
        Ok(Box::new(OpenSnapshot { view, now_us, _open: Arc::clone(&self.open) }))
    }

    fn commit(&self, commit: Commit) -> Ticket {
        let shared = &self.open.engine;
        if let Err(error) = commit.validate(&shared.options) {
            return Ticket::ready(Err(error));
        }
        let (reply, ticket) = Ticket::new();
        shared.queue.put(Entry { bytes: commit.bytes(), commit, reply });
        ticket
    }

    fn watch(&self, prefix: &[u8], from: Version) -> Watch {
        self.open.engine.feed.watch(prefix, from)
    }

    fn durable(&self) -> Version {
        Version(self.open.engine.durable.load(Ordering::Acquire))
    }
}

impl<E: Engine> Drop for OpenStore<E> {
    fn drop(&mut self) {
        self.open.engine.queue.close("it was closed");
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer of the store panicked");
        }
    }
}

struct OpenSnapshot<E> {
    view: Box<dyn View>,
    now_us: i64,
    _open: Arc<Open<E>>,
}

impl<E> std::fmt::Debug for OpenSnapshot<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSnapshot")
            .field("version", &self.view.version())
            .finish_non_exhaustive()
    }
}

impl<E: Engine> Snapshot for OpenSnapshot<E> {
    fn version(&self) -> Version {
        Version(self.view.version())
    }

    fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let row = self.view.get(key)?.filter(|row| row.is_live(self.now_us));
            values.push(row.map(|row| row.value));
        }
        Ok(values)
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let mut pairs = Vec::new();
        if limit == 0 {
            return Ok(pairs);
        }
        self.view.walk(from, to, reverse, &mut |key, row| {
            if row.is_live(self.now_us) {
                pairs.push((key, row.value));
            }
            pairs.len() < limit
        })?;
        Ok(pairs)
    }
}

/// Makes a folder and those above it, and their entries durable.
fn make_durably(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        make_durably(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The folder taken for this opening.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that is being started holds a copy until it has begun.
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "failed to unlock a shard; closing it does");
        }
    }
}

fn lock(folder: &Path) -> Result<Lock, StoreError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| unavailable("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::unavailable("the shard is in use")),
        Err(TryLockError::Error(error)) => Err(unavailable("lock", &path, &error)),
    }
}

fn unavailable(action: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::unavailable(format!("failed to {action} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_ends_with_its_owner_though_a_copy_of_the_file_lives() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let copy = held.0.try_clone().unwrap();
        assert!(matches!(lock(folder.path()), Err(StoreError::Unavailable { .. })));
        drop(held);
        assert!(lock(folder.path()).is_ok());
        drop(copy);
    }
}
