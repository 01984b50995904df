//! A way to the store: a client and a thread of its own, for calls that block the caller and end in
//! time.
//!
//! A carrier has two of them, so that an append never queues behind the pieces of a snapshot. The
//! client of a lane is used by the lane alone: the connections of a client live on the runtime that
//! opened them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use orrery_blob::{BlobError, Entry, Part, Put, Store};
use orrery_journal::carrier::CarrierError;
use tokio::runtime::Runtime;

use crate::error::{of, unavailable};

/// What the slowest store of use moves in a second, in bytes.
const SLOWEST_BYTES_PER_SECOND: u64 = 4 << 20;

/// Names that a store gives per listing request, for counting requests.
const LISTED_PER_REQUEST: u64 = 1000;

/// Requests of one call that are under way together.
pub(crate) const IN_FLIGHT_MAX: usize = 16;

/// Requests since the carrier was opened, without those a client repeats by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// Objects that were put, or found to be there when they were to be put.
    pub puts: u64,
    /// Objects read, or found to be missing.
    pub gets: u64,
    /// Pages of listings, 1,000 names each.
    pub lists: u64,
    /// Objects removed.
    pub deletes: u64,
}

/// Counts requests; shared by the lanes of a carrier.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    puts: AtomicU64,
    gets: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self) -> Requests {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            puts: read(&self.puts),
            gets: read(&self.gets),
            lists: read(&self.lists),
            deletes: read(&self.deletes),
        }
    }
}

fn count(counter: &AtomicU64, requests: u64) {
    counter.fetch_add(requests, Ordering::Relaxed);
}

/// What the requests of a lane share.
#[derive(Clone, Debug)]
struct Client {
    store: Store,
    counters: Arc<Counters>,
    limit: Duration,
}

/// One client on one thread.
#[derive(Debug)]
pub(crate) struct Lane {
    client: Client,
    /// Only taken when the lane is dropped.
    runtime: Option<Runtime>,
}

/// What a request that was begun gives in the end.
pub(crate) struct Pending<T>(mpsc::Receiver<Result<T, CarrierError>>);

impl<T> Pending<T> {
    /// Blocks; every request has a limit of its own.
    pub(crate) fn wait(self) -> Result<T, CarrierError> {
        self.0.recv().unwrap_or_else(|_| Err(unavailable("the client ended")))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // A request to a folder that hangs cannot be ended, and is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Lane {
    pub(crate) fn new(
        store: Store,
        counters: Arc<Counters>,
        limit: Duration,
    ) -> Result<Self, CarrierError> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("journal-objects").enable_all();
        let failed = |error| unavailable(format!("failed to start a thread: {error}"));
        let runtime = Some(builder.build().map_err(failed)?);
        Ok(Self { client: Client { store, counters, limit }, runtime })
    }

    pub(crate) fn address(&self) -> &str {
        self.client.store.address()
    }

    /// Puts an object unless there is one of this name. After an error it may be there, or come
    /// later. `Exists` may also mean that another request was putting it and gave up.
    pub(crate) fn put_new(&self, name: &str, content: &Bytes) -> Result<Put, CarrierError> {
        self.begin_put_new(name, content).wait()
    }

    pub(crate) fn begin_put_new(&self, name: &str, content: &Bytes) -> Pending<Put> {
        let (name, content) = (name.to_owned(), content.clone());
        self.begin(|client| async move {
            let limit = client.limit(content.len() as u64);
            count(&client.counters.puts, 1);
            let put = within(limit, &name, async {
                match client.store.put_new(&name, content).await {
                    Err(error) if error.is_not_found() => Ok(None),
                    other => other.map(Some),
                }
            });
            let missing = || CarrierError::Unusable {
                reason: format!("there is no bucket or folder for {}", client.store.address()),
            };
            put.await?.ok_or_else(missing)
        })
    }

