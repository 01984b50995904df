//! Finding keys: lazy expiry, gating of what is not durable yet, access marks.

use super::{Database, Key, Machine, Session};
use crate::commands::fail::{Fail, WRONG_TYPE};
use crate::keyspace::hasher::Random;
use crate::keyspace::raw::{Entry, Place};
use crate::keyspace::thresholds::Building;
use crate::machine::write::Collection;

impl Machine {
    /// Looks up once what there is to know about a key before it is searched.
    #[inline]
    pub(crate) fn key<'a>(&self, session: &Session, name: &'a [u8]) -> Key<'a> {
        self.key_in(session.db, name)
    }

    /// As [`Self::key`], in any database.
    #[inline]
    pub(crate) fn key_in<'a>(&self, db: u16, name: &'a [u8]) -> Key<'a> {
        let hash = self.building.hasher.hash(name);
        Key { db, space: self.namespaces.lookup(db, name), hash, name }
    }

    #[inline]
    pub(crate) fn database(&self, db: u16) -> &Database {
        &self.databases[usize::from(db)]
    }

    #[inline]
    pub(super) fn database_mut(&mut self, db: u16) -> &mut Database {
        &mut self.databases[usize::from(db)]
    }

    pub(crate) fn building(&self) -> Building {
        self.building
    }

    /// A generator of its own for one command.
    pub(crate) fn fork_random(&mut self) -> Random {
        Random::new(self.random.bits())
    }

    /// The gate of the running command includes the last change of this key.
    #[inline]
    fn gate_on(&mut self, key: &Key<'_>) {
        if !self.pending.is_empty() {
            self.gate = self.gate.max(self.pending.gate(key.mark()));
        }
    }

    /// The command reads all keys: its gate includes every change.
    pub(crate) fn gate_on_all(&mut self) {
        self.gate = self.gate.max(self.pending.gate_all());
    }

    /// The gate of whoever reads all keys without being a command of the machine.
    pub(crate) fn gate_of_all(&self) -> u64 {
        self.pending.gate_all()
    }

    /// Where the key is. A key whose deadline has passed is deleted instead.
    #[inline]
    pub(crate) fn locate(&mut self, key: &Key<'_>) -> Option<Place> {
        self.gate_on(key);
        let table = &self.databases[usize::from(key.db)].table;
        let place = table.place(key.hash, key.name)?;
        if let Some(at) = table.at(place).expire_ms()
            && self.has_passed(at)
            && !self.replaying
        {
            if !self.expiry_held {
                self.delete_expired(key);
            }
            return None;
        }
        Some(place)
    }

    /// The entry at a place just found.
    #[inline]
    pub(crate) fn entry(&self, key: &Key<'_>, place: Place) -> &Entry {
        self.databases[usize::from(key.db)].table.at(place)
    }

    /// The key's entry, without counting as a use.
    #[inline]
    pub(crate) fn peek(&mut self, key: &Key<'_>) -> Option<&Entry> {
        let place = self.locate(key)?;
        Some(self.entry(key, place))
    }

    /// The key's entry, as a use: hits and misses are counted, access marks set, sliding deadlines
    /// extended.
    #[inline]
    pub(crate) fn read(&mut self, key: &Key<'_>) -> Option<&Entry> {
        let Some(place) = self.locate(key) else {
            self.stats.keyspace_misses += 1;
            return None;
        };
        self.stats.keyspace_hits += 1;
        self.mark_used(key, place);
        Some(self.entry(key, place))
    }

    #[inline]
    pub(crate) fn mark_used(&mut self, key: &Key<'_>, place: Place) {
        if key.space != 0 {
            self.slide(key, place);
        }
        let clock = self.clock;
        let counting = self.memory.is_counting_uses();
        let entry = self.databases[usize::from(key.db)].table.at_mut(place);
        if entry.clock() != clock {
            entry.set_clock(clock);
        }
        if counting && entry.uses() < 3 {
            entry.set_uses(entry.uses() + 1);
        }
    }

    /// The name of a key chosen at random, which may have expired.
    pub(crate) fn draw(&mut self, db: u16) -> Option<Vec<u8>> {
        let random = &mut self.random;
        let table = &self.databases[usize::from(db)].table;
        table.random(&mut || random.bits()).map(|entry| entry.key().to_vec())
    }

    /// The string at the key; an error if it holds something else.
    #[inline]
    pub(crate) fn read_string(&mut self, key: &Key<'_>) -> Result<Option<&[u8]>, Fail> {
        match self.read(key) {
            None => Ok(None),
            Some(entry) if entry.kind().is_string() => Ok(Some(entry.string())),
            Some(_) => Err(WRONG_TYPE),
        }
    }

    /// The collection at the key; an error if it holds something else.
    pub(crate) fn read_as<T: Collection>(&mut self, key: &Key<'_>) -> Result<Option<&T>, Fail> {
        match self.read(key) {
            None => Ok(None),
            Some(entry) => entry.object().and_then(T::from_object).map(Some).ok_or(WRONG_TYPE),
        }
    }

    /// The collection at the key, after the key was read: for commands that look at several.
    pub(crate) fn view_as<T: Collection>(&self, key: &Key<'_>) -> Option<&T> {
        let entry = self.database(key.db).table.find(key.hash, key.name)?;
        entry.object().and_then(T::from_object)
    }
}
