//! Memory in use, the limits on it, and eviction of cache keys to stay below them.

use super::{Key, Machine};
use crate::commands::fail::{Fail, OUT_OF_MEMORY};
use crate::eviction::{Name, S3Fifo, Standing};
use crate::keyspace::raw::Entry;
use crate::namespaces::{Class, Eviction};

/// Which cache keys may go when `maxmemory` is reached. Keys of durable classes never go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemoryPolicy {
    /// None: commands that may grow memory are refused.
    #[default]
    NoEviction,
    /// All cache keys.
    AllKeys,
    /// Cache keys that have a deadline.
    Volatile,
}

impl MemoryPolicy {
    /// By the value of Redis' `maxmemory-policy`. LRU, LFU and random all mean S3-FIFO here.
    pub fn from_redis_name(name: &str) -> Option<Self> {
        match name {
            "noeviction" => Some(Self::NoEviction),
            "allkeys-lru" | "allkeys-lfu" | "allkeys-random" => Some(Self::AllKeys),
            "volatile-lru" | "volatile-lfu" | "volatile-random" | "volatile-ttl" => {
                Some(Self::Volatile)
            }
            _ => None,
        }
    }
}

/// Keys evicted at most for one command; what is over the limit then is left to the next ones.
const EVICTIONS_PER_COMMAND: usize = 1000;
/// Names looked at before a search for a victim is given up.
const TRIES_PER_EVICTION: usize = 4096;
/// Queues shorter than this are not tidied.
const NAMES_FREE: usize = 1024;

/// Books and limits.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Bytes of all entries.
    entry_bytes: i64,
    /// 0 = no limit.
    limit_bytes: u64,
    policy: MemoryPolicy,
    /// Queues per namespace number; empty while nothing is limited.
    queues: Vec<S3Fifo>,
}

impl Memory {
    #[inline]
    pub(super) fn account(&mut self, bytes: i64) {
        self.entry_bytes += bytes;
    }

    pub(super) fn clear(&mut self) {
        self.entry_bytes = 0;
        self.queues.iter_mut().for_each(|queue| *queue = S3Fifo::default());
    }

    #[inline]
    pub(super) fn is_limited(&self) -> bool {
        self.limit_bytes != 0
    }

    #[inline]
    pub(super) fn is_counting_uses(&self) -> bool {
        !self.queues.is_empty()
    }
}

impl Machine {
    /// Bytes of all entries and indexes.
    pub fn used_bytes(&self) -> u64 {
        let index: usize = self.databases.iter().map(super::Database::index_bytes).sum();
        self.memory.entry_bytes.max(0) as u64 + index as u64
    }

    /// Sets `maxmemory` (0 = none) and what may be evicted to stay below it.
    pub fn set_memory_limit(&mut self, limit_bytes: u64, policy: MemoryPolicy) {
        self.memory.limit_bytes = limit_bytes;
        self.memory.policy = policy;
        self.fill_queues();
    }

    /// Makes the queues if anything is limited, with all cache keys in them, or drops them.
    pub(super) fn fill_queues(&mut self) {
        let limited = |rules: &crate::namespaces::NamespaceRules| {
            rules.class == Class::Cache && rules.memory_bytes_max.is_some()
        };
        let global = self.memory.is_limited() && self.memory.policy != MemoryPolicy::NoEviction;
        self.memory.queues = Vec::new();
        if !global && !self.namespaces.iter().any(|space| limited(&space.rules)) {
            return;
        }
        let mut queues: Vec<S3Fifo> = Vec::new();
        queues.resize_with(self.namespaces.iter().count(), S3Fifo::default);
        for (db, database) in self.databases.iter().enumerate() {
            let hasher = database.table.hasher();
            for entry in database.table.iter() {
                let space = self.namespaces.lookup(db as u16, entry.key());
                if self.namespaces.get(space).rules.class == Class::Cache {
                    queues[usize::from(space)].insert((database.id, hasher.hash(entry.key())));
                }
            }
        }
        self.memory.queues = queues;
    }

