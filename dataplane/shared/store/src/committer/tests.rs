//! The committer over an engine that fails when told to. No disk.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::engine::{View, Visit};
use crate::row::{Row, bounds};
use crate::{Epoch, ManualClock, Ticket};

type Stored = BTreeMap<Bytes, Row>;

#[derive(Debug, Default)]
struct FakeEngine {
    stored: Mutex<(u64, Stored)>,
    fails: AtomicBool,
    panics: AtomicBool,
    is_fenced: AtomicBool,
    batches: AtomicU64,
}

const FENCED: StoreError = StoreError::Fenced { held: Epoch(2), asked: Epoch(1) };

struct FakeView(u64, Stored);

impl View for FakeView {
    fn version(&self) -> u64 {
        self.0
    }

    fn get(&self, key: &[u8]) -> Result<Option<Row>, StoreError> {
        Ok(self.1.get(key).cloned())
    }

    fn receipts(&self) -> Result<Vec<crate::engine::Receipt>, StoreError> {
        Ok(Vec::new())
    }

    fn walk(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), StoreError> {
        assert!(!reverse, "the committer walks forward");
        let Some(range) = bounds(from, to) else { return Ok(()) };
        self.1.range::<[u8], _>(range).all(|(key, row)| visit(key.clone(), row.clone()));
        Ok(())
    }
}

impl Engine for FakeEngine {
    fn view(&self) -> Result<Box<dyn View>, StoreError> {
        let stored = self.stored.lock().unwrap();
        Ok(Box::new(FakeView(stored.0, stored.1.clone())))
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.batches.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "told to");
        if self.is_fenced.load(Ordering::SeqCst) {
            return Err(FENCED);
        }
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("EIO"));
        }
        let mut stored = self.stored.lock().unwrap();
        stored.0 = batch.version;
        for (key, row) in batch.rows {
            match row {
                Some(row) => stored.1.insert(key, row),
                None => stored.1.remove(&key),
            };
        }
        Ok(())
    }
}

fn shared() -> Arc<Shared<FakeEngine>> {
    let options = Options::default();
    Arc::new(Shared {
        engine: FakeEngine::default(),
        queue: Queue::new(&options),
        feed: Arc::new(Feed::new(0, options.feed_bytes_max)),
        clock: Arc::new(ManualClock::default()),
        options,
        durable: AtomicU64::new(0),
    })
}

fn committer(shared: &Arc<Shared<FakeEngine>>) -> Committer<FakeEngine> {
    Committer::new(Arc::clone(shared), Receipts::new(Vec::new(), 8))
}

fn put(shared: &Shared<FakeEngine>, commit: Commit) -> Ticket {
    let (reply, ticket) = Ticket::new();
    shared.queue.put(Entry { bytes: commit.bytes(), commit, reply });
    ticket
}

fn set(key: &str) -> Commit {
    Commit { writes: vec![Write::Put(key.to_owned().into(), "v".into())], ..Commit::default() }
}

#[test]
fn what_waits_is_committed_in_one_batch_in_order() {
    let shared = shared();
    let tickets: Vec<_> = ["a", "b", "c"].map(|key| put(&shared, set(key))).into();
    let group = shared.queue.take(&mut Gather::default()).unwrap();
    committer(&shared).turn(group).unwrap();
    let versions: Vec<_> = tickets.into_iter().map(Ticket::wait).collect();
    assert_eq!(versions, [Ok(Version(1)), Ok(Version(2)), Ok(Version(3))]);
    assert_eq!(shared.engine.batches.load(Ordering::SeqCst), 1);
}

#[test]
fn commits_of_one_group_see_each_other() {
    let shared = shared();
    let once = Commit { checks: vec![Check::Absent("a".into())], ..set("a") };
    let unchanged = Commit { checks: vec![Check::Key("a".into())], ..set("b") };
    let elsewhere = Commit { checks: vec![Check::Range("b".into(), "".into())], ..set("c") };
    let keyed = Commit { idempotency: Some([7; 16]), ..set("d") };
    let commits = [once.clone(), once, unchanged, elsewhere, keyed.clone(), keyed];
    let tickets = commits.map(|commit| put(&shared, commit));
    let group = shared.queue.take(&mut Gather::default()).unwrap();
    committer(&shared).turn(group).unwrap();
    let conflict = Err(StoreError::Conflict);
    let expected = [
        Ok(Version(1)),
        conflict.clone(),
        conflict,
        Ok(Version(2)),
        Ok(Version(3)),
        Ok(Version(3)),
    ];
    assert_eq!(tickets.map(Ticket::wait), expected);
}

#[test]
fn a_refused_commit_leaves_nothing_in_its_group() {
    let shared = shared();
    let overflow = vec![Write::Put("a".into(), "v".into()), Write::Add("n".into(), i64::MAX)];
    let mut torn = Commit { writes: overflow, ..Commit::default() };
    torn.writes.push(Write::Add("n".into(), 1));
    let refused = put(&shared, torn);
    let after = put(&shared, Commit { checks: vec![Check::Absent("a".into())], ..set("b") });
    let group = shared.queue.take(&mut Gather::default()).unwrap();
    committer(&shared).turn(group).unwrap();
    assert!(matches!(refused.wait(), Err(StoreError::Invalid { .. })));
    assert_eq!(after.wait(), Ok(Version(1)));
}

#[test]
fn a_failed_write_ends_it_for_good() {
    let shared = shared();
    let (reply, failed) = Ticket::new();
    // So large that what waits behind it is a group of its own.
    shared.queue.put(Entry { bytes: 2 << 20, commit: set("a"), reply });
    let behind = put(&shared, set("behind"));
    shared.engine.fails.store(true, Ordering::SeqCst);
    committer(&shared).run();
    assert!(matches!(failed.wait(), Err(StoreError::Unknown { .. })));
    assert!(matches!(behind.wait(), Err(StoreError::Unavailable { .. })));
    shared.engine.fails.store(false, Ordering::SeqCst);
    assert!(matches!(put(&shared, set("b")).wait(), Err(StoreError::Unavailable { .. })));
    assert_eq!(shared.engine.batches.load(Ordering::SeqCst), 1, "it must not try again");
    assert_eq!(shared.durable.load(Ordering::SeqCst), 0);
}

#[test]
fn who_lost_the_shard_is_told_so_for_good() {
    let shared = shared();
    shared.engine.is_fenced.store(true, Ordering::SeqCst);
    let now = put(&shared, set("a"));
    committer(&shared).run();
    assert_eq!(now.wait(), Err(FENCED), "nothing of it was written");
    assert_eq!(put(&shared, set("b")).wait(), Err(FENCED));
}

#[test]
fn a_panic_leaves_nobody_waiting() {
    let shared = shared();
    shared.engine.panics.store(true, Ordering::SeqCst);
    let waiting = put(&shared, set("a"));
    let committer = committer(&shared);
    assert!(std::thread::spawn(move || committer.run()).join().is_err());
    assert!(matches!(waiting.wait(), Err(StoreError::Unknown { .. })));
    assert!(matches!(put(&shared, set("b")).wait(), Err(StoreError::Unavailable { .. })));
}
