//! The twin in memory: the same promises but for durability, with the plainest code that keeps them.
//!
//! It must share no code with the committer that decides anything: tests hold the two against each
//! other. Every version of a key that a snapshot may need is kept, and that a key was ever written
//! is never forgotten, so memory grows with the keys ever used.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;

use crate::checkpoint::{self, Input, Part};
use crate::commit::IdempotencyKey;
use crate::feed::Feed;
use crate::row::{Row, bounds};
use crate::store::{Expired, Pair};
use crate::{
    Check, Clock, Commit, Epoch, Options, ShardId, Snapshot, Store, StoreError, Stores, TenantId,
    Ticket, Version, Watch, Write,
};

/// Shards in memory. They live as long as this does.
#[derive(Debug)]
pub struct MemoryStores {
    shards: Mutex<HashMap<(TenantId, ShardId), Shard>>,
    options: Options,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default)]
struct Shard {
    epoch: Epoch,
    state: Arc<Mutex<State>>,
    open: Weak<()>,
}

impl MemoryStores {
    /// No shards yet.
    pub fn new(options: Options, clock: Arc<dyn Clock>) -> Self {
        Self { shards: Mutex::default(), options, clock }
    }
}

impl Stores for MemoryStores {
    fn open(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let shard = shards.entry((tenant, shard)).or_default();
        if shard.open.strong_count() > 0 {
            return Err(StoreError::unavailable("the shard is in use"));
        }
        if epoch < shard.epoch {
            return Err(StoreError::Fenced { held: shard.epoch, asked: epoch });
        }
        shard.epoch = epoch;
        let open = Arc::new(());
        shard.open = Arc::downgrade(&open);
        let state = Arc::clone(&shard.state);
        // Reads from before this opening cannot be checked, as with every other engine.
        let mut locked = lock(&state);
        if locked.is_broken {
            return Err(StoreError::corrupt("loading a checkpoint into it did not end"));
        }
        locked.opened_at = locked.version;
        let feed = Arc::new(Feed::new(locked.version, self.options.feed_bytes_max));
        locked.feed = Some(Arc::clone(&feed));
        drop(locked);
        Ok(Arc::new(MemoryStore {
            state,
            options: self.options,
            clock: self.clock.clone(),
            feed,
            open,
        }))
    }

    fn restore(
        &self,
        tenant: TenantId,
        shard: ShardId,
        epoch: Epoch,
        from: &mut dyn Read,
    ) -> Result<Arc<dyn Store>, StoreError> {
        let store = self.open(tenant, shard, epoch)?;
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = shards.get(&(tenant, shard)) else {
            return Err(StoreError::unavailable("the shard is gone"));
        };
        let loaded = lock(&found.state).load(from);
        drop(shards);
        loaded?;
        drop(store);
        self.open(tenant, shard, epoch)
    }

    fn options(&self) -> &Options {
        &self.options
    }
}

/// The versions of one key, oldest first; `None` for a removal.
type Chain = Vec<(u64, Option<Row>)>;

#[derive(Debug, Default)]
struct State {
    chains: BTreeMap<Bytes, Chain>,
    version: u64,
    opened_at: u64,
    receipts: Vec<(IdempotencyKey, u64)>,
    /// Of this opening.
    feed: Option<Arc<Feed>>,
    /// Versions that snapshots read, with how many do.
    pinned: BTreeMap<u64, usize>,
    /// Loading a checkpoint into it did not end.
    is_broken: bool,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A commit changes the state only after nothing in it can fail.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn row_at(chain: &Chain, version: u64) -> Option<&Row> {
    let newest = chain.iter().rev().find(|(written, _)| *written <= version);
    newest.and_then(|(_, row)| row.as_ref())
}

impl State {
    fn load(&mut self, from: &mut dyn Read) -> Result<(), StoreError> {
        if self.version > 0 || !self.chains.is_empty() {
            return Err(StoreError::invalid("the shard is not empty"));
        }
        let (mut input, version) = Input::open(from)?;
        self.is_broken = true;
        while let Some(part) = input.next()? {
            match part {
                Part::Receipt(receipt) => self.receipts.push(receipt),
                Part::Row(key, row) => {
                    self.chains.insert(key, vec![(version.0, Some(row))]);
                }
            }
        }
        self.receipts.sort_by_key(|(_, version)| *version);
        self.version = version.0;
        self.is_broken = false;
        Ok(())
    }

    fn changed_at(&self, key: &[u8]) -> u64 {
        self.chains.get(key).and_then(|chain| chain.last()).map_or(0, |(version, _)| *version)
    }