    /// A key was added: cache keys enter their queue.
    #[inline]
    pub(super) fn enqueue(&mut self, key: &Key<'_>) {
        if self.memory.queues.is_empty() || self.namespaces.is_durable(key.space) {
            return;
        }
        let name = (self.database(key.db).id, key.hash);
        let keys = self.namespaces.get(key.space).keys as usize;
        let queue = &mut self.memory.queues[usize::from(key.space)];
        queue.insert(name);
        if queue.len() > keys.saturating_mul(2) + NAMES_FREE {
            let databases = &self.databases;
            queue.tidy(&mut |name| find(databases, name).is_some());
        }
    }

    /// Whether `maxmemory` is set.
    #[inline]
    pub fn is_memory_limited(&self) -> bool {
        self.memory.is_limited()
    }

    /// Whether a command that takes memory may run; evicts what may go to make it so.
    pub fn has_room(&mut self) -> bool {
        self.make_room().is_ok()
    }

    /// Evicts until the whole machine is below `maxmemory`, before a command that may grow it.
    pub(super) fn make_room(&mut self) -> Result<(), Fail> {
        for _ in 0..EVICTIONS_PER_COMMAND {
            if self.used_bytes() <= self.memory.limit_bytes {
                return Ok(());
            }
            if self.memory.policy == MemoryPolicy::NoEviction {
                return Err(OUT_OF_MEMORY);
            }
            let mut spaces: Vec<u16> = (0..self.memory.queues.len() as u16).collect();
            spaces.retain(|space| !self.namespaces.is_durable(*space));
            spaces.sort_by_key(|space| std::cmp::Reverse(self.namespaces.get(*space).used_bytes));
            let volatile = self.memory.policy == MemoryPolicy::Volatile;
            if !spaces.into_iter().any(|space| self.evict(space, volatile)) {
                return Err(OUT_OF_MEMORY);
            }
        }
        Ok(())
    }

    /// Evicts until the namespace is below its quota, before a command that may grow it.
    pub(super) fn make_room_in(&mut self, space: u16) -> Result<(), Fail> {
        let Some(limit) = self.namespaces.get(space).rules.memory_bytes_max else {
            return Ok(());
        };
        for _ in 0..EVICTIONS_PER_COMMAND {
            let namespace = self.namespaces.get(space);
            if namespace.used_bytes < limit {
                return Ok(());
            }
            let rules = &namespace.rules;
            let may_evict = rules.class == Class::Cache && rules.eviction != Eviction::None;
            if !may_evict || !self.evict(space, false) {
                let name = &self.namespaces.get(space).rules.name;
                return Err(Fail::owned(format!("QUOTA memory ns={name} limit={limit}")));
            }
        }
        Ok(())
    }

    /// Evicts one key of a cache namespace; false if there is none that may go.
    fn evict(&mut self, space: u16, volatile_only: bool) -> bool {
        if self.namespaces.get(space).rules.eviction == Eviction::None {
            return false;
        }
        let Some(queue) = self.memory.queues.get_mut(usize::from(space)) else { return false };
        let databases = std::cell::RefCell::new(&mut self.databases);
        let victim = queue.choose(
            TRIES_PER_EVICTION,
            &mut |name| match find(&databases.borrow(), name) {
                None => Standing::Gone,
                Some((_, entry)) if volatile_only && entry.expire_ms().is_none() => {
                    Standing::Exempt
                }
                Some((_, entry)) => Standing::Used(entry.uses()),
            },
            &mut |name| {
                let mut databases = databases.borrow_mut();
                let found = find(&databases, name).map(|(db, entry)| (db, entry.key().to_vec()));
                if let Some((db, key)) = found
                    && let Some(entry) = databases[db].table.find_mut(name.1, &key)
                {
                    entry.set_uses(entry.uses().saturating_sub(1));
                }
            },
        );
        let Some(name) = victim else { return false };
        let found = find(&self.databases, name).map(|(db, entry)| (db, entry.key().to_vec()));
        let Some((db, victim)) = found else { return false };
        let key = self.key_in(db as u16, &victim);
        self.stats.evicted_keys += 1;
        self.delete_as_command(&key)
    }
}

fn find(databases: &[super::Database], name: Name) -> Option<(usize, &Entry)> {
    let db = databases.iter().position(|database| database.id == name.0)?;
    let entry = databases[db].table.find_by_hash(name.1, &|_| true)?;
    Some((db, entry))
}
