//! Whose turn it is when a new release replaces pods everywhere: a few objects at a time.
//!
//! An object keeps its turn until all its pods are of the newest template and serve. So a release
//! whose pods do not come up stops after the first few objects instead of taking all of them down.
//!
//! Must not: hold back what a spec asks for.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::board::Key;
use crate::triggers::Triggers;

#[derive(Debug, Default)]
struct State {
    /// Objects that have their turn, by UID.
    rolling: HashSet<String>,
    /// Objects that wait for one, by UID.
    waiting: BTreeMap<String, (Key, Arc<Triggers>)>,
}

/// The turns of a process.
#[derive(Debug)]
pub struct Turns {
    at_once: usize,
    state: Mutex<State>,
}

impl Turns {
    pub fn new(at_once: usize) -> Self {
        Self { at_once: at_once.max(1), state: Mutex::default() }
    }

    /// Whether the object has its turn or may take one now.
    pub fn may(&self, uid: &str) -> bool {
        let state = self.lock();
        state.rolling.contains(uid) || state.rolling.len() < self.at_once
    }

    /// The object takes its turn.
    pub fn take(&self, uid: &str) {
        let mut state = self.lock();
        state.waiting.remove(uid);
        state.rolling.insert(uid.to_owned());
    }

    /// The object waits for its turn and is called when one comes up.
    pub fn wait(&self, uid: &str, key: Key, triggers: &Arc<Triggers>) {
        self.lock().waiting.insert(uid.to_owned(), (key, Arc::clone(triggers)));
    }

    /// The object is done, or gone: the next ones are called.
    pub fn release(&self, uid: &str) {
        let mut state = self.lock();
        state.waiting.remove(uid);
        if !state.rolling.remove(uid) {
            return;
        }
        let free = self.at_once.saturating_sub(state.rolling.len());
        for (key, triggers) in state.waiting.values().take(free) {
            triggers.push(key.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_turn_is_kept_until_it_is_released_and_then_the_next_is_called() {
        let turns = Turns::new(2);
        let triggers = Triggers::new("test", Duration::ZERO, Arc::default());
        for uid in ["a", "b"] {
            assert!(turns.may(uid));
            turns.take(uid);
        }
        assert!(turns.may("a"), "it has its turn");
        assert!(!turns.may("c"));
        turns.wait("c", ("ns".to_owned(), "c".to_owned()), &triggers);
        turns.release("x");
        assert_eq!(triggers.start(), None);
        turns.release("a");
        assert_eq!(triggers.start().expect("it is called").1, "c");
        assert!(turns.may("c"));
    }
}
