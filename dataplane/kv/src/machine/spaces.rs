//! Declared namespaces: applying them, and checking commands against their rules.

use super::{Key, Machine, Session};
use crate::commands::fail::Fail;
use crate::commands::{CommandSpec, Flags};
use crate::effects::Op;
use crate::namespaces::{Class, NamespaceRules, Namespaces};

impl Machine {
    /// Declares the full set of namespaces. Keys whose class changes between journalled and not
    /// journalled are written to, or deleted from, the journal by effects of the running batch.
    /// Looks at every key once.
    pub fn set_namespaces(&mut self, default_class: Class, declared: Vec<NamespaceRules>) {
        let new = Namespaces::compile(default_class, declared);
        let old = std::mem::replace(&mut self.namespaces, new);
        let mut crossing = Vec::new();
        for (db, database) in self.databases.iter().enumerate() {
            let db = db as u16;
            for entry in database.table.iter() {
                let name = entry.key();
                let was_durable = old.is_durable(old.lookup(db, name));
                let is_durable = self.namespaces.is_durable(self.namespaces.lookup(db, name));
                if was_durable != is_durable {
                    crossing.push((db, name.to_vec(), is_durable));
                }
            }
        }
        self.recount();
        if self.replaying {
            return;
        }
        for (db, name, is_durable) in crossing {
            let key = self.key_in(db, &name);
            self.cross(&key, is_durable);
        }
    }

    /// As [`Self::set_namespaces`], as read from the journal: what it changes is written there too.
    pub fn replay_namespaces(&mut self, default_class: Class, declared: Vec<NamespaceRules>) {
        self.replaying = true;
        self.set_namespaces(default_class, declared);
        self.replaying = false;
    }

    /// Writes a key that became durable to the journal, or deletes it there.
    fn cross(&mut self, key: &Key<'_>, is_durable: bool) {
        if !is_durable {
            let to = &mut self.effects;
            crate::effects::Writer::start(to, Op::Delete, key.db, key.name);
            return;
        }
        let Some(entry) = self.peek(key).map(crate::keyspace::raw::Entry::duplicate) else {
            return;
        };
        self.write_whole(key, &entry);
    }

    /// Deletes every key that is not journalled. No effect is written. Looks at every key once.
    pub fn drop_caches(&mut self) {
        let mut caches = Vec::new();
        for (db, database) in self.databases.iter().enumerate() {
            for entry in database.table.iter() {
                let space = self.namespaces.lookup(db as u16, entry.key());
                if !self.namespaces.is_durable(space) {
                    caches.push((db as u16, entry.key().to_vec()));
                }
            }
        }
        for (db, name) in caches {
            let key = self.key_in(db, &name);
            self.delete(&key);
        }
    }

    /// The namespaces with what they use.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The class of a key.
    pub fn class_of(&self, db: u16, name: &[u8]) -> Class {
        self.namespaces.get(self.namespaces.lookup(db, name)).rules.class
    }

    /// Checks a command against the rules of the namespaces of its keys.
    pub(super) fn admit(
        &mut self,
        session: &Session,
        spec: &CommandSpec,
        args: &[&[u8]],
    ) -> Result<(), Fail> {
        // Nearly all commands have one key in front: no list of positions for those.
        if spec.first_key == 1 && spec.last_key == 1 {
            return self.admit_key(session, spec, args, 1, true);
        }
        let positions = spec.key_positions(args);
        for (number, at) in positions.into_iter().enumerate() {
            self.admit_key(session, spec, args, at, number == 0)?;
        }
        Ok(())
    }

    /// Checks one key of a command; the first one is charged for it.
    fn admit_key(
        &mut self,
        session: &Session,
        spec: &CommandSpec,
        args: &[&[u8]],
        at: usize,
        charged: bool,
    ) -> Result<(), Fail> {
        let space = self.namespaces.lookup(session.db, args[at]);
        if space == 0 {
            return Ok(());
        }
        if charged {
            self.namespaces.take_token(space, self.now_ms)?;
        }
        if spec.flags.contains(Flags::DENYOOM) {
            for value in &args[at + 1..] {
                self.namespaces.check_value_bytes(space, value.len())?;
            }
            self.make_room_in(space)?;
        }
        Ok(())
    }
}
