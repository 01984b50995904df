//! The first peer: fjall as its documentation shows it, each client a batch and a sync of its own.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::clients::{Key, VALUE};

pub struct Naive {
    database: Database,
    rows: Keyspace,
}

impl Naive {
    pub fn open(folder: &Path) -> Result<Self, String> {
        let open = || {
            let database = Database::builder(folder).open()?;
            let rows = database.keyspace("rows", KeyspaceCreateOptions::default)?;
            Ok(Self { database, rows })
        };
        open().map_err(|error: fjall::Error| error.to_string())
    }

    pub fn commit(&self, key: &Key) -> Result<(), String> {
        let mut batch = self.database.batch();
        batch.insert(&self.rows, &key[..], &VALUE[..]);
        let committed = batch.commit().and_then(|()| self.database.persist(PersistMode::SyncAll));
        committed.map_err(|error| error.to_string())
    }
}
