//! A point-in-time view of all keys, written while commands go on.
//!
//! Every entry has a parity bit. `snapshot_begin` flips the machine's: entries whose bit differs have
//! not been seen. The walk sees them group by group; a change of an unseen key first puts its old
//! value aside. So the sink gets each key once, as it was at `snapshot_begin`.

use std::collections::VecDeque;

use super::Machine;
use crate::keyspace::object::{Object, ValueRef};
use crate::keyspace::raw::{Entry, Remains};
use crate::namespaces::Class;

/// Takes the keys of a snapshot.
pub trait SnapshotSink {
    /// One key as it was when the snapshot began. Cache keys come too: the sink decides.
    fn entry(
        &mut self,
        db: u16,
        key: &[u8],
        expire_ms: Option<i64>,
        value: ValueRef<'_>,
        class: Class,
    );
}

/// A snapshot under way.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// Old values of keys changed before they were seen, with their database at the beginning.
    kept: VecDeque<(u16, Entry)>,
    kept_bytes: usize,
    /// Databases emptied before they were seen.
    emptied: Vec<(u16, Remains)>,
}

impl Snapshot {
    pub(super) fn keep(&mut self, snapshot_db: u16, entry: Entry) {
        self.kept_bytes += entry.heap_bytes();
        self.kept.push_back((snapshot_db, entry));
    }

    pub(super) fn keep_all(&mut self, snapshot_db: u16, remains: Remains) {
        self.emptied.push((snapshot_db, remains));
    }
}

/// The value of an entry.
pub(super) fn view(entry: &Entry) -> ValueRef<'_> {
    match entry.object() {
        None | Some(Object::Big(_)) => ValueRef::Str(entry.string()),
        Some(Object::Hash(hash)) => ValueRef::Hash(hash),
        Some(Object::List(list)) => ValueRef::List(list),
        Some(Object::Set(set)) => ValueRef::Set(set),
    }
}

impl Machine {
    /// Starts a snapshot of all keys as they are now. One that is under way is given up.
    pub fn snapshot_begin(&mut self) {
        if self.snapshot.is_some() {
            self.snapshot_abort();
        }
        self.parity = !self.parity;
        for (number, database) in self.databases.iter_mut().enumerate() {
            database.snapshot_db = number as u16;
            database.snapshot_cursor = Some(0);
        }
        self.snapshot = Some(Snapshot::default());
    }

    /// Whether a snapshot is under way.
    pub fn is_snapshotting(&self) -> bool {
        self.snapshot.is_some()
    }

    /// Bytes put aside for the snapshot. The server steps the snapshot before it goes on when this
    /// grows beyond what it allows.
    pub fn snapshot_backlog_bytes(&self) -> usize {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.kept_bytes)
    }

    /// Gives about `budget_keys` keys to the sink; true once it has had all of them. Values put
    /// aside come first and all at once.
    pub fn snapshot_step(&mut self, budget_keys: usize, sink: &mut dyn SnapshotSink) -> bool {
        let Some(mut snapshot) = self.snapshot.take() else { return true };
        let mut seen = 0;
        while let Some((db, entry)) = snapshot.kept.pop_front() {
            self.show(db, &entry, sink);
            self.garbage.take_entry(entry);
            seen += 1;
        }
        snapshot.kept_bytes = 0;
        while seen < budget_keys {
            let Some((db, mut remains)) = snapshot.emptied.pop() else { break };
            let done = remains.step(1, &mut |entry| {
                if entry.parity() != self.parity {
                    self.show(db, &entry, sink);
                    seen += 1;
                }
            });
            if !done {
                snapshot.emptied.push((db, remains));
            }
        }
        let walked = self.walk_databases(budget_keys.saturating_sub(seen), sink);
        if walked && snapshot.emptied.is_empty() {
            return true;
        }
        self.snapshot = Some(snapshot);
        false
    }

    /// Walks unseen keys; true once all databases are through.
    fn walk_databases(&mut self, budget_keys: usize, sink: &mut dyn SnapshotSink) -> bool {
        let mut left = budget_keys;
        let parity = self.parity;
        let namespaces = &self.namespaces;
        for database in &mut self.databases {
            while let Some(cursor) = database.snapshot_cursor {
                if left == 0 {
                    return false;
                }
                left -= 1;
                let db = database.snapshot_db;
                let next = database.table.scan_mut(cursor, &mut |entry| {
                    if entry.parity() != parity {
                        entry.set_parity(parity);
                        let space = namespaces.lookup(db, entry.key());
                        let class = namespaces.get(space).rules.class;
                        sink.entry(db, entry.key(), entry.expire_ms(), view(entry), class);
                        left = left.saturating_sub(1);
                    }
                });
                database.snapshot_cursor = (next != 0).then_some(next);
            }
        }
        true
    }

    fn show(&self, db: u16, entry: &Entry, sink: &mut dyn SnapshotSink) {
        let space = self.namespaces.lookup(db, entry.key());
        let class = self.namespaces.get(space).rules.class;
        sink.entry(db, entry.key(), entry.expire_ms(), view(entry), class);
    }

    /// Gives a running snapshot up.
    pub fn snapshot_abort(&mut self) {
        if self.snapshot.take().is_none() {
            return;
        }
        let parity = self.parity;
        for database in &mut self.databases {
            while let Some(cursor) = database.snapshot_cursor {
                let next = database.table.scan_mut(cursor, &mut |entry| entry.set_parity(parity));
                database.snapshot_cursor = (next != 0).then_some(next);
            }
        }
    }
}
