//! The queue of objects of one controller that something happened to.
//!
//! Must not: block or drop. It is a set, so it is bounded by the number of objects, and whoever
//! fills it never waits: a slow controller cannot hold back a watch.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures::Stream;
use tokio::sync::Notify;

use crate::board::Key;
use crate::metrics::Metrics;

/// See the module.
#[derive(Debug)]
pub struct Triggers {
    controller: &'static str,
    pending: Mutex<BTreeSet<Key>>,
    wake: Notify,
    metrics: Arc<Metrics>,
}

impl Triggers {
    pub fn new(controller: &'static str, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { controller, pending: Mutex::default(), wake: Notify::new(), metrics })
    }

    /// The object of this namespace and name is to be looked at.
    pub fn push(&self, key: Key) {
        self.metrics.triggered(self.controller, format!("{}/{}", key.0, key.1));
        if self.lock().insert(key) {
            self.wake.notify_one();
        }
    }

    /// The objects in turn; never ends.
    pub fn stream(self: &Arc<Self>) -> impl Stream<Item = Key> + Send + 'static {
        futures::stream::unfold(Arc::clone(self), |triggers| async move {
            loop {
                let next = triggers.lock().pop_first();
                if let Some(key) = next {
                    return Some((key, triggers));
                }
                triggers.wake.notified().await;
            }
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Key>> {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    #[tokio::test]
    async fn an_object_that_is_triggered_often_is_queued_once() {
        let triggers = Triggers::new("test", Arc::default());
        for name in ["b", "a", "b", "b"] {
            triggers.push(("ns".to_owned(), name.to_owned()));
        }
        let mut stream = std::pin::pin!(triggers.stream());
        let names = [stream.next().await, stream.next().await].map(|key| key.expect("endless").1);
        assert_eq!(names, ["a", "b"]);
        assert!(futures::poll!(stream.next()).is_pending());
        triggers.push(("ns".to_owned(), "c".to_owned()));
        assert_eq!(stream.next().await.expect("endless").1, "c");
    }
}
