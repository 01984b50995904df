//! A hash over all durable keys that does not depend on their order or on any seed.

use super::Machine;
use super::snapshot::view;
use crate::keyspace::hasher::KeyHasher;
use crate::keyspace::object::ValueRef;

/// Combines a hash with the next one, depending on the order.
fn then(hash: u64, next: u64) -> u64 {
    (hash ^ next).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) ^ next
}

/// Hash of a value; fields and members count in no order.
fn value_hash(hasher: KeyHasher, value: ValueRef<'_>) -> u64 {
    match value {
        ValueRef::Str(bytes) => then(1, hasher.hash(bytes)),
        ValueRef::Hash(hash) => hash
            .iter()
            .map(|(field, value)| then(then(2, hasher.hash(field)), hasher.hash(value)))
            .fold(2, u64::wrapping_add),
        ValueRef::List(list) => list.iter().map(|element| hasher.hash(element)).fold(3, then),
        ValueRef::Set(set) => {
            let mut sum = 4_u64;
            set.each(&mut |member| {
                sum = sum.wrapping_add(then(4, hasher.hash(member)));
                true
            });
            sum
        }
    }
}

impl Machine {
    /// A hash over the durable keys whose deadline has not passed: equal for machines that hold
    /// the same.
    pub fn digest(&self) -> u64 {
        let hasher = KeyHasher::new(0);
        let mut sum = 0_u64;
        for (db, database) in self.databases.iter().enumerate() {
            for entry in database.table.iter() {
                let space = self.namespaces.lookup(db as u16, entry.key());
                let expired = entry.expire_ms().is_some_and(|at| at <= self.now_ms);
                if expired || !self.namespaces.is_durable(space) {
                    continue;
                }
                let key = then(db as u64, hasher.hash(entry.key()));
                let deadline = entry.expire_ms().unwrap_or(i64::MIN) as u64;
                let whole = then(then(key, deadline), value_hash(hasher, view(entry)));
                sum = sum.wrapping_add(whole);
            }
        }
        sum
    }
}
