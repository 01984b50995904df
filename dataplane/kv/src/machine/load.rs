//! Filling a machine from a snapshot.

use super::Machine;
use super::write::string_kind;
use crate::keyspace::object::{Object, Value};
use crate::keyspace::raw::Entry;

impl Machine {
    /// Adds a key read from a snapshot, replacing one of that name. No effect is written. False if
    /// there is no such database.
    pub fn load(&mut self, db: u16, name: &[u8], expire_ms: Option<i64>, value: Value) -> bool {
        if usize::from(db) >= self.databases.len() {
            return false;
        }
        let key = self.key_in(db, name);
        let object = match value {
            Value::Str(bytes) => {
                let place = self.database(db).table.place(key.hash, name);
                self.put_string(&key, place, string_kind(&bytes), &bytes, expire_ms);
                return true;
            }
            Value::Hash(hash) => Object::Hash(hash),
            Value::List(list) => Object::List(list),
            Value::Set(set) => Object::Set(set),
        };
        if !object.is_empty() {
            self.delete(&key);
            self.insert(&key, Entry::boxed(name, object, expire_ms));
        }
        true
    }

    /// Makes room for `keys` keys in a database at once, before loading.
    pub fn reserve(&mut self, db: u16, keys: usize) {
        if let Some(database) = self.databases.get_mut(usize::from(db)) {
            database.table.reserve(keys);
        }
    }
}