    fn value(&self, key: &[u8], now_us: i64) -> Option<&Bytes> {
        let row = row_at(self.chains.get(key)?, self.version)?;
        row.is_live(now_us).then_some(&row.value)
    }

    fn holds(&self, check: &Check, read: u64, now_us: i64) -> bool {
        match check {
            Check::Key(key) => read >= self.opened_at && self.changed_at(key) <= read,
            Check::Range(from, to) => bounds(from, to).is_none_or(|range| {
                let mut keys = self.chains.range::<[u8], _>(range);
                read >= self.opened_at && keys.all(|(key, _)| self.changed_at(key) <= read)
            }),
            Check::Absent(key) => self.value(key, now_us).is_none(),
            Check::Equals(key, value) => self.value(key, now_us) == Some(value),
        }
    }

    fn commit(
        &mut self,
        commit: &Commit,
        now_us: i64,
        options: &Options,
    ) -> Result<u64, StoreError> {
        if let Some(wanted) = commit.idempotency
            && let Some((_, version)) = self.receipts.iter().find(|(key, _)| *key == wanted)
        {
            return Ok(*version);
        }
        let read = commit.read_version.0;
        if read > self.version {
            return Err(StoreError::invalid("it was read at a version that does not exist"));
        }
        if !commit.checks.iter().all(|check| self.holds(check, read, now_us)) {
            return Err(StoreError::Conflict);
        }
        let version = self.version + 1;
        let mut change = BTreeMap::new();
        for write in &commit.writes {
            self.write(write, version, now_us, options, &mut change)?;
        }
        self.version = version;
        let oldest = self.pinned.keys().next().copied().unwrap_or(version);
        if let Some(feed) = &self.feed {
            feed.publish(vec![(version, change.clone())]);
        }
        for (key, row) in change {
            let chain = self.chains.entry(key).or_default();
            chain.push((version, row));
            let needed = chain.iter().rposition(|(written, _)| *written <= oldest).unwrap_or(0);
            chain.drain(..needed);
        }
        if let Some(key) = commit.idempotency {
            self.receipts.push((key, version));
            let surplus = self.receipts.len().saturating_sub(options.receipts_max);
            self.receipts.drain(..surplus);
        }
        Ok(version)
    }

