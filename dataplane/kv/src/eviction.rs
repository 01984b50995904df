//! S3-FIFO: which keys of a cache go first.
//!
//! Source: J. Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023). New keys
//! enter a small queue; those used again by the time they reach its end move to the main queue,
//! the others leave, and a ghost queue remembers them: a key that comes back from there enters the
//! main queue at once. Use counters lie in the entries. Queues hold names that may be stale; the
//! owner says what became of a name when it is asked.

use std::collections::{HashSet, VecDeque};

use foldhash::fast::FixedState;

/// A key by database id and hash.
pub type Name = (u16, u64);

/// Share of the keys the small queue may hold: one in ten.
const SMALL_SHARE: usize = 10;

/// What became of a key that reached the end of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is gone: the name is stale.
    Gone,
    /// It is there but may not be evicted.
    Exempt,
    /// It is there and was used so often since it last stood here.
    Used(u8),
}

/// The queues of one namespace.
#[derive(Debug, Default)]
pub struct S3Fifo {
    small: VecDeque<Name>,
    main: VecDeque<Name>,
    ghost: VecDeque<Name>,
    in_ghost: HashSet<Name, FixedState>,
}

impl S3Fifo {
    /// Names in the queues, stale ones included.
    pub fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    /// Whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A key was added.
    pub fn insert(&mut self, name: Name) {
        if self.in_ghost.remove(&name) {
            self.main.push_back(name);
        } else {
            self.small.push_back(name);
        }
    }

    /// Chooses a key to evict. `standing` is asked about names; `lower` is told to lower the use
    /// counter of a key that stays. At most `tries` names are looked at.
    pub fn choose(
        &mut self,
        tries: usize,
        standing: &mut dyn FnMut(Name) -> Standing,
        lower: &mut dyn FnMut(Name),
    ) -> Option<Name> {
        for _ in 0..tries {
            let from_small = self.main.is_empty() || self.small.len() * SMALL_SHARE >= self.len();
            if from_small && let Some(name) = self.small.pop_front() {
                match standing(name) {
                    Standing::Gone => {}
                    Standing::Used(0 | 1) => {
                        self.remember(name);
                        return Some(name);
                    }
                    Standing::Exempt | Standing::Used(_) => self.main.push_back(name),
                }
                continue;
            }
            let name = self.main.pop_front()?;
            match standing(name) {
                Standing::Gone => {}
                Standing::Used(0) => return Some(name),
                Standing::Exempt => self.main.push_back(name),
                Standing::Used(_) => {
                    lower(name);
                    self.main.push_back(name);
                }
            }
        }
        None
    }

    fn remember(&mut self, name: Name) {
        if self.in_ghost.insert(name) {
            self.ghost.push_back(name);
        }
        while self.ghost.len() > self.main.len().max(16) {
            if let Some(old) = self.ghost.pop_front() {
                self.in_ghost.remove(&old);
            }
        }
    }

    /// Removes stale and repeated names.
    pub fn tidy(&mut self, is_there: &mut dyn FnMut(Name) -> bool) {
        let mut seen: HashSet<Name, FixedState> = HashSet::default();
        for queue in [&mut self.main, &mut self.small] {
            queue.retain(|name| seen.insert(*name) && is_there(*name));
            queue.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_used_twice_outlives_a_scan() {
        let mut queues = S3Fifo::default();
        queues.insert((0, 1));
        for hash in 2..100 {
            queues.insert((0, hash));
        }
        let mut standing =
            |name: Name| if name.1 == 1 { Standing::Used(2) } else { Standing::Used(0) };
        for _ in 0..50 {
            let victim = queues.choose(100, &mut standing, &mut |_| {});
            assert!(victim.is_some_and(|name| name.1 != 1), "{victim:?}");
        }
    }

    #[test]
    fn a_key_that_comes_back_enters_the_main_queue() {
        let mut queues = S3Fifo::default();
        queues.insert((0, 1));
        assert_eq!(queues.choose(9, &mut |_| Standing::Used(0), &mut |_| {}), Some((0, 1)));
        queues.insert((0, 1));
        assert_eq!((queues.small.len(), queues.main.len()), (0, 1));
    }

    #[test]
    fn exempt_keys_are_never_chosen_and_the_search_ends() {
        let mut queues = S3Fifo::default();
        (0..10).for_each(|hash| queues.insert((0, hash)));
        assert_eq!(queues.choose(1000, &mut |_| Standing::Exempt, &mut |_| {}), None);
    }
}
