//! Writers that keep books, as long as their store lives.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use orrery_store::suite::books::{Rounds, WRITERS, last_round, round_commit};
use orrery_store::{Store, StoreError};

/// Only a test that hangs waits that long.
const PATIENCE: Duration = Duration::from_mins(3);

/// What was acknowledged, whoever owned the shard.
#[derive(Debug, Default)]
pub struct Promised {
    pub rounds: Mutex<Rounds>,
    pub over: AtomicBool,
}

impl Promised {
    pub fn total(&self) -> u64 {
        self.rounds.lock().unwrap().iter().map(|(round, _)| round).sum()
    }

    /// Waits until so many more were acknowledged.
    pub fn await_more(&self, commits: u64) {
        let (before, started) = (self.total(), Instant::now());
        while self.total() < before + commits {
            assert!(started.elapsed() < PATIENCE, "nothing is acknowledged any more");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Commits round after round until it is over or the store is; gives what the writers were told
    /// last, if anything.
    pub fn write(&self, store: &Arc<dyn Store>, begin: [u64; WRITERS]) -> Vec<StoreError> {
        thread::scope(|scope| {
            let writers: Vec<_> = begin
                .into_iter()
                .enumerate()
                .map(|(writer, last)| scope.spawn(move || self.write_one(store, writer, last)))
                .collect();
            writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
        })
    }

    fn write_one(&self, store: &Arc<dyn Store>, writer: usize, last: u64) -> Option<StoreError> {
        let mut round = last + 1;
        while !self.over.load(Ordering::Acquire) {
            match store.commit(round_commit(writer, round)).wait() {
                Ok(version) => self.rounds.lock().unwrap()[writer] = (round, version),
                Err(error) => return Some(error),
            }
            round += 1;
        }
        None
    }
}

/// The last round of each writer.
pub fn last_rounds(store: &Arc<dyn Store>) -> [u64; WRITERS] {
    std::array::from_fn(|writer| last_round(store, writer))
}
