//! What the watch of a kind showed: its objects, and whether the first list of them is complete.
//!
//! Must not: be written by anything but the watch (`watch::changes`).
//!
//! kube's `Store` is not used: of several that wait with `wait_until_ready` of kube 5.0, only the last
//! is woken.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use crate::board::Key;

/// Clones share their content.
#[derive(Debug)]
pub struct Cache<K> {
    objects: Arc<RwLock<HashMap<Key, Arc<K>>>>,
    complete: Arc<watch::Sender<bool>>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { objects: Arc::clone(&self.objects), complete: Arc::clone(&self.complete) }
    }
}

impl<K> Default for Cache<K> {
    fn default() -> Self {
        Self { objects: Arc::default(), complete: Arc::new(watch::channel(false).0) }
    }
}

impl<K> Cache<K> {
    /// Waits until the first list is complete; before, an object that is not shown may well exist.
    pub async fn complete(&self) {
        // The sender lives as long as `self`.
        let _ = self.complete.subscribe().wait_for(|complete| *complete).await;
    }

    /// The object of this namespace and name.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read().get(key).cloned()
    }

    /// The objects that are as `wanted`, in no order.
    pub fn filter(&self, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.read().values().filter(|object| wanted(object)).cloned().collect()
    }

    /// Puts an object in and returns what was there.
    pub(crate) fn insert(&self, key: Key, object: Arc<K>) -> Option<Arc<K>> {
        self.write().insert(key, object)
    }

    /// Takes an object out.
    pub(crate) fn remove(&self, key: &Key) -> Option<Arc<K>> {
        self.write().remove(key)
    }

    /// A complete list takes the place of all there was, which is returned.
    pub(crate) fn replace(&self, list: HashMap<Key, Arc<K>>) -> HashMap<Key, Arc<K>> {
        let before = std::mem::replace(&mut *self.write(), list);
        self.complete.send_replace(true);
        before
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Key, Arc<K>>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<Key, Arc<K>>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_that_wait_for_the_first_list_are_woken_by_it() {
        let cache = Cache::<u8>::default();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move { cache.complete().await })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(waiting.iter().all(|task| !task.is_finished()));
        cache.replace(HashMap::new());
        for task in waiting {
            task.await.expect("it is woken");
        }
        cache.complete().await;
    }
}
