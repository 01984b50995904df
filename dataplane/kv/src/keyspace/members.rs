//! Fields or members in an index of their own: the large form of hashes and sets.

use super::hasher::{KeyHasher, Random};
use super::raw::{Entry, Kind, Remains, Table};

/// Byte strings, each with a (possibly empty) value.
#[derive(Debug)]
pub struct Members {
    table: Table,
    /// Heap bytes of the entries, without the index.
    bytes: usize,
}

impl Members {
    /// An empty collection.
    pub fn new(hasher: KeyHasher) -> Self {
        Self { table: Table::new(hasher), bytes: 0 }
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.bytes + self.table.index_bytes()
    }

    /// Makes room for `items` members at once.
    pub fn reserve(&mut self, items: usize) {
        self.table.reserve(items);
    }

    /// The value of `name`.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.table.find(self.table.hasher().hash(name), name).map(Entry::string)
    }

    /// Sets the value of `name`; true if it is new.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        let hash = self.table.hasher().hash(name);
        if let Some(entry) = self.table.find_mut(hash, name) {
            let before = entry.heap_bytes();
            entry.set_inline(Kind::Raw, value, None);
            self.bytes = self.bytes + entry.heap_bytes() - before;
            return false;
        }
        let entry = Entry::inline(Kind::Raw, name, value, None);
        self.bytes += entry.heap_bytes();
        self.table.insert(hash, entry);
        true
    }

    /// Removes `name`; false if it was not there.
    pub fn remove(&mut self, name: &[u8]) -> bool {
        let hash = self.table.hasher().hash(name);
        match self.table.remove(hash, name) {
            Some(entry) => {
                self.bytes -= entry.heap_bytes();
                true
            }
            None => false,
        }
    }

    /// All members with their values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.table.iter().map(|entry| (entry.key(), entry.string()))
    }

    /// A uniformly chosen member with its value.
    pub fn random(&self, random: &mut Random) -> Option<(&[u8], &[u8])> {
        self.table.random(&mut || random.bits()).map(|entry| (entry.key(), entry.string()))
    }

    /// Visits the members a cursor stands for and returns the next cursor, 0 at the end.
    pub fn scan(&self, cursor: u64, each: &mut dyn FnMut(&[u8], &[u8])) -> u64 {
        self.table.scan(cursor, &mut |entry| each(entry.key(), entry.string()))
    }

    /// The members as something that can be dropped piecemeal.
    pub fn into_remains(self) -> Remains {
        self.table.into_remains()
    }
}

impl Clone for Members {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.table.hasher());
        copy.reserve(self.len());
        for (name, value) in self.iter() {
            copy.set(name, value);
        }
        copy
    }
}
