//! What engines said about declared objects, for the one controller that writes their status.
//!
//! Must not: be the source of what is sent to engines; that is read from the objects each time.
//! Nothing here survives a restart: the first round of an engine asks again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use crate::observation::Acceptance;

/// Namespace and name.
pub type Key = (String, String);

/// The answer of an engine's pods to one set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SetAnswer {
    /// Hash of the set.
    pub set_hash: String,
    /// Pods that carry the set out.
    pub pods: Vec<String>,
}

#[derive(Debug, Default)]
struct State {
    /// By kind of the declared object and its key: the UID of the engine that spoke, and what.
    objects: HashMap<(&'static str, Key), (String, Acceptance)>,
    /// By kind of the declared object and the engine's UID.
    sets: HashMap<(&'static str, String), SetAnswer>,
}

/// Shared between the engine controllers and the controllers of declared kinds.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
}

impl Board {
    /// Publishes what an engine said about the objects of one kind and returns those whose answer
    /// is new.
    pub fn publish(
        &self,
        kind: &'static str,
        engine_uid: &str,
        answer: SetAnswer,
        results: BTreeMap<Key, Acceptance>,
    ) -> Vec<Key> {
        let mut state = self.lock();
        state.sets.insert((kind, engine_uid.to_owned()), answer);
        let mut changed = Vec::new();
        for (key, acceptance) in results {
            let entry = state.objects.entry((kind, key.clone())).or_default();
            let said = (engine_uid.to_owned(), acceptance);
            if *entry != said {
                *entry = said;
                changed.push(key);
            }
        }
        changed
    }

    /// What this engine said last about an object. An engine that was made anew under the same name
    /// has said nothing yet.
    pub fn acceptance(
        &self,
        kind: &'static str,
        key: &Key,
        engine_uid: &str,
    ) -> Option<Acceptance> {
        let state = self.lock();
        let (uid, acceptance) = state.objects.get(&(kind, key.clone()))?;
        (uid == engine_uid).then(|| acceptance.clone())
    }

    /// Which pods carry which set out, as far as this process has heard.
    pub fn set(&self, kind: &'static str, engine_uid: &str) -> Option<SetAnswer> {
        self.lock().sets.get(&(kind, engine_uid.to_owned())).cloned()
    }

    /// Forgets a declared object that is gone.
    pub fn forget(&self, kind: &'static str, key: &Key) {
        self.lock().objects.remove(&(kind, key.clone()));
    }

    /// Forgets an engine that is gone.
    pub fn forget_engine(&self, engine_uid: &str) {
        self.lock().sets.retain(|(_, uid), _| uid != engine_uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_answers_are_told() {
        let board = Board::default();
        let key = ("ns".to_owned(), "a".to_owned());
        let accepted = Acceptance { generation: 1, accepted: true, ..Acceptance::default() };
        let publish = |acceptance: &Acceptance| {
            let results = BTreeMap::from([(key.clone(), acceptance.clone())]);
            board.publish("KVNamespace", "uid", SetAnswer::default(), results)
        };
        assert_eq!(publish(&accepted), std::slice::from_ref(&key));
        assert!(publish(&accepted).is_empty());
        assert_eq!(publish(&Acceptance { generation: 2, ..accepted }).len(), 1);
        assert!(board.acceptance("KVNamespace", &key, "uid").is_some());
        assert_eq!(board.acceptance("KVNamespace", &key, "another engine"), None);
        board.forget("KVNamespace", &key);
        assert_eq!(board.acceptance("KVNamespace", &key, "uid"), None);
    }
}
