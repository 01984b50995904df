//! A store in memory that does what remote stores do at their worst, by chance from a seed: refuses a
//! request, does it and loses the answer, does a put long after it was given up, lists names late and
//! removed ones still. And one that lets something else happen between two requests.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result,
};
use orrery_journal::sim::Random;

/// How many requests of 1,000 go wrong, each way.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Chances {
    pub(super) refused: u64,
    pub(super) unanswered: u64,
    pub(super) late: u64,
    /// How many requests long a listing is behind, at most.
    pub(super) lag: u64,
}

/// A put that was given up, and is done later.
type Late = (Path, PutPayload, PutOptions);

#[derive(Debug)]
struct State {
    random: Random,
    chances: Chances,
    requests: u64,
    late: Vec<Late>,
    /// Until which request a name is not listed.
    hidden: HashMap<Path, u64>,
    /// Until which request a removed object is still listed.
    ghosts: BTreeMap<Path, (ObjectMeta, u64)>,
}

#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) inner: Arc<InMemory>,
    state: Mutex<State>,
}

fn lost(reason: &'static str) -> Error {
    Error::Generic { store: "faulty", source: reason.into() }
}

impl Faulty {
    pub(super) fn new(seed: u64, chances: Chances) -> Self {
        let state = State {
            random: Random::new(seed),
            chances,
            requests: 0,
            late: vec![],
            hidden: HashMap::new(),
            ghosts: BTreeMap::new(),
        };
        Self { inner: Arc::default(), state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn set_chances(&self, chances: Chances) {
        self.lock().chances = chances;
    }

    /// Does all puts that were given up.
    pub(super) async fn deliver_all(&self) -> usize {
        let late = std::mem::take(&mut self.lock().late);
        let delivered = late.len();
        for (path, payload, options) in late {
            // What it answers nobody hears.
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
        delivered
    }

    /// Counts a request, does one of the puts given up now and then, and says whether this one fails.
    async fn begin(&self) -> Result<()> {
        let (late, is_refused) = {
            let state = &mut *self.lock();
            state.requests += 1;
            let count = state.late.len() as u64;
            let is_due = count > 0 && state.random.chance(1, 12);
            let late = is_due.then(|| state.late.swap_remove(state.random.below(count) as usize));
            let refused = state.chances.refused;
            (late, state.random.chance(refused, 1000))
        };
        if let Some((path, payload, options)) = late {
            let _ = self.inner.put_opts(&path, payload, options).await;
        }
        if is_refused { Err(lost("503 slow down")) } else { Ok(()) }
    }

    fn is_unanswered(&self) -> bool {
        let state = &mut *self.lock();
        state.random.chance(state.chances.unanswered, 1000)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.begin().await?;
        {
            let state = &mut *self.lock();
            if state.random.chance(state.chances.late, 1000) {
                state.late.push((path.clone(), payload, options));
                return Err(lost("the request timed out"));
            }
        }
        let put = self.inner.put_opts(path, payload, options).await;
        if put.is_ok() {
            let state = &mut *self.lock();
            let until = state.requests + state.random.below(state.chances.lag + 1);
            state.hidden.insert(path.clone(), until);
        }
        if self.is_unanswered() { Err(lost("the answer was lost")) } else { put }
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(lost("not used"))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.begin().await?;
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let is_unanswered = self.is_unanswered();
        let (random, refused, until) = {
            let state = &mut *self.lock();
            let random = Random::new(state.random.next());
            (
                random,
                state.chances.refused,
                state.requests + state.random.below(state.chances.lag + 1),
            )
        };
        let inner = Arc::clone(&self.inner);
        let mut random = random;
        let ghosts: Vec<(Path, ObjectMeta)> =
            futures::executor::block_on(self.inner.list(None).collect::<Vec<_>>())
                .into_iter()
                .filter_map(Result::ok)
                .map(|meta| (meta.location.clone(), meta))
                .collect();
        let state = &mut *self.lock();
        // Any of them may be one that is removed now; those that are not are listed anyway.
        state.ghosts.extend(ghosts.into_iter().map(|(path, meta)| (path, (meta, until))));
        let work = paths.then(move |path| {
            let is_refused = random.chance(refused, 1000);
            let inner = Arc::clone(&inner);
            async move {
                let path = path?;
                if is_refused {
                    return Err(lost("503 slow down"));
                }
                inner.delete(&path).await?;
                if is_unanswered { Err(lost("the answer was lost")) } else { Ok(path) }
            }
        });
        work.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let there = futures::executor::block_on(self.inner.list(prefix).collect::<Vec<_>>());
        let state = &mut *self.lock();
        state.requests += 1;
        let (now, refused) = (state.requests, state.chances.refused);
        if state.random.chance(refused, 1000) {
            return futures::stream::iter([Err(lost("503 slow down"))]).boxed();
        }
        let mut listed: BTreeMap<Path, ObjectMeta> = BTreeMap::new();
        for (path, (meta, until)) in &state.ghosts {
            if *until > now && prefix.is_none_or(|prefix| path.prefix_matches(prefix)) {
                listed.insert(path.clone(), meta.clone());
            }
        }
        for meta in there.into_iter().filter_map(Result::ok) {
            if state.hidden.get(&meta.location).is_none_or(|until| *until <= now) {
                listed.insert(meta.location.clone(), meta);
            }
        }
        futures::stream::iter(listed.into_values().map(Ok).collect::<Vec<_>>()).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(lost("not used"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(lost("not used"))
    }
}

/// What is to happen once.
type Event = Box<dyn FnOnce() + Send>;

/// Lets something happen beside one request, and may forget what is asked of it.
pub(super) struct Between {
    inner: Arc<dyn ObjectStore>,
    /// How many requests from now; whether before or after it is done.
    event: Mutex<Option<(u64, bool, Event)>>,
    /// Takes no notice of conditions.
    pub(super) is_unconditional: bool,
    /// Looks whether there is such an object, and puts it a little later.
    pub(super) is_racy: bool,
    /// Loses the answer to the next put.
    is_unanswered: AtomicBool,
    /// Answers nothing.
    is_silent: AtomicBool,
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Between")
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("between")
    }
}

impl Between {
    pub(super) fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            event: Mutex::new(None),
            is_unconditional: false,
            is_racy: false,
            is_unanswered: AtomicBool::default(),
            is_silent: AtomicBool::default(),
        }
    }

    /// The next put is done, and its answer is lost.
    pub(super) fn lose_next_answer(&self) {
        self.is_unanswered.store(true, Ordering::SeqCst);
    }

    /// `event` happens before or after the request with this number from now on, counted from 0.
    pub(super) fn plan(&self, request: u64, is_after: bool, event: Event) {
        *self.event.lock().unwrap() = Some((request, is_after, event));
    }

    /// Does what it is asked, or nothing for ever.
    pub(super) fn set_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    async fn silence(&self) {
        if self.is_silent.load(Ordering::SeqCst) {
            futures::future::pending::<()>().await;
        }
    }

    /// Whether it has not happened; it will not any more.
    pub(super) fn is_left(&self) -> bool {
        self.event.lock().unwrap().take().is_some()
    }

    fn turn(&self, is_after: bool) {
        let event = {
            let mut planned = self.event.lock().unwrap();
            match planned.as_mut() {
                Some((0, when, _)) if *when == is_after => planned.take(),
                Some((left, _, _)) if is_after && *left > 0 => {
                    *left -= 1;
                    None
                }
                _ => None,
            }
        };
        if let Some((_, _, event)) = event {
            event();
        }
    }
}

#[async_trait]
impl ObjectStore for Between {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        self.silence().await;
        self.turn(false);
        if self.is_racy && matches!(options.mode, PutMode::Create) {
            if self.inner.head(path).await.is_ok() {
                let (path, source) = (path.to_string(), "there is one".into());
                return Err(Error::AlreadyExists { path, source });
            }
            tokio::task::yield_now().await;
        }
        if self.is_unconditional || self.is_racy {
            options.mode = PutMode::Overwrite;
        }
        let put = self.inner.put_opts(path, payload, options).await;
        self.turn(true);
        if self.is_unanswered.swap(false, Ordering::SeqCst) {
            return Err(lost("the answer was lost"));
        }
        put
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.silence().await;
        self.turn(false);
        let got = self.inner.get_opts(path, options).await;
        self.turn(true);
        got
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.turn(false);
        self.turn(true);
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.turn(false);
        let listed = self.inner.list(prefix);
        self.turn(true);
        listed
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