    fn write(
        &self,
        write: &Write,
        version: u64,
        now_us: i64,
        options: &Options,
        change: &mut BTreeMap<Bytes, Option<Row>>,
    ) -> Result<(), StoreError> {
        let current = |key: &Bytes, change: &BTreeMap<Bytes, Option<Row>>| {
            let stored = || row_at(self.chains.get(key)?, self.version).cloned();
            change.get(key).cloned().unwrap_or_else(stored)
        };
        let number = |key: &Bytes, change: &BTreeMap<Bytes, Option<Row>>| {
            let Some(row) = current(key, change).filter(|row| row.is_live(now_us)) else {
                return Ok(([0; 8], None));
            };
            match <[u8; 8]>::try_from(&row.value[..]) {
                Ok(number) => Ok((number, row.until_us)),
                Err(_) => Err(StoreError::invalid("a number is not 8 bytes")),
            }
        };
        match write {
            Write::Put(key, value) => {
                change.insert(key.clone(), Some(Row { value: value.clone(), until_us: None }));
            }
            Write::PutUntil(key, value, until_us) => {
                let row = Row { value: value.clone(), until_us: Some(*until_us) };
                change.insert(key.clone(), Some(row));
            }
            Write::Delete(key) => {
                change.insert(key.clone(), None);
            }
            Write::DeleteExpired(key) => {
                if current(key, change).is_some_and(|row| !row.is_live(now_us)) {
                    change.insert(key.clone(), None);
                }
            }
            Write::DeleteRange(from, to) => {
                let stored = self.chains.keys().chain(change.keys());
                let mut keys: Vec<Bytes> = stored
                    .filter(|key| *key >= from && (to.is_empty() || *key < to))
                    .filter(|key| current(key, change).is_some())
                    .cloned()
                    .collect();
                keys.sort();
                keys.dedup();
                let max = options.delete_range_rows_max;
                if keys.len() > max {
                    let what = "rows of a deleted range";
                    return Err(StoreError::TooLarge { what, found: max + 1, max });
                }
                change.extend(keys.into_iter().map(|key| (key, None)));
            }
            Write::Add(key, delta) => {
                let (old, until_us) = number(key, change)?;
                let sum = i64::from_be_bytes(old)
                    .checked_add(*delta)
                    .ok_or_else(|| StoreError::invalid("a number overflows"))?;
                let value = Bytes::copy_from_slice(&sum.to_be_bytes());
                change.insert(key.clone(), Some(Row { value, until_us }));
            }
            Write::Max(key, at_least) => {
                let (old, until_us) = number(key, change)?;
                let max = u64::from_be_bytes(old).max(*at_least);
                let value = Bytes::copy_from_slice(&max.to_be_bytes());
                change.insert(key.clone(), Some(Row { value, until_us }));
            }
            Write::PutVersioned { prefix, value } => {
                let key = Bytes::from([&prefix[..], &version.to_be_bytes()].concat());
                change.insert(key, Some(Row { value: value.clone(), until_us: None }));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryStore {
    state: Arc<Mutex<State>>,
    options: Options,
    clock: Arc<dyn Clock>,
    feed: Arc<Feed>,
    open: Arc<()>,
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.feed.close();
    }
}

impl Store for MemoryStore {
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let mut state = lock(&self.state);
        let version = state.version;
        *state.pinned.entry(version).or_default() += 1;
        drop(state);
        Ok(Box::new(MemorySnapshot {
            state: Arc::clone(&self.state),
            version,
            now_us: self.clock.wall_us(),
            _open: Arc::clone(&self.open),
        }))
    }

    fn commit(&self, commit: Commit) -> Ticket {
        let answer = commit.validate(&self.options).and_then(|()| {
            lock(&self.state).commit(&commit, self.clock.wall_us(), &self.options).map(Version)
        });
        Ticket::ready(answer)
    }

    fn watch(&self, prefix: &[u8], from: Version) -> Watch {
        self.feed.watch(prefix, from)
    }

    fn durable(&self) -> Version {
        Version(lock(&self.state).version)
    }
}

#[derive(Debug)]
struct MemorySnapshot {
    state: Arc<Mutex<State>>,
    version: u64,
    now_us: i64,
    _open: Arc<()>,
}

impl Drop for MemorySnapshot {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(readers) = state.pinned.get_mut(&self.version) {
            *readers -= 1;
            if *readers == 0 {
                state.pinned.remove(&self.version);
            }
        }
    }
}

impl MemorySnapshot {
    fn live(&self, chain: &Chain) -> Option<Bytes> {
        let row = row_at(chain, self.version).filter(|row| row.is_live(self.now_us));
        row.map(|row| row.value.clone())
    }
}

impl Snapshot for MemorySnapshot {
    fn version(&self) -> Version {
        Version(self.version)
    }

    fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let state = lock(&self.state);
        let value = |key: &&[u8]| state.chains.get(*key).and_then(|chain| self.live(chain));
        Ok(keys.iter().map(value).collect())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let Some(range) = bounds(from, to) else { return Ok(Vec::new()) };
        let state = lock(&self.state);
        let rows = state.chains.range::<[u8], _>(range);
        let live = |(key, chain): (&Bytes, &Chain)| Some((key.clone(), self.live(chain)?));
        Ok(if reverse {
            rows.rev().filter_map(live).take(limit).collect()
        } else {
            rows.filter_map(live).take(limit).collect()
        })
    }

    fn save(&self, to: &mut dyn io::Write) -> Result<(), StoreError> {
        let state = lock(&self.state);
        let shown = |(_, version): &&(IdempotencyKey, u64)| *version <= self.version;
        let receipts: Vec<_> = state.receipts.iter().filter(shown).copied().collect();
        checkpoint::write(to, self.version, &receipts, |visit| {
            for (key, chain) in &state.chains {
                if let Some(row) = row_at(chain, self.version)
                    && !visit(key.clone(), row.clone())
                {
                    break;
                }
            }
            Ok(())
        })
    }

    fn expired(&self, from: &[u8], rows_max: usize) -> Result<Expired, StoreError> {
        let state = lock(&self.state);
        let rows = state.chains.range::<[u8], _>((Bound::Included(from), Bound::Unbounded));
        let mut stored = rows.filter_map(|(key, chain)| Some((key, row_at(chain, self.version)?)));
        let looked_at: Vec<_> = stored.by_ref().take(rows_max).collect();
        let dead = looked_at.iter().filter(|(_, row)| !row.is_live(self.now_us));
        let keys = dead.map(|(key, _)| (*key).clone()).collect();
        Ok(Expired { keys, next: stored.next().map(|(key, _)| key.clone()) })
    }
}
