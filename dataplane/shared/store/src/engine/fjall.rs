//! Rows in fjall: one keyspace, so that no idle keyspace pins journals. What is ours to know stands
//! under the prefix 0, what is the caller's under 1.
//!
//! fjall does not group commits: it must only be written by one committer, in batches that carry
//! their own sync. Only those become visible after they are durable.

use std::fmt;
use std::path::Path;

use ::fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable as _,
};
use bytes::Bytes;

use super::{Batch, Engine, View, Visit};
use crate::commit::IdempotencyKey;
use crate::receipts::Receipt;
use crate::row::Row;
use crate::{Epoch, Options, ShardId, StoreError, TenantId};

const KEYSPACE: &str = "rows";
/// Version of the layout.
const FORMAT: u32 = 1;

const META_IDENTITY: &[u8] = b"\0identity";
const META_EPOCH: &[u8] = b"\0epoch";
const META_VERSION: &[u8] = b"\0version";
const META_RECEIPT: &[u8] = b"\0receipt/";
const META_RECEIPT_END: &[u8] = b"\0receipt0";
const DATA: u8 = 1;

/// fjall's threads for flushes and compaction, per open shard.
const WORKERS: usize = 2;

/// One open database.
pub(crate) struct FjallEngine {
    database: Database,
    rows: Keyspace,
}

impl fmt::Debug for FjallEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallEngine").finish_non_exhaustive()
    }
}

impl FjallEngine {
    /// Opens the database, or makes an empty one.
    pub(crate) fn open(folder: &Path, options: &Options) -> Result<Self, StoreError> {
        let database = Database::builder(folder)
            .cache_size(options.cache_bytes)
            .worker_threads(WORKERS)
            .open()
            .map_err(|error| failed_to("open", &error))?;
        let rows = database
            .keyspace(KEYSPACE, KeyspaceCreateOptions::default)
            .map_err(|error| failed_to("open", &error))?;
        Ok(Self { database, rows })
    }

    /// Takes the shard for `epoch`, durably. Refuses another's shard and a lower epoch.
    pub(crate) fn own(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let mut identity = FORMAT.to_be_bytes().to_vec();
        identity.extend_from_slice(&tenant.0.to_be_bytes());
        identity.extend_from_slice(&shard.0.to_be_bytes());
        let found = self.rows.get(META_IDENTITY).map_err(|error| failed_to("read", &error))?;
        if found.as_ref().is_some_and(|found| found[..] != identity[..]) {
            let reason = "its format, tenant or shard is another than asked for";
            return Err(StoreError::corrupt(reason));
        }
        let held = Epoch(self.number(META_EPOCH)?.unwrap_or(0));
        if epoch < held {
            return Err(StoreError::Fenced { held, asked: epoch });
        }
        let mut batch = self.batch();
        batch.insert(&self.rows, META_IDENTITY, identity);
        batch.insert(&self.rows, META_EPOCH, epoch.0.to_be_bytes());
        batch.commit().map_err(|error| failed_to("raise the epoch of", &error))
    }

    /// All receipts kept.
    pub(crate) fn receipts(&self) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts = Vec::new();
        for guard in self.rows.range(META_RECEIPT..META_RECEIPT_END) {
            let (key, version) = guard.into_inner().map_err(|error| failed_to("read", &error))?;
            let key = <IdempotencyKey>::try_from(&key[META_RECEIPT.len()..])
                .map_err(|_| StoreError::corrupt("a receipt has a key of another length"))?;
            receipts.push((key, decode_number(&version)?));
        }
        Ok(receipts)
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, StoreError> {
        let found = self.rows.get(key).map_err(|error| failed_to("read", &error))?;
        found.map(|found| decode_number(&found)).transpose()
    }

    fn batch(&self) -> OwnedWriteBatch {
        self.database.batch().durability(Some(PersistMode::SyncData))
    }
}

impl Engine for FjallEngine {
    fn view(&self) -> Result<Box<dyn View>, StoreError> {
        let snapshot = self.database.snapshot();
        let found =
            snapshot.get(&self.rows, META_VERSION).map_err(|error| failed_to("read", &error))?;
        let version = found.map_or(Ok(0), |found| decode_number(&found))?;
        Ok(Box::new(FjallView { snapshot, rows: self.rows.clone(), version }))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut write = self.batch();
        for (key, row) in batch.rows {
            match row {
                Some(row) => write.insert(&self.rows, data_key(&key), row.encode()),
                None => write.remove(&self.rows, data_key(&key)),
            }
        }
        for (key, version) in batch.receipts {
            match version {
                Some(version) => {
                    write.insert(&self.rows, receipt_key(&key), version.to_be_bytes());
                }
                None => write.remove(&self.rows, receipt_key(&key)),
            }
        }
        write.insert(&self.rows, META_VERSION, batch.version.to_be_bytes());
        write.commit().map_err(|error| failed_to("write", &error))
    }
}

struct FjallView {
    snapshot: ::fjall::Snapshot,
    rows: Keyspace,
    version: u64,
}

impl View for FjallView {
    fn version(&self) -> u64 {
        self.version
    }

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let found = self.snapshot.get(&self.rows, data_key(key));
        let found = found.map_err(|error| failed_to("read", &error))?;
        found.map(|found| Row::decode(&found)).transpose()
    }

    fn walk(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let end = if to.is_empty() { vec![DATA + 1] } else { data_key(to) };
        let begin = data_key(from);
        if begin >= end {
            return Ok(());
        }
        let mut rows = self.snapshot.range(&self.rows, begin..end);
        while let Some(guard) = if reverse { rows.next_back() } else { rows.next() } {
            let (key, row) = guard.into_inner().map_err(|error| failed_to("read", &error))?;
            if !visit(Bytes::copy_from_slice(&key[1..]), Row::decode(&row)?) {
                break;
            }
        }
        Ok(())
    }
}

fn data_key(key: &[u8]) -> Vec<u8> {
    let mut prefixed = Vec::with_capacity(1 + key.len());
    prefixed.push(DATA);
    prefixed.extend_from_slice(key);
    prefixed
}

fn receipt_key(key: &IdempotencyKey) -> Vec<u8> {
    [META_RECEIPT, key].concat()
}

fn decode_number(encoded: &[u8]) -> Result<u64, StoreError> {
    let bytes = encoded.try_into().map_err(|_| StoreError::corrupt("a number is not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// Tells damage from a disk that does not serve.
fn failed_to(action: &str, error: &::fjall::Error) -> StoreError {
    use ::fjall::Error;
    let reason = format!("failed to {action} the database: {error}");
    match error {
        Error::Storage(_)
        | Error::JournalRecovery(_)
        | Error::InvalidVersion(_)
        | Error::Decompress(_)
        | Error::InvalidTrailer
        | Error::InvalidTag(_)
        | Error::Unrecoverable => StoreError::Corrupt { reason },
        _ => StoreError::Unavailable { reason },
    }
}
