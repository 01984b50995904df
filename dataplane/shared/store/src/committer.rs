//! The committer: takes everything that waits, decides in order, writes one batch, syncs once,
//! answers.
//!
//! Every answer leaves after the sync, refusals too: what a commit was refused for may be a write of
//! its own group. After a failed write or sync it never tries again: the kernel may have dropped
//! the pages, and a later sync would succeed over nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;

use crate::engine::{Batch, Engine};
use crate::feed::Feed;
use crate::gather::Gather;
use crate::plan::{self, Base, Rows};
use crate::queue::{Entry, Queue};
use crate::receipts::Receipts;
use crate::window::Window;
use crate::{Check, Clock, Commit, Options, StoreError, Version, Write};

/// What the committer shares with the store it works for.
#[derive(Debug)]
pub(crate) struct Shared<E> {
    pub(crate) engine: E,
    pub(crate) queue: Queue,
    pub(crate) feed: Arc<Feed>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    /// The last version on disk.
    pub(crate) durable: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Committer<E: Engine> {
    shared: Arc<Shared<E>>,
    window: Window,
    receipts: Receipts,
    gather: Gather,
}

impl<E: Engine> Committer<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, receipts: Receipts) -> Self {
        let window = Window::new(shared.durable.load(Ordering::Acquire), &shared.options);
        Self { shared, window, receipts, gather: Gather::default() }
    }

    /// Runs until the store is closed and everything taken is answered, or the disk fails.
    pub(crate) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _end = End(&shared.queue, &shared.feed);
        while let Some(group) = shared.queue.take(&mut self.gather) {
            if let Err(error) = self.turn(group) {
                tracing::error!(%error, "the store failed and takes no more commits");
                return;
            }
        }
    }

    /// Commits one group. An error has been told to the whole group.
    fn turn(&mut self, group: Vec<Entry>) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let mut batch =
            Batch { version: shared.durable.load(Ordering::Acquire), ..Batch::default() };
        let mut commits = Vec::new();
        let mut answers = Vec::with_capacity(group.len());
        let mut waiting = Vec::with_capacity(group.len());
        let before = batch.version;
        let begun = Instant::now();
        let base = shared.engine.base(&mut looked_at(&group));
        let written = base.and_then(|view| {
            let now_us = shared.clock.wall_us();
            for Entry { commit, reply, .. } in group {
                waiting.push(reply);
                let base = Base { view: &*view, group: &batch.rows, now_us };
                let answer = match self.decide(&commit, &base, batch.version) {
                    Ok(Decision::Known(version)) => Ok(Version(version)),
                    Ok(Decision::Rows(rows)) => {
                        self.add(&commit, &rows, &mut batch);
                        commits.push((batch.version, rows));
                        Ok(Version(batch.version))
                    }
                    Err(error) => Err(error),
                };
                answers.push(answer);
            }
            let version = batch.version;
            if version > before {
                shared.engine.apply(batch)?;
                shared.durable.store(version, Ordering::Release);
                shared.feed.publish(commits);
            }
            Ok(())
        });
        if let Err(error) = written {
            let (now, later) = ending(&error);
            shared.queue.close(later);
            for reply in waiting {
                reply.answer(Err(now.clone()));
            }
            return Err(error);
        }
        self.gather.answers(answers.len(), shared.queue.len(), begun.elapsed());
        for (reply, answer) in waiting.into_iter().zip(answers) {
            reply.answer(answer);
        }
        Ok(())
    }

    fn decide(&self, commit: &Commit, base: &Base<'_>, last: u64) -> Result<Decision, StoreError> {
        if let Some(version) = commit.idempotency.and_then(|key| self.receipts.get(&key)) {
            return Ok(Decision::Known(version));
        }
        if commit.read_version.0 > last {
            return Err(StoreError::invalid("it was read at a version that does not exist"));
        }
        plan::check(commit, base, &self.window)?;
        plan::write(&commit.writes, last + 1, base, &self.shared.options).map(Decision::Rows)
    }

    /// Makes a decided commit part of the batch.
    fn add(&mut self, commit: &Commit, rows: &Rows, batch: &mut Batch) {
        batch.version += 1;
        for (key, row) in rows {
            self.window.changed(key, batch.version);
            batch.rows.insert(key.clone(), row.clone());
        }
        if let Some(key) = commit.idempotency {
            batch.receipts.insert(key, Some(batch.version));
            let forgotten = self.receipts.add(key, batch.version);
            batch.receipts.extend(forgotten.into_iter().map(|key| (key, None)));
        }
    }
}

/// What the group that failed is told, and everything after it.
fn ending(error: &StoreError) -> (StoreError, StoreError) {
    if matches!(error, StoreError::Fenced { .. }) {
        return (error.clone(), error.clone());
    }
    let later = StoreError::unavailable(format!("it failed earlier: {error}"));
    (StoreError::Unknown { reason: error.to_string() }, later)
}

/// The keys whose values of now the decisions of a group rest on.
fn looked_at(group: &[Entry]) -> impl Iterator<Item = Bytes> {
    group.iter().flat_map(|Entry { commit, .. }| {
        let checked = commit.checks.iter().filter_map(|check| match check {
            Check::Absent(key) | Check::Equals(key, _) => Some(key.clone()),
            Check::Key(_) | Check::Range(..) => None,
        });
        let written = commit.writes.iter().filter_map(|write| match write {
            Write::Add(key, _) | Write::Max(key, _) | Write::DeleteExpired(key) => {
                Some(key.clone())
            }
            _ => None,
        });
        checked.chain(written)
    })
}

enum Decision {
    /// It was carried out before, as this version.
    Known(u64),
    Rows(Rows),
}

/// Closes the queue however the committer ends, so that nobody waits for one that is gone.
struct End<'a>(&'a Queue, &'a Feed);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.close(StoreError::unavailable("its committer has ended"));
        self.0.refuse_all();
        self.1.close();
    }
}

#[cfg(test)]
mod tests;
