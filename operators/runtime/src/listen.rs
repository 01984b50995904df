//! Listens to processes that tell when declared objects fare otherwise than before, and calls the round
//! of their engine, which asks for the newest states with the set it syncs anyway.
//!
//! Must not: ask in turn. There is one stream for each process that a round reached, and it ends with
//! the pod. A stream that broke is opened again by the next round, which is called after a pause: only
//! a round knows the newest address, token and certificate.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;
use tokio::task::AbortHandle;
use tracing::{debug, warn};

use crate::backoff::{Attempts, BackoffOptions};
use crate::board::Key;
use crate::step::report::Reached;
use crate::triggers::Triggers;

/// Streams at once; an operator of more processes hears of the rest in the rounds of its net.
const STREAMS_MAX: usize = 4096;
/// Least time between two calls of a round.
const PAUSE: Duration = Duration::from_secs(1);
/// More of it for each declared object, which are sent and answered each time.
const PAUSE_PER_OBJECT: Duration = Duration::from_millis(1);
/// More of it for each thing that the engine points to, which is read each time.
const PAUSE_PER_REFERENCE: Duration = Duration::from_millis(20);
/// The most of it.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// UID of the engine, and UID of the pod.
type StreamKey = (String, String);

/// All streams of a process of the operator; they end with it.
#[derive(Debug)]
pub(crate) struct Listeners {
    streams: Mutex<HashMap<StreamKey, Stream>>,
    failed: Arc<Attempts<StreamKey>>,
}

#[derive(Debug)]
struct Stream {
    task: AbortHandle,
    pause: Arc<Mutex<Duration>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Default for Listeners {
    fn default() -> Self {
        let failed = Arc::new(Attempts::new(BackoffOptions::default()));
        Self { streams: Mutex::default(), failed }
    }
}

impl Listeners {
    /// Listens to these processes of an engine, and to no others of it.
    pub(crate) fn listen(
        &self,
        uid: &str,
        key: &Key,
        triggers: &Arc<Triggers>,
        reached: &[Reached],
        pause: Duration,
    ) {
        let mut streams = self.lock();
        self.retain(&mut streams, |(engine, pod)| {
            engine != uid || reached.iter().any(|process| process.uid == *pod)
        });
        for process in reached {
            let of = (uid.to_owned(), process.uid.clone());
            if let Some(stream) = streams.get(&of).filter(|stream| !stream.task.is_finished()) {
                *stream.pause.lock().unwrap_or_else(PoisonError::into_inner) = pause;
                continue;
            }
            if streams.len() >= STREAMS_MAX {
                warn!(pod = process.pod, "not listened to: there are too many processes");
                continue;
            }
            let pause = Arc::new(Mutex::new(pause));
            let told = Told {
                key: key.clone(),
                of: of.clone(),
                triggers: Arc::clone(triggers),
                failed: Arc::clone(&self.failed),
                pause: Arc::clone(&pause),
            };
            let task = tokio::spawn(told.hear(process.client.clone())).abort_handle();
            streams.insert(of, Stream { task, pause });
        }
    }

    /// Listens to no process of this engine any more.
    pub(crate) fn forget(&self, uid: &str) {
        self.retain(&mut self.lock(), |(engine, _)| engine != uid);
    }

    fn retain(
        &self,
        streams: &mut HashMap<StreamKey, Stream>,
        is_kept: impl Fn(&StreamKey) -> bool,
    ) {
        streams.retain(|of, _| {
            let is_kept = is_kept(of);
            if !is_kept {
                self.failed.forget(of);
            }
            is_kept
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<StreamKey, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Least time between two calls for an engine with so many declared objects and references.
pub(crate) fn pause(objects: usize, references: usize) -> Duration {
    let times = |time: Duration, count: usize| {
        time.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    };
    PAUSE
        .saturating_add(times(PAUSE_PER_OBJECT, objects))
        .saturating_add(times(PAUSE_PER_REFERENCE, references))
        .min(PAUSE_MAX)
}

/// Who is called, and how often.
struct Told {
    key: Key,
    of: StreamKey,
    triggers: Arc<Triggers>,
    failed: Arc<Attempts<StreamKey>>,
    pause: Arc<Mutex<Duration>>,
}

impl Told {
    async fn hear(self, client: OperandClient) {
        let error = match client.watch().await {
            Ok(mut changes) => loop {
                match changes.next().await {
                    Ok(_) => {
                        self.failed.forget(&self.of);
                        self.triggers.push(self.key.clone());
                    }
                    Err(error) => break error,
                }
                let pause = *self.pause.lock().unwrap_or_else(PoisonError::into_inner);
                tokio::time::sleep(pause).await;
            },
            Err(error) => error,
        };
        debug!(pod_uid = self.of.1, %error, "a process is not heard");
        if matches!(error, OperandError::Unsupported(_)) {
            // An earlier release; it is another pod that will tell.
            return std::future::pending().await;
        }
        tokio::time::sleep(self.failed.failed(self.of)).await;
        self.triggers.push(self.key);
    }
}

#[cfg(test)]
mod tests;
