//! Runs that are carried out where this process cannot reach: they become errands, which the operator
//! hears and settles.
//!
//! Must not: settle anything. How an errand ended is made durable by its partition first, and only
//! then the errand is closed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::HashMap;
use orrery_operand::errands::ErrandBook;
use orrery_operand::v1::Errand;

use crate::run::RunId;

/// See the module.
#[derive(Debug)]
pub(super) struct Outside {
    book: Arc<ErrandBook>,
    /// Key and attempt of the errand of each run.
    runs: Mutex<HashMap<RunId, (String, u32)>>,
}

impl Outside {
    pub(super) fn new() -> Self {
        Self { book: Arc::new(ErrandBook::unnamed()), runs: Mutex::default() }
    }

    pub(super) fn book(&self) -> &Arc<ErrandBook> {
        &self.book
    }

    /// Has the operator told of it.
    pub(super) fn open(&self, run: RunId, errand: Errand) {
        self.lock().insert(run, (errand.key.clone(), errand.attempt));
        self.book.open(errand);
    }

    /// Takes a run back. False when it is not carried out outside.
    pub(super) fn cancel(&self, run: RunId) -> bool {
        let runs = self.lock();
        runs.get(&run).is_some_and(|(key, attempt)| self.book.cancel(key, *attempt))
    }

    /// The errand is settled, and that is durable.
    pub(super) fn close(&self, run: RunId, key: &str, attempt: u32) {
        self.book.close(key, attempt);
        let mut runs = self.lock();
        // The next attempt may be open already.
        if runs.get(&run).is_some_and(|(_, open)| *open == attempt) {
            runs.remove(&run);
        }
    }

    /// Errands of a partition that are open.
    pub(super) fn count_of(&self, partition: u16) -> usize {
        self.lock().keys().filter(|run| run.partition == partition).count()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RunId, (String, u32)>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u64) -> RunId {
        RunId { partition: 3, number }
    }

    fn errand(attempt: u32) -> Errand {
        Errand { key: "ns_a_1_3_7".into(), attempt, ..Errand::default() }
    }

    #[test]
    fn the_next_attempt_of_a_run_outlives_the_one_before() {
        let outside = Outside::new();
        outside.open(run(7), errand(1));
        outside.open(run(7), errand(2));
        outside.close(run(7), "ns_a_1_3_7", 1);
        assert_eq!(outside.count_of(3), 1);
        assert!(outside.cancel(run(7)), "the second is open");
        outside.close(run(7), "ns_a_1_3_7", 2);
        assert_eq!((outside.count_of(3), outside.book().count()), (0, (0, 0)));
        assert!(!outside.cancel(run(7)));
    }
}
