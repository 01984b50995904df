//! Rows in redb: one table in one file. A commit syncs by itself.

use std::fmt;
use std::path::Path;

use ::redb::{Database, Durability, ReadOnlyTable, ReadableDatabase as _, TableDefinition};
use bytes::Bytes;

use super::{Batch, Engine, Folder, View, Visit, layout};
use crate::receipts::Receipt;
use crate::row::Row;
use crate::{Options, StoreError};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("rows");
/// Name of the file.
const FILE: &str = "rows.redb";

type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One open database.
pub(crate) struct RedbEngine {
    database: Database,
}

impl fmt::Debug for RedbEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbEngine").finish_non_exhaustive()
    }
}

impl RedbEngine {
    fn table(&self) -> Result<ReadOnlyTable<&'static [u8], &'static [u8]>, ::redb::Error> {
        Ok(self.database.begin_read()?.open_table(TABLE)?)
    }

    /// Sets and removes in one transaction, synced.
    fn write(&self, pairs: Pairs) -> Result<(), ::redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in pairs {
                match value {
                    Some(value) => table.insert(&key[..], &value[..])?,
                    None => table.remove(&key[..])?,
                };
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Folder for RedbEngine {
    fn open(folder: &Path, options: &Options) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| {
            StoreError::unavailable(format!("failed to make a folder: {error}"))
        })?;
        let database = Database::builder()
            .set_cache_size(usize::try_from(options.cache_bytes).unwrap_or(usize::MAX))
            .create(folder.join(FILE))
            .map_err(|error| failed_to("open", &error.into()))?;
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| {
            StoreError::unavailable(format!("failed to sync a folder: {error}"))
        })?;
        let engine = Self { database };
        // Makes the table, so that there is one to read.
        engine.write(Vec::new()).map_err(|error| failed_to("open", &error))?;
        Ok(engine)
    }

    fn meta(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.table().map_err(|error| failed_to("read", &error))?;
        let found = table.get(key).map_err(|error| failed_to("read", &error.into()))?;
        Ok(found.map(|found| found.value().to_vec()))
    }

    fn set_meta(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), StoreError> {
        let pairs = pairs.iter().map(|(key, value)| (key.to_vec(), Some(value.to_vec())));
        self.write(pairs.collect()).map_err(|error| failed_to("write", &error))
    }
}

impl Engine for RedbEngine {
    fn view(&self) -> Result<Box<dyn View>, StoreError> {
        let table = self.table().map_err(|error| failed_to("read", &error))?;
        let found = table.get(layout::VERSION).map_err(|error| failed_to("read", &error.into()))?;
        let version = found.map_or(Ok(0), |found| layout::decode_number(found.value()))?;
        Ok(Box::new(RedbView { table, version }))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        let mut pairs = Pairs::new();
        for (key, row) in batch.rows {
            pairs.push((layout::data_key(&key), row.map(|row| row.encode())));
        }
        for (key, version) in batch.receipts {
            let version = version.map(|version| version.to_be_bytes().to_vec());
            pairs.push((layout::receipt_key(&key), version));
        }
        pairs.push((layout::VERSION.to_vec(), Some(batch.version.to_be_bytes().to_vec())));
        self.write(pairs).map_err(|error| failed_to("write", &error))
    }
}

struct RedbView {
    table: ReadOnlyTable<&'static [u8], &'static [u8]>,
    version: u64,
}

impl View for RedbView {
    fn version(&self) -> u64 {
        self.version
    }

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let found = self.table.get(&layout::data_key(key)[..]);
        let found = found.map_err(|error| failed_to("read", &error.into()))?;
        found.map(|found| Row::decode(found.value())).transpose()
    }

    fn receipts(&self) -> Result<Vec<Receipt>, StoreError> {
        let failed = |error: ::redb::StorageError| failed_to("read", &error.into());
        let mut receipts = Vec::new();
        for pair in self.table.range(layout::RECEIPTS..layout::RECEIPTS_END).map_err(failed)? {
            let (key, version) = pair.map_err(failed)?;
            receipts.push(layout::decode_receipt(key.value(), version.value())?);
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
        let failed = |error: ::redb::StorageError| failed_to("read", &error.into());
        let (begin, end) = layout::data_range(from, to);
        if begin >= end {
            return Ok(());
        }
        let mut rows = self.table.range(&begin[..]..&end[..]).map_err(failed)?;
        while let Some(pair) = if reverse { rows.next_back() } else { rows.next() } {
            let (key, row) = pair.map_err(failed)?;
            let key = Bytes::copy_from_slice(layout::key_of(key.value()));
            if !visit(key, Row::decode(row.value())?) {
                break;
            }
        }
        Ok(())
    }
}

/// Tells damage from a disk that does not serve.
fn failed_to(action: &str, error: &::redb::Error) -> StoreError {
    let reason = format!("failed to {action} the database: {error}");
    match error {
        ::redb::Error::Corrupted(_) => StoreError::Corrupt { reason },
        _ => StoreError::Unavailable { reason },
    }
}
