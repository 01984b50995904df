//! WATCH: which sessions wait for which keys to change.
//!
//! Semantics of Redis 7.0: a key that was already expired when it was watched does not count as
//! changed when it is deleted for that reason; one that expires while watched does.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::{Key, Machine, Session};

type WatchedKey = (u16, Box<[u8]>);

/// All watched keys.
#[derive(Debug, Default)]
pub(super) struct Watches {
    /// Watching sessions, and whether the key was expired at that time.
    by_key: HashMap<WatchedKey, Vec<(u64, bool)>, FixedState>,
    by_session: HashMap<u64, Watching, FixedState>,
}

#[derive(Debug, Default)]
struct Watching {
    keys: Vec<WatchedKey>,
    dirty: bool,
}

impl Watches {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// The key was changed; `exists` says whether it is there now.
    pub(super) fn changed(&mut self, db: u16, key: &[u8], exists: bool) {
        let Some(watchers) = self.by_key.get_mut(&(db, Box::from(key))) else { return };
        for (session, expired) in watchers {
            if *expired && !exists {
                *expired = false;
            } else if let Some(watching) = self.by_session.get_mut(session) {
                watching.dirty = true;
            }
        }
    }

    /// Watched keys of a database.
    pub(super) fn keys_of(&self, db: u16) -> Vec<Box<[u8]>> {
        let keys = self.by_key.keys().filter(|(of, _)| *of == db);
        keys.map(|(_, key)| key.clone()).collect()
    }
}

impl Machine {
    /// The session wants to know whether `name` changes.
    pub fn watch(&mut self, session: &Session, name: &[u8]) {
        let watched: WatchedKey = (session.db, Box::from(name));
        let watching = self.watches.by_session.entry(session.id).or_default();
        if watching.keys.contains(&watched) {
            return;
        }
        watching.keys.push(watched.clone());
        let expired = self.is_expired_now(session.db, name);
        self.watches.by_key.entry(watched).or_default().push((session.id, expired));
    }

    /// The session does not want to know any more (UNWATCH, EXEC, DISCARD, end of connection).
    pub fn unwatch(&mut self, session: &Session) {
        let Some(watching) = self.watches.by_session.remove(&session.id) else { return };
        for watched in watching.keys {
            if let Some(watchers) = self.watches.by_key.get_mut(&watched) {
                watchers.retain(|(id, _)| *id != session.id);
                if watchers.is_empty() {
                    self.watches.by_key.remove(&watched);
                }
            }
        }
    }

    /// Whether the session watches any key.
    pub fn is_watching(&self, session: &Session) -> bool {
        self.watches.by_session.contains_key(&session.id)
    }

    /// Whether a key the session watches was changed or has expired since.
    pub fn is_dirty(&self, session: &Session) -> bool {
        let Some(watching) = self.watches.by_session.get(&session.id) else { return false };
        watching.dirty
            || watching.keys.iter().any(|watched| {
                let watchers = self.watches.by_key.get(watched);
                let was_expired = watchers
                    .and_then(|all| all.iter().find(|(id, _)| *id == session.id))
                    .is_some_and(|(_, expired)| *expired);
                !was_expired && self.is_expired_now(watched.0, &watched.1)
            })
    }

    /// Whether the key is there although its deadline has passed.
    fn is_expired_now(&self, db: u16, name: &[u8]) -> bool {
        let hash = self.building.hasher.hash(name);
        let entry = self.databases[usize::from(db)].table.find(hash, name);
        entry.and_then(crate::keyspace::raw::Entry::expire_ms).is_some_and(|at| at <= self.now_ms)
    }

    /// The one place every change of a key goes through.
    #[inline]
    pub(crate) fn signal_modified(&mut self, key: &Key<'_>) {
        self.stats.modifications += 1;
        if !self.watches.is_empty() {
            let exists = self.database(key.db).table.place(key.hash, key.name).is_some();
            self.watches.changed(key.db, key.name, exists);
        }
        self.make_ready(key);
    }
}