    /// A whole object, none if there is none.
    pub(crate) fn get(&self, name: &str, bytes_max: u64) -> Result<Option<Bytes>, CarrierError> {
        let part = self.begin_get(name, bytes_max, bytes_max).wait()?;
        Ok(part.map(|part| part.content))
    }

    /// The first `bytes` of an object, and then the rest of it if it has up to `bytes_max`. The
    /// content is longer than `bytes` only if it is whole.
    pub(crate) fn begin_get(
        &self,
        name: &str,
        bytes: u64,
        bytes_max: u64,
    ) -> Pending<Option<Part>> {
        let name = name.to_owned();
        self.begin(move |client| async move {
            let begin = client.part(&name, 0..bytes).await?;
            let Some(Part { content, total }) = begin else { return Ok(None) };
            if total <= bytes || total > bytes_max {
                return Ok(Some(Part { content, total }));
            }
            let Some(rest) = client.part(&name, bytes..total).await? else { return Ok(None) };
            let whole = [content, rest.content].concat().into();
            Ok(Some(Part { content: whole, total }))
        })
    }

    /// What is below a folder, behind the name `after` if that is not empty; in no order. Names may
    /// be missing that were put just now, and there that were removed just now.
    pub(crate) fn list(&self, folder: &str, after: &str) -> Result<Vec<Entry>, CarrierError> {
        let (folder, after) = (folder.to_owned(), after.to_owned());
        let pending = self.begin(|client| async move {
            count(&client.counters.lists, 1);
            let limit = client.limit(0);
            let listed = within(limit, &folder, client.store.pick(&folder, &after, Some)).await?;
            count(&client.counters.lists, listed.len() as u64 / LISTED_PER_REQUEST);
            Ok(listed)
        });
        pending.wait()
    }

    /// Removes objects, until `limit` is over: the number of those that were.
    pub(crate) fn delete(&self, names: Vec<String>, limit: Duration) -> Result<u64, CarrierError> {
        let pending = self.begin(move |client| async move {
            let removed = Arc::new(AtomicU64::new(0));
            let delete = |name: String| {
                let (client, removed) = (client.clone(), Arc::clone(&removed));
                async move {
                    count(&client.counters.deletes, 1);
                    let work = client.store.delete(&name);
                    within(client.limit(0), &name, work).await?;
                    count(&removed, 1);
                    Ok::<(), CarrierError>(())
                }
            };
            let mut work = futures::stream::iter(names).map(delete).buffer_unordered(IN_FLIGHT_MAX);
            let all = async {
                while let Some(ended) = work.next().await {
                    ended?;
                }
                Ok(())
            };
            // What is left when the time is over is removed by the next one.
            tokio::time::timeout(limit, all).await.unwrap_or(Ok(()))?;
            Ok(removed.load(Ordering::Relaxed))
        });
        pending.wait()
    }

    fn begin<T, W>(&self, work: impl FnOnce(Client) -> W) -> Pending<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, CarrierError>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = work(self.client.clone());
        if let Some(runtime) = &self.runtime {
            runtime.spawn(async move {
                // Nobody waits when one of several has failed.
                let _ = sender.send(work.await);
            });
        }
        Pending(receiver)
    }
}

impl Client {
    fn limit(&self, bytes: u64) -> Duration {
        self.limit + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND)
    }

    async fn part(&self, name: &str, range: Range<u64>) -> Result<Option<Part>, CarrierError> {
        count(&self.counters.gets, 1);
        let limit = self.limit(range.end - range.start);
        let found = async {
            match self.store.get_part(name, range).await {
                Err(error) if error.is_not_found() => Ok(None),
                other => other.map(Some),
            }
        };
        within(limit, name, found).await
    }
}

async fn within<T>(
    limit: Duration,
    name: &str,
    work: impl Future<Output = Result<T, BlobError>>,
) -> Result<T, CarrierError> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done.map_err(|error| of(&error)),
        Err(_) => Err(unavailable(format!("{name} took longer than {} s", limit.as_secs()))),
    }
}
