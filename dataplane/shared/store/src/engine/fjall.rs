//! Rows in fjall: one keyspace, so that no idle keyspace pins journals.
//!
//! fjall does not group commits: it must only be written by one committer, in batches that carry
//! their own sync. Only those become visible after they are durable.

use std::fmt;
use std::path::Path;

use ::fjall::{
    Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable as _,
};
use bytes::Bytes;

use super::{Batch, Engine, Folder, View, Visit, layout};
use crate::receipts::Receipt;
use crate::row::Row;
use crate::{Options, StoreError};

const KEYSPACE: &str = "rows";

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
    fn batch(&self) -> OwnedWriteBatch {
        self.database.batch().durability(Some(PersistMode::SyncData))
    }
}

impl Folder for FjallEngine {
    fn open(folder: &Path, options: &Options) -> Result<Self, StoreError> {
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

    fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.rows.get(key).map_err(|error| failed_to("read", &error))?;
        Ok(found.map(|found| found.to_vec()))
    }

    fn set_meta(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let mut batch = self.batch();
        for (key, value) in pairs {
            batch.insert(&self.rows, *key, *value);
        }
        batch.commit().map_err(|error| failed_to("write", &error))
    }
}

impl Engine for FjallEngine {
    fn view(&self) -> Result<Box<dyn View>, StoreError> {
        let snapshot = self.database.snapshot();
        let found =
            snapshot.get(&self.rows, layout::VERSION).map_err(|error| failed_to("read", &error))?;
        let version = found.map_or(Ok(0), |found| layout::decode_number(&found))?;
        Ok(Box::new(FjallView { snapshot, rows: self.rows.clone(), version }))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut write = self.batch();
        for (key, row) in batch.rows {
            match row {
                Some(row) => write.insert(&self.rows, layout::data_key(&key), row.encode()),
                None => write.remove(&self.rows, layout::data_key(&key)),
            }
        }
        for (key, version) in batch.receipts {
            match version {
                Some(version) => {
                    write.insert(&self.rows, layout::receipt_key(&key), version.to_be_bytes());
                }
                None => write.remove(&self.rows, layout::receipt_key(&key)),
            }
        }
        write.insert(&self.rows, layout::VERSION, batch.version.to_be_bytes());
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
        let found = self.snapshot.get(&self.rows, layout::data_key(key));
        let found = found.map_err(|error| failed_to("read", &error))?;
        found.map(|found| Row::decode(&found)).transpose()
    }

    fn receipts(&self) -> Result<Vec<Receipt>, StoreError> {
        let mut receipts = Vec::new();
        let found = self.snapshot.range(&self.rows, layout::RECEIPTS..layout::RECEIPTS_END);
        for guard in found {
            let (key, version) = guard.into_inner().map_err(|error| failed_to("read", &error))?;
            receipts.push(layout::decode_receipt(&key, &version)?);
        }
        Ok(receipts)
    }

    fn walk(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        let (begin, end) = layout::data_range(from, to);
        if begin >= end {
            return Ok(());
        }
        let mut rows = self.snapshot.range(&self.rows, begin..end);
        while let Some(guard) = if reverse { rows.next_back() } else { rows.next() } {
            let (key, row) = guard.into_inner().map_err(|error| failed_to("read", &error))?;
            if !visit(Bytes::copy_from_slice(layout::key_of(&key)), Row::decode(&row)?) {
                break;
            }
        }
        Ok(())
    }
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
