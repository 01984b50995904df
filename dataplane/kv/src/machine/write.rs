//! Changing keys. Every command and every replayed effect ends in one of these functions, which
//! preserve the old value for a running snapshot, keep the accounts and register deadlines.

use super::{Key, Machine};
use crate::commands::fail::{Fail, WRONG_TYPE};
use crate::commands::number::parse_i64;
use crate::effects::{Op, Writer};
use crate::keyspace::hash::HashObject;
use crate::keyspace::list::ListObject;
use crate::keyspace::object::Object;
use crate::keyspace::raw::{Entry, Kind, Place};
use crate::keyspace::set::SetObject;
use crate::keyspace::thresholds::Building;

/// Longer strings get a buffer of their own.
const INLINE_BYTES_MAX: usize = 4096;
/// Strings that grow in place get a buffer of their own from here on, so that growth is amortised.
const GROWING_INLINE_BYTES_MAX: usize = 256;
/// Longest string that `OBJECT ENCODING` calls `embstr`.
const EMBSTR_BYTES_MAX: usize = 44;

/// A value that is changed in place.
pub trait Collection: Default {
    /// This kind of value, if the object is one.
    fn from_object(object: &Object) -> Option<&Self>;
    /// As `from_object`, to be changed.
    fn from_object_mut(object: &mut Object) -> Option<&mut Self>;
    /// The value as an object.
    fn into_object(self) -> Object;
}

macro_rules! collection {
    ($type:ty, $variant:ident) => {
        impl Collection for $type {
            fn from_object(object: &Object) -> Option<&Self> {
                if let Object::$variant(value) = object { Some(value) } else { None }
            }
            fn from_object_mut(object: &mut Object) -> Option<&mut Self> {
                if let Object::$variant(value) = object { Some(value) } else { None }
            }
            fn into_object(self) -> Object {
                Object::$variant(self)
            }
        }
    };
}
collection!(HashObject, Hash);
collection!(ListObject, List);
collection!(SetObject, Set);

/// The kind of a string set as a whole (`tryObjectEncoding`).
#[inline]
pub(crate) fn string_kind(value: &[u8]) -> Kind {
    if value.len() <= 20 && parse_i64(value).is_some() {
        Kind::Int
    } else if value.len() <= EMBSTR_BYTES_MAX {
        Kind::Embstr
    } else {
        Kind::Raw
    }
}

fn string_entry(kind: Kind, key: &[u8], value: &[u8], expire_ms: Option<i64>) -> Entry {
    if value.len() > INLINE_BYTES_MAX {
        Entry::boxed(key, Object::Big(value.to_vec()), expire_ms)
    } else {
        Entry::inline(kind, key, value, expire_ms)
    }
}

