//! Emptying and swapping whole databases.

use super::{Database, Machine};
use crate::effects::{Op, Writer};
use crate::keyspace::raw::Table;

impl Machine {
    /// Empties a database; its values are freed later.
    pub(crate) fn flush_database(&mut self, db: u16) {
        self.flush_effect(Op::FlushDatabase, db, None);
        self.empty(db);
        self.book_anew();
    }

    /// Empties all databases.
    pub(crate) fn flush_all(&mut self) {
        self.flush_effect(Op::FlushAll, 0, None);
        for db in 0..self.databases.len() as u16 {
            self.empty(db);
        }
        self.book_anew();
    }

    /// The keys of two databases change places.
    pub(crate) fn swap_databases(&mut self, one: u16, other: u16) {
        self.flush_effect(Op::SwapDatabases, one, Some(other));
        let before: Vec<_> = [one, other]
            .map(|db| self.watches.keys_of(db).into_iter().map(move |key| (db, key)))
            .into_iter()
            .flatten()
            .filter(|(db, key)| self.holds(*db, key) || self.holds(one ^ other ^ *db, key))
            .collect();
        self.databases.swap(usize::from(one), usize::from(other));
        for (db, key) in before {
            let exists = self.holds(db, &key);
            self.watches.changed(db, &key, exists);
        }
        self.stats.modifications += 1;
        if !self.namespaces.is_trivial() {
            self.recount();
        }
    }

    fn holds(&self, db: u16, name: &[u8]) -> bool {
        let hash = self.building.hasher.hash(name);
        self.database(db).table.place(hash, name).is_some()
    }

    fn flush_effect(&mut self, op: Op, db: u16, other: Option<u16>) {
        if self.replaying {
            return;
        }
        let writer = Writer::start(&mut self.effects, op, db, b"");
        if let Some(other) = other {
            _ = writer.number(u64::from(other));
        }
        self.pending.note_all(self.position);
        self.gate = self.gate.max(self.position);
    }

    fn empty(&mut self, db: u16) {
        let watched = self.watches.keys_of(db);
        let gone: Vec<_> = watched.into_iter().filter(|key| self.holds(db, key)).collect();
        let hasher = self.building.hasher;
        self.stats.modifications += self.database(db).len() as u64;
        let database = self.database_mut(db);
        let table = std::mem::replace(&mut database.table, Table::new(hasher));
        database.expires = 0;
        let unseen = database.snapshot_cursor.take().is_some();
        let snapshot_db = database.snapshot_db;
        match self.snapshot.as_mut() {
            Some(snapshot) if unseen => snapshot.keep_all(snapshot_db, table.into_remains()),
            _ => self.garbage.take_index(table.into_remains()),
        }
        for key in gone {
            self.watches.changed(db, &key, false);
        }
    }

    /// Books what is left after databases were emptied.
    fn book_anew(&mut self) {
        if self.databases.iter().all(Database::is_empty) {
            self.memory.clear();
            self.namespaces.clear_accounts();
            self.wheel = orrery_wheel::Wheel::new(self.now_ms);
        } else {
            self.recount();
        }
    }

    /// Counts bytes and keys of all namespaces by looking at every key.
    pub(super) fn recount(&mut self) {
        self.memory.clear();
        self.namespaces.clear_accounts();
        for (db, database) in self.databases.iter().enumerate() {
            for entry in database.table.iter() {
                let space = self.namespaces.lookup(db as u16, entry.key());
                let bytes = entry.heap_bytes() as i64;
                self.memory.account(bytes);
                self.namespaces.account(space, bytes, 1);
            }
        }
        self.fill_queues();
    }
}
