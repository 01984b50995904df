//! The queue of objects of one controller that something happened to.
//!
//! Must not: block or drop. An object is in it once, so it is bounded by the number of objects, and
//! whoever fills it never waits: a slow controller cannot hold back a watch.
//!
//! What happens to an object within a short time makes one round, and that time is counted from the
//! first of it: an object to which something happens all the time is looked at all the same.

mod queue;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};

use crate::board::Key;
use crate::metrics::Metrics;
use queue::Queue;

/// See the module.
#[derive(Debug)]
pub struct Triggers {
    controller: &'static str,
    debounce: Duration,
    queue: Mutex<Queue>,
    /// For the one controller.
    wake: Notify,
    metrics: Arc<Metrics>,
}

impl Triggers {
    pub fn new(controller: &'static str, debounce: Duration, metrics: Arc<Metrics>) -> Arc<Self> {
        let (queue, wake) = (Mutex::default(), Notify::new());
        Arc::new(Self { controller, debounce, queue, wake, metrics })
    }

    /// The object of this namespace and name is to be looked at.
    pub fn push(&self, key: Key) {
        self.metrics.triggered(self.controller, format!("{}/{}", key.0, key.1));
        self.lock().want(key, Instant::now() + self.debounce);
        self.wake.notify_one();
    }

    /// The object whose round is to run now, if one is due. It is running until
    /// [`Triggers::finished`].
    pub fn start(&self) -> Option<Key> {
        self.lock().start(Instant::now())
    }

    /// The round of the object ended and asks for the next one after this time.
    pub fn finished(&self, key: Key, after: Option<Duration>) {
        // A time that no clock of this machine can show is no time.
        let at = after.and_then(|after| Instant::now().checked_add(after));
        self.lock().finished(key, at);
    }

    /// Waits until a round is due. For one caller at a time.
    pub async fn due(&self) {
        loop {
            let next = self.lock().next();
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            if next.is_some_and(|at| at <= Instant::now()) {
                return;
            }
            tokio::select! {
                () = timer => {}
                () = self.wake.notified() => {}
            }
        }
    }

    /// Does `one` for each object that is due, at most `at_once` at the same time, from when `complete` is
    /// until `stop` turns true and all that run have ended. `one` gives the object back, and after which
    /// time it is to be looked at again.
    pub(crate) async fn work<F>(
        &self,
        at_once: usize,
        complete: impl Future<Output = ()>,
        mut stop: watch::Receiver<bool>,
        one: impl Fn(Key) -> F,
    ) where
        F: Future<Output = (Key, Option<Duration>)>,
    {
        // An error means the sender is gone, which is a stop as well.
        let mut stopped = std::pin::pin!(async { drop(stop.wait_for(|stop| *stop).await) });
        tokio::select! {
            () = complete => {}
            () = &mut stopped => return,
        }
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < at_once
                && let Some(key) = self.start()
            {
                running.push(one(key));
            }
            tokio::select! {
                () = &mut stopped => break,
                Some((key, after)) = running.next() => self.finished(key, after),
                () = self.due(), if running.len() < at_once => {}
            }
        }
        while running.next().await.is_some() {}
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_that_is_triggered_often_is_started_once_and_again_when_it_is_asked_for() {
        let triggers = Triggers::new("test", Duration::from_millis(20), Arc::default());
        let named = |name: &str| ("ns".to_owned(), name.to_owned());
        for name in ["b", "a", "b", "b"] {
            triggers.push(named(name));
        }
        let mut started = Vec::new();
        while started.len() < 2 {
            triggers.due().await;
            started.extend(triggers.start());
        }
        assert_eq!(started, [named("b"), named("a")]);
        assert!(futures::poll!(std::pin::pin!(triggers.due())).is_pending());
        triggers.finished(named("a"), Some(Duration::ZERO));
        triggers.finished(named("b"), Some(Duration::MAX));
        triggers.due().await;
        assert_eq!(triggers.start(), Some(named("a")));
        assert_eq!(triggers.start(), None);
    }

    #[tokio::test]
    async fn a_trigger_wakes_who_waits() {
        let triggers = Triggers::new("test", Duration::ZERO, Arc::default());
        let mut due = std::pin::pin!(triggers.due());
        assert!(futures::poll!(&mut due).is_pending());
        triggers.push(("ns".to_owned(), "c".to_owned()));
        due.await;
        assert!(triggers.start().is_some());
    }
}
