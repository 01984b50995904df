//! Deadlines: what happens when one has passed, and the timers that notice.

use super::{Key, Machine};
use crate::effects::Op;
use crate::keyspace::raw::Place;
use crate::namespaces::Class;

/// A timer names its key by database id and hash; what it finds there is checked when it fires.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer {
    database: u16,
    hash: u64,
}

/// Timers beyond this many per key with a deadline are stale ones worth removing.
const TIMERS_PER_KEY_MAX: usize = 4;
/// Below this many timers, stale ones are not worth looking for.
const TIMERS_FREE: usize = 65_536;

impl Machine {
    pub(super) fn set_timer(&mut self, key: &Key<'_>, at_ms: i64) {
        let timer = Timer { database: self.database(key.db).id, hash: key.hash };
        self.wheel.insert(at_ms, timer);
    }

    /// While it is on, keys whose deadlines have passed are gone for readers but not deleted.
    /// Nothing may be written meanwhile (`CLIENT PAUSE`).
    pub fn hold_expiry(&mut self, on: bool) {
        self.expiry_held = on;
    }

    /// While it is on, commands run as they ran elsewhere: no key is gone before a command says so,
    /// whatever the clock here says.
    pub(crate) fn follow_deadlines(&mut self, on: bool) {
        self.deadlines_followed = on;
    }

    /// Whether a deadline has passed for the running command.
    #[inline]
    pub(crate) fn has_passed(&self, at_ms: i64) -> bool {
        at_ms <= self.now_ms && !self.deadlines_followed
    }

    /// Deletes a key whose deadline has passed.
    pub(super) fn delete_expired(&mut self, key: &Key<'_>) {
        self.stats.expired_keys += 1;
        self.delete_as_command(key);
    }

    /// Active expiry: deletes keys whose deadlines have passed, handling at most `budget` timers.
    /// Effects belong to the running batch. Returns how many timers were handled.
    pub fn expire(&mut self, budget: usize) -> usize {
        self.drop_stale_timers();
        let mut fired = Vec::new();
        let worked = self.wheel.advance(self.now_ms, budget, &mut |_, timer| fired.push(timer));
        for timer in fired {
            self.fire(timer);
        }
        worked
    }

    /// When the next timer is due, in milliseconds since the epoch. May be too early, never late.
    pub fn next_deadline_ms(&self) -> Option<i64> {
        self.wheel.next_deadline_ms()
    }

    fn fire(&mut self, timer: Timer) {
        let Some(db) = self.databases.iter().position(|db| db.id == timer.database) else { return };
        let table = &self.databases[db].table;
        let Some(entry) = table.find_by_hash(timer.hash, &|entry| entry.expire_ms().is_some())
        else {
            return;
        };
        let Some(at) = entry.expire_ms() else { return };
        if at > self.now_ms {
            self.wheel.insert(at, timer);
            return;
        }
        let name = entry.key().to_vec();
        let key = self.key_in(db as u16, &name);
        self.delete_expired(&key);
    }

    /// Makes the timers anew when most of them are stale, as after a storm of overwrites.
    fn drop_stale_timers(&mut self) {
        let wanted: usize = self.databases.iter().map(|db| db.expires).sum();
        if self.wheel.len() <= wanted.saturating_mul(TIMERS_PER_KEY_MAX) + TIMERS_FREE {
            return;
        }
        self.wheel = orrery_wheel::Wheel::new(self.now_ms);
        for database in &self.databases {
            let hasher = database.table.hasher();
            for entry in database.table.iter() {
                if let Some(at) = entry.expire_ms() {
                    let hash = hasher.hash(entry.key());
                    self.wheel.insert(at, Timer { database: database.id, hash });
                }
            }
        }
    }

    /// A read of a session key extends its deadline, at most once per second or per 1 % of it.
    pub(super) fn slide(&mut self, key: &Key<'_>, place: Place) {
        let rules = &self.namespaces.get(key.space).rules;
        let (Class::Session, Some(ttl_ms)) = (rules.class, rules.ttl_default_ms) else { return };
        let Some(old) = self.entry(key, place).expire_ms() else { return };
        let new = self.now_ms.saturating_add(ttl_ms);
        let is_due = new.saturating_sub(old) >= (ttl_ms / 100).max(1000);
        if !is_due || self.replaying || self.expiry_held {
            return;
        }
        self.put_deadline(key, place, Some(new));
        // Not through `effect`: readers need not wait for a deadline that only moved away.
        let to = &mut self.effects;
        _ = crate::effects::Writer::start(to, Op::Expire, key.db, key.name).deadline(Some(new));
    }
}
