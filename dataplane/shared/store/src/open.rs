//! An open shard: an engine, the thread that commits to it, and what callers see of both.

use std::any::Any;
use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use crate::checkpoint;
use crate::committer::{Committer, Shared};
use crate::engine::{Engine, Row, View};
use crate::feed::Feed;
use crate::queue::{Entry, Queue};
use crate::receipts::Receipts;
use crate::store::{Expired, Pair};
use crate::{Clock, Commit, Options, Snapshot, Store, StoreError, Ticket, Version, Watch};

/// What keeps others out as long as it is there: a lock, an entry in a table.
pub type Held = Box<dyn Any + Send + Sync>;

/// How a shard is opened that its engine has taken.
pub struct Opening<'a> {
    /// Bounds of the store.
    pub options: Options,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Dropped when the store and its snapshots are gone.
    pub held: Held,
    /// A checkpoint to load first, into a shard without rows.
    pub load: Option<&'a mut dyn Read>,
}

impl fmt::Debug for Opening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Puts the committer before an engine that nobody else writes to.
pub fn serve<E: Engine>(engine: E, opening: Opening<'_>) -> Result<Arc<dyn Store>, StoreError> {
    let Opening { options, clock, held, load } = opening;
    if let Some(from) = load {
        checkpoint::load(&engine, from)?;
    }
    let view = engine.view()?;
    let (version, receipts) = (view.version(), view.receipts()?);
    drop(view);
    checkpoint::check_loaded(version)?;
    let shared = Arc::new(Shared {
        engine,
        queue: Queue::new(&options),
        feed: Arc::new(Feed::new(version, options.feed_bytes_max)),
        clock,
        options,
        durable: AtomicU64::new(version),
    });
    let receipts = Receipts::new(receipts, options.receipts_max);
    let committer = Committer::new(Arc::clone(&shared), receipts);
    let thread = thread::Builder::new()
        .name("store-committer".to_owned())
        .spawn(move || committer.run())
        .map_err(|error| StoreError::unavailable(error.to_string()))?;
    Ok(Arc::new(OpenStore {
        thread: Some(thread),
        open: Arc::new(Open { engine: shared, _held: held }),
    }))
}

/// What must not be gone while anyone reads. What is held goes last.
struct Open<E> {
    engine: Arc<Shared<E>>,
    _held: Held,
}

struct OpenStore<E: Engine> {
    thread: Option<JoinHandle<()>>,
    open: Arc<Open<E>>,
}

impl<E: Engine> fmt::Debug for OpenStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStore")
            .field("engine", &self.open.engine.engine)
            .finish_non_exhaustive()
    }
}

impl<E: Engine> Store for OpenStore<E> {
    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        let shared = &self.open.engine;
        let view = shared.engine.view()?;
        let now_us = shared.clock.wall_us();
        Ok(Box::new(OpenSnapshot { view, now_us, _open: Arc::clone(&self.open) }))
    }

    fn commit(&self, commit: Commit) -> Ticket {
        let shared = &self.open.engine;
        if let Err(error) = commit.validate(&shared.options) {
            return Ticket::ready(Err(error));
        }
        let (reply, ticket) = Ticket::new();
        shared.queue.put(Entry { bytes: commit.bytes(), commit, reply });
        ticket
    }

    fn watch(&self, prefix: &[u8], from: Version) -> Watch {
        self.open.engine.feed.watch(prefix, from)
    }

    fn durable(&self) -> Version {
        Version(self.open.engine.durable.load(Ordering::Acquire))
    }
}

impl<E: Engine> Drop for OpenStore<E> {
    fn drop(&mut self) {
        self.open.engine.queue.close(StoreError::unavailable("it was closed"));
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the committer of the store panicked");
        }
    }
}

struct OpenSnapshot<E> {
    view: Box<dyn View>,
    now_us: i64,
    _open: Arc<Open<E>>,
}

impl<E> fmt::Debug for OpenSnapshot<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenSnapshot")
            .field("version", &self.view.version())
            .finish_non_exhaustive()
    }
}

impl<E: Engine> Snapshot for OpenSnapshot<E> {
    fn version(&self) -> Version {
        Version(self.view.version())
    }

    fn get(&self, keys: &[&[u8]]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let rows = self.view.get_all(keys)?;
        let live = |row: Option<Row>| row.filter(|row| row.is_live(self.now_us));
        Ok(rows.into_iter().map(|row| live(row).map(|row| row.value)).collect())
    }

    fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let mut pairs = Vec::new();
        if limit == 0 {
            return Ok(pairs);
        }
        self.view.walk(from, to, reverse, &mut |key, row| {
            if row.is_live(self.now_us) {
                pairs.push((key, row.value));
            }
            pairs.len() < limit
        })?;
        Ok(pairs)
    }

    fn save(&self, to: &mut dyn Write) -> Result<(), StoreError> {
        let receipts = self.view.receipts()?;
        checkpoint::write(to, self.view.version(), &receipts, |visit| {
            self.view.walk(b"", b"", false, visit)
        })
    }

    fn expired(&self, from: &[u8], rows_max: usize) -> Result<Expired, StoreError> {
        let (mut keys, mut next, mut looked_at) = (Vec::new(), None, 0);
        self.view.walk(from, b"", false, &mut |key, row| {
            if looked_at == rows_max {
                next = Some(key);
                return false;
            }
            looked_at += 1;
            if !row.is_live(self.now_us) {
                keys.push(key);
            }
            true
        })?;
        Ok(Expired { keys, next })
    }
}
