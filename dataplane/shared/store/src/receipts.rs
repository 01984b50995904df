//! Which idempotency keys were committed, and as which version. Bounded by count: the oldest are
//! forgotten, so a caller must not try again for longer than that many commits.

use std::collections::{HashMap, VecDeque};

use crate::commit::IdempotencyKey;

/// A commit that was carried out under a key.
pub type Receipt = (IdempotencyKey, u64);

#[derive(Debug)]
pub(crate) struct Receipts {
    versions: HashMap<IdempotencyKey, u64>,
    order: VecDeque<IdempotencyKey>,
    max: usize,
}

impl Receipts {
    /// `stored` in any order, at most as many as were kept before.
    pub(crate) fn new(mut stored: Vec<Receipt>, max: usize) -> Self {
        stored.sort_unstable_by_key(|(_, version)| *version);
        let order = stored.iter().map(|(key, _)| *key).collect();
        Self { versions: stored.into_iter().collect(), order, max }
    }

    pub(crate) fn get(&self, key: &IdempotencyKey) -> Option<u64> {
        self.versions.get(key).copied()
    }

    /// Remembers a key that was not known; gives those it forgets for it.
    pub(crate) fn add(&mut self, key: IdempotencyKey, version: u64) -> Vec<IdempotencyKey> {
        self.versions.insert(key, version);
        self.order.push_back(key);
        let mut forgotten = Vec::new();
        while self.order.len() > self.max {
            let Some(oldest) = self.order.pop_front() else { break };
            self.versions.remove(&oldest);
            forgotten.push(oldest);
        }
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_by_version_are_forgotten_first() {
        let mut receipts = Receipts::new(vec![([2; 16], 8), ([1; 16], 7)], 2);
        assert_eq!(receipts.add([3; 16], 9), vec![[1; 16]]);
        assert_eq!(receipts.get(&[1; 16]), None);
        assert_eq!(receipts.get(&[2; 16]), Some(8));
        assert_eq!(receipts.get(&[3; 16]), Some(9));
    }
}