impl Machine {
    /// Starts an effect on a durable key; none for caches and while replaying.
    #[inline]
    pub(crate) fn effect(&mut self, key: &Key<'_>, op: Op) -> Option<Writer<'_>> {
        if self.replaying || !self.namespaces.is_durable(key.space) {
            return None;
        }
        self.pending.note(key.mark(), self.position);
        self.gate = self.gate.max(self.position);
        Some(Writer::start(&mut self.effects, op, key.db, key.name))
    }

    /// A durable key was changed by an effect that names another key.
    pub(crate) fn note_change(&mut self, key: &Key<'_>) {
        if !self.replaying && self.namespaces.is_durable(key.space) {
            self.pending.note(key.mark(), self.position);
        }
    }

    /// Writes effects that rebuild the value at the key.
    pub(crate) fn write_value(&mut self, key: &Key<'_>) {
        if let Some(place) = self.locate(key) {
            let copy = self.entry(key, place).duplicate();
            self.write_whole(key, &copy);
        }
    }

    /// The command is done with this key: writes the deadline a new key was given, tells watchers.
    #[inline]
    pub(crate) fn changed(&mut self, key: &Key<'_>) {
        if let Some(at) = self.new_deadline_ms.take()
            && let Some(effect) = self.effect(key, Op::Expire)
        {
            _ = effect.deadline(Some(at));
        }
        self.signal_modified(key);
    }

    /// The deadline a key gets that is written as a whole.
    #[inline]
    pub(crate) fn deadline_for(
        &self,
        key: &Key<'_>,
        asked_ms: Option<i64>,
    ) -> Result<Option<i64>, Fail> {
        if key.space == 0 || self.replaying {
            return Ok(asked_ms);
        }
        self.namespaces.deadline(key.space, asked_ms, self.now_ms)
    }

    /// Keeps the old value for a running snapshot that has not seen it.
    #[inline]
    fn preserve(&mut self, key: &Key<'_>, place: Place) {
        if let Some(snapshot) = self.snapshot.as_mut() {
            let database = &mut self.databases[usize::from(key.db)];
            let entry = database.table.at_mut(place);
            if entry.parity() != self.parity {
                snapshot.keep(database.snapshot_db, entry.duplicate());
                entry.set_parity(self.parity);
            }
        }
    }

    /// Books a change of an entry's size.
    #[inline]
    fn account(&mut self, space: u16, bytes: i64, keys: i64) {
        self.memory.account(bytes);
        self.namespaces.account(space, bytes, keys);
    }

    /// Adds an entry under a key that is not there.
    pub(crate) fn insert(&mut self, key: &Key<'_>, mut entry: Entry) {
        entry.set_parity(self.parity);
        entry.set_clock(self.clock);
        let expire_ms = entry.expire_ms();
        self.account(key.space, entry.heap_bytes() as i64, 1);
        let database = self.database_mut(key.db);
        database.table.insert(key.hash, entry);
        if let Some(at) = expire_ms {
            database.expires += 1;
            self.set_timer(key, at);
        }
        self.enqueue(key);
    }

    /// Takes the key's entry out of the index and the books.
    pub(crate) fn detach(&mut self, key: &Key<'_>) -> Option<Entry> {
        let database = self.database_mut(key.db);
        let entry = database.table.remove(key.hash, key.name)?;
        if entry.expire_ms().is_some() {
            database.expires -= 1;
        }
        self.account(key.space, -(entry.heap_bytes() as i64), -1);
        Some(entry)
    }

    /// Deletes the key; the old value goes to the snapshot or to the garbage.
    pub(crate) fn delete(&mut self, key: &Key<'_>) -> bool {
        let Some(entry) = self.detach(key) else { return false };
        self.discard(key.db, entry);
        true
    }

    /// Gives an entry that left the index to the snapshot if it must see it, else drops it.
    pub(crate) fn discard(&mut self, db: u16, entry: Entry) {
        if let Some(snapshot) = self.snapshot.as_mut()
            && entry.parity() != self.parity
        {
            snapshot.keep(self.databases[usize::from(db)].snapshot_db, entry);
            return;
        }
        self.garbage.take_entry(entry);
    }

    /// Deletes the key as the result of a command: with effect and signal.
    pub(crate) fn delete_as_command(&mut self, key: &Key<'_>) -> bool {
        let deleted = self.delete(key);
        if deleted {
            _ = self.effect(key, Op::Delete);
            self.signal_modified(key);
        }
        deleted
    }

    /// Sets the key to a string as a whole. `place` is where the key is, if it exists.
    pub(crate) fn put_string(
        &mut self,
        key: &Key<'_>,
        place: Option<Place>,
        kind: Kind,
        value: &[u8],
        expire_ms: Option<i64>,
    ) {
        let Some(place) = place else {
            return self.insert(key, string_entry(kind, key.name, value, expire_ms));
        };
        self.preserve(key, place);
        let clock = self.clock;
        let database = &mut self.databases[usize::from(key.db)];
        let entry = database.table.at_mut(place);
        let before = entry.heap_bytes();
        let old_expire_ms = entry.expire_ms();
        if let Some(object) = entry.take_object() {
            self.garbage.take_object(object);
        }
        if value.len() > INLINE_BYTES_MAX {
            entry.set_object(Object::Big(value.to_vec()), expire_ms);
        } else {
            entry.set_inline(kind, value, expire_ms);
        }
        entry.set_clock(clock);
        let bytes = entry.heap_bytes() as i64 - before as i64;
        self.account(key.space, bytes, 0);
        self.deadline_changed(key, old_expire_ms, expire_ms);
    }

    /// Sets the key to a string and writes the effect: what SET and its kin do.
    #[inline]
    pub(crate) fn set_string(
        &mut self,
        key: &Key<'_>,
        place: Option<Place>,
        value: &[u8],
        expire_ms: Option<i64>,
    ) -> Result<(), Fail> {
        self.set_string_as(key, place, string_kind(value), value, expire_ms)
    }

    /// As [`Self::set_string`], with a kind other than the usual one.
    pub(crate) fn set_string_as(
        &mut self,
        key: &Key<'_>,
        place: Option<Place>,
        kind: Kind,
        value: &[u8],
        expire_ms: Option<i64>,
    ) -> Result<(), Fail> {
        let expire_ms = self.deadline_for(key, expire_ms)?;
        self.put_string(key, place, kind, value, expire_ms);
        if let Some(effect) = self.effect(key, Op::SetString) {
            _ = effect.byte(kind as u8).deadline(expire_ms).bytes(value);
        }
        self.signal_modified(key);
        Ok(())
    }

    /// Overwrites part of a string that exists, growing it with zero bytes as needed.
    pub(crate) fn put_range(&mut self, key: &Key<'_>, place: Place, offset: usize, bytes: &[u8]) {
        self.preserve(key, place);
        let clock = self.clock;
        let entry = self.databases[usize::from(key.db)].table.at_mut(place);
        let before = entry.heap_bytes();
        let expire_ms = entry.expire_ms();
        let len = entry.string().len().max(offset + bytes.len());
        if let Some(Object::Big(buffer)) = entry.object_mut() {
            overwrite(buffer, offset, bytes);
        } else if len == entry.string().len() && entry.kind() == Kind::Raw {
            entry.inline_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
        } else {
            let mut buffer = Vec::with_capacity(len);
            buffer.extend_from_slice(entry.string());
            overwrite(&mut buffer, offset, bytes);
            if len > GROWING_INLINE_BYTES_MAX {
                entry.set_object(Object::Big(buffer), expire_ms);
            } else {
                entry.set_inline(Kind::Raw, &buffer, expire_ms);
            }
        }
        entry.set_clock(clock);
        let bytes = entry.heap_bytes() as i64 - before as i64;
        self.account(key.space, bytes, 0);
    }

    /// Sets or clears the deadline of a key that exists.
    pub(crate) fn put_deadline(&mut self, key: &Key<'_>, place: Place, expire_ms: Option<i64>) {
        self.preserve(key, place);
        let entry = self.databases[usize::from(key.db)].table.at_mut(place);
        let before = entry.heap_bytes();
        let old = entry.expire_ms();
        entry.set_expire_ms(expire_ms);
        let bytes = entry.heap_bytes() as i64 - before as i64;
        self.account(key.space, bytes, 0);
        self.deadline_changed(key, old, expire_ms);
    }

    fn deadline_changed(&mut self, key: &Key<'_>, old: Option<i64>, new: Option<i64>) {
        let database = self.database_mut(key.db);
        match (old, new) {
            (None, Some(_)) => database.expires += 1,
            (Some(_), None) => database.expires -= 1,
            _ => {}
        }
        // A timer that fires too early finds the later deadline and is set again.
        if let Some(at) = new
            && old.is_none_or(|old| at < old)
        {
            self.set_timer(key, at);
        }
    }

    /// Changes the collection at the key, which is made if `create` says so and deleted if it ends
    /// up empty. Returns what `change` returns, none if there is no key.
    pub(crate) fn edit<T: Collection, R>(
        &mut self,
        key: &Key<'_>,
        create: bool,
        change: impl FnOnce(&mut T, &Building) -> R,
    ) -> Result<Option<R>, Fail> {
        let place = match self.locate(key) {
            Some(place) => place,
            None if !create => return Ok(None),
            None => self.make::<T>(key)?,
        };
        if self.entry(key, place).object().and_then(T::from_object).is_none() {
            return Err(WRONG_TYPE);
        }
        self.preserve(key, place);
        let clock = self.clock;
        let building = self.building;
        let entry = self.databases[usize::from(key.db)].table.at_mut(place);
        entry.set_clock(clock);
        let Some(object) = entry.object_mut() else { return Err(WRONG_TYPE) };
        let before = object.heap_bytes();
        let Some(collection) = T::from_object_mut(object) else { return Err(WRONG_TYPE) };
        let result = change(collection, &building);
        let (after, empty) = (object.heap_bytes(), object.is_empty());
        self.account(key.space, after as i64 - before as i64, 0);
        if empty {
            self.new_deadline_ms = None;
            self.delete(key);
        }
        Ok(Some(result))
    }

    /// Adds an empty collection, with the deadline the namespace asks for.
    fn make<T: Collection>(&mut self, key: &Key<'_>) -> Result<Place, Fail> {
        let expire_ms = self.deadline_for(key, None)?;
        self.new_deadline_ms = expire_ms;
        self.insert(key, Entry::boxed(key.name, T::default().into_object(), expire_ms));
        match self.database(key.db).table.place(key.hash, key.name) {
            Some(place) => Ok(place),
            None => unreachable!("the key was inserted just now"),
        }
    }

    /// Puts an entry under the key, replacing what was there. With effects that rebuild it.
    pub(crate) fn replace(&mut self, key: &Key<'_>, entry: Entry) {
        self.delete(key);
        self.write_whole(key, &entry);
        self.insert(key, entry);
        self.signal_modified(key);
    }

    /// Writes effects that rebuild the whole value under the key.
    pub(super) fn write_whole(&mut self, key: &Key<'_>, entry: &Entry) {
        let expire_ms = entry.expire_ms();
        if entry.kind().is_string() {
            if let Some(effect) = self.effect(key, Op::SetString) {
                let kind = if entry.kind() == Kind::Big { Kind::Raw } else { entry.kind() };
                _ = effect.byte(kind as u8).deadline(expire_ms).bytes(entry.string());
            }
            return;
        }
        if self.effect(key, Op::Delete).is_none() {
            return;
        }
        match entry.object() {
            Some(Object::Hash(hash)) => {
                if let Some(effect) = self.effect(key, Op::HashSet) {
                    effect.all(hash.len(), hash.iter().flat_map(|(f, v)| [f, v]));
                }
            }
            Some(Object::List(list)) => {
                if let Some(effect) = self.effect(key, Op::ListPush) {
                    effect.byte(1).all(list.len(), list.iter());
                }
            }
            Some(Object::Set(set)) => {
                if let Some(effect) = self.effect(key, Op::SetAdd) {
                    let mut effect = Some(effect.number(set.len() as u64));
                    set.each(&mut |member| {
                        effect = effect.take().map(|effect| effect.bytes(member));
                        true
                    });
                }
            }
            _ => {}
        }
        if expire_ms.is_some()
            && let Some(effect) = self.effect(key, Op::Expire)
        {
            _ = effect.deadline(expire_ms);
        }
    }
}

fn overwrite(buffer: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if end > buffer.len() {
        if offset == buffer.len() {
            buffer.extend_from_slice(bytes);
            return;
        }
        buffer.resize(end, 0);
    }
    buffer[offset..end].copy_from_slice(bytes);
}
