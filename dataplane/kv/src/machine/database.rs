//! One numbered database.

use crate::keyspace::hasher::KeyHasher;
use crate::keyspace::raw::{Entry, Table};

/// The keys of one database.
#[derive(Debug)]
pub struct Database {
    /// Stays with the keys when databases are swapped; timers and queues name databases by it.
    pub(super) id: u16,
    pub(super) table: Table,
    /// Keys with a deadline.
    pub(super) expires: usize,
    /// Number of the database in the running snapshot.
    pub(super) snapshot_db: u16,
    /// Where the running snapshot goes on; none once it has seen all keys.
    pub(super) snapshot_cursor: Option<u64>,
}

impl Database {
    pub(super) fn new(id: u16, hasher: KeyHasher) -> Self {
        let table = Table::new(hasher);
        Self { id, table, expires: 0, snapshot_db: id, snapshot_cursor: None }
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Number of keys with a deadline.
    pub fn expires(&self) -> usize {
        self.expires
    }

    /// Bytes of the index, without the entries.
    pub fn index_bytes(&self) -> usize {
        self.table.index_bytes()
    }

    /// All entries, expired ones included, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.table.iter()
    }

    /// Visits the entries a cursor stands for; returns the next cursor, 0 at the end.
    pub(crate) fn scan(&self, cursor: u64, each: &mut dyn FnMut(&Entry)) -> u64 {
        self.table.scan(cursor, each)
    }
}
