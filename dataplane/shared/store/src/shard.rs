//! Shards in folders: a lock, and a database behind the committer.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "redb")]
use crate::engine::RedbEngine;
use crate::engine::{self, FjallEngine, Folder, Opening, own};
use crate::{Clock, Epoch, Options, ShardId, Store, StoreError, Stores, TenantId};

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
                self.0.open(tenant, shard, epoch, None)
            }

            fn restore(
                &self,
                tenant: TenantId,
                shard: ShardId,
                epoch: Epoch,
                from: &mut dyn Read,
            ) -> Result<Arc<dyn Store>, StoreError> {
                self.0.open(tenant, shard, epoch, Some(from))
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
        load: Option<&mut dyn Read>,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let folder = self.folder(tenant, shard);
        make_durably(&folder).map_err(|error| unavailable("make", &folder, &error))?;
        let lock = lock(&folder)?;
        let database = E::open(&folder.join(DATABASE), &self.options)?;
        File::open(&folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| unavailable("sync", &folder, &error))?;
        own(&database, tenant, shard, epoch)?;
        let (options, clock) = (self.options, Arc::clone(&self.clock));
        engine::serve(database, Opening { options, clock, held: Box::new(lock), load })
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
