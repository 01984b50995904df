//! The runs of this pod: those that go on, and how the newest others ended.
//!
//! Invariants: a key begins one process at most, as long as it is known; no more runs go on than there
//! is room for; processes are started and leftovers cleaned under one lock, so that neither is taken
//! for the other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orrery_api::scheduler::runner::{RunRequest, RunState, RunWord};
use tokio::sync::watch;

use crate::{command, leftovers};

/// Runs that are over and known; the oldest is forgotten for another.
const OVER_MAX: usize = 1_000;

/// Why a run does not begin here now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// As many go on as may.
    Full,
    /// The pod stops.
    Stopping,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Runs {
    book: Mutex<Book>,
    room: usize,
    /// How many go on, and how many ended without anybody having heard of it.
    open: watch::Sender<(usize, usize)>,
}

#[derive(Debug, Default)]
struct Book {
    runs: HashMap<Arc<str>, Entry>,
    /// Keys of those that are over, the oldest first.
    over: VecDeque<Arc<str>>,
    /// How many of those nobody has heard of.
    untold: usize,
    is_stopping: bool,
}

#[derive(Debug)]
struct Entry {
    /// Process that it began with, while it goes on.
    pid: Option<u32>,
    state: watch::Sender<RunState>,
    stop: watch::Sender<Option<RunWord>>,
    is_told: bool,
}

impl Entry {
    fn new(pid: Option<u32>, state: RunState) -> Self {
        let (state, _) = watch::channel(state);
        let (stop, _) = watch::channel(None);
        Self { pid, state, stop, is_told: false }
    }

    /// Has it end for this reason, unless there was one before.
    fn stop(&self, why: RunWord) {
        self.stop.send_if_modified(|word| {
            let is_first = word.is_none();
            word.get_or_insert(why);
            is_first
        });
    }

    fn is_over(&self) -> bool {
        !self.state.borrow().state.is_running()
    }

    /// Nobody has to hear how it ended, or any more. True when it is over and somebody had to.
    fn tell(&mut self) -> bool {
        let was_told = std::mem::replace(&mut self.is_told, true);
        self.is_over() && !was_told
    }
}

impl Runs {
    /// `room` of them at the same time.
    pub(crate) fn new(room: usize) -> Self {
        Self { book: Mutex::default(), room: room.max(1), open: watch::Sender::new((0, 0)) }
    }

    /// Begins a run, unless its key is known; gives how it is.
    pub(crate) fn begin(
        self: &Arc<Self>,
        request: &RunRequest,
    ) -> Result<watch::Receiver<RunState>, NoRoom> {
        let mut book = self.lock();
        if let Some(entry) = book.runs.get(&*request.key) {
            return Ok(entry.state.subscribe());
        }
        if book.is_stopping {
            return Err(NoRoom::Stopping);
        }
        if book.going_on() >= self.room {
            return Err(NoRoom::Full);
        }
        let key: Arc<str> = request.key.as_str().into();
        let (process, entry) = match command::start(request) {
            Ok(process) => {
                tracing::info!(%key, pid = process.1, "a run began");
                (Some(process), RunWord::Running.into())
            }
            Err(over) => {
                tracing::warn!(%key, why = over.message, "a run could not begin");
                (None, over)
            }
        };
        let entry = Entry::new(process.as_ref().map(|(_, pid)| *pid), entry);
        let (state, stop) = (entry.state.subscribe(), entry.stop.subscribe());
        book.runs.insert(Arc::clone(&key), entry);
        if let Some(process) = process {
            let runs = Arc::clone(self);
            let time = Duration::from_millis(request.timeout_milliseconds);
            tokio::spawn(async move {
                let over = command::attend(process, time, stop).await;
                runs.end(&key, over);
            });
        } else {
            book.remember(key);
        }
        self.count(&book);
        Ok(state)
    }

    /// How a run is; none if it is not known.
    pub(crate) fn find(&self, key: &str) -> Option<watch::Receiver<RunState>> {
        self.lock().runs.get(key).map(|entry| entry.state.subscribe())
    }

    /// Has a run ended, and one that is not known never begin; gives how it is.
    pub(crate) fn cancel(&self, key: &str) -> RunState {
        let mut book = self.lock();
        if let Some(entry) = book.runs.get_mut(key) {
            entry.stop(RunWord::Cancelled);
            // Whoever wants it gone does not ask how it ended.
            let was_untold = entry.tell();
            let state = entry.state.borrow().clone();
            book.untold -= usize::from(was_untold);
            self.count(&book);
            return state;
        }
        let key: Arc<str> = key.into();
        let entry = Entry { is_told: true, ..Entry::new(None, RunWord::Cancelled.into()) };
        book.runs.insert(Arc::clone(&key), entry);
        book.remember(key);
        RunWord::Cancelled.into()
    }

    /// Somebody heard how a run ended.
    pub(crate) fn told(&self, key: &str) {
        let mut book = self.lock();
        if let Some(entry) = book.runs.get_mut(key).filter(|entry| entry.is_over()) {
            let was_untold = entry.tell();
            book.untold -= usize::from(was_untold);
        }
        self.count(&book);
    }

    /// Begins no run any more.
    pub(crate) fn stop(&self) {
        self.lock().is_stopping = true;
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    /// Has all runs ended.
    pub(crate) fn end_all(&self) {
        for entry in self.lock().runs.values().filter(|entry| !entry.is_over()) {
            entry.stop(RunWord::Stopped);
        }
    }

    /// How many go on, and how many ended untold, and changes of that.
    pub(crate) fn open(&self) -> watch::Receiver<(usize, usize)> {
        self.open.subscribe()
    }

    /// Reaps what commands left behind, and ends it while no run goes on.
    pub(crate) fn clean(&self) {
        let book = self.lock();
        let own: Vec<u32> = book.runs.values().filter_map(|entry| entry.pid).collect();
        leftovers::clean(&own, own.is_empty());
    }

    fn end(&self, key: &Arc<str>, over: RunState) {
        let mut book = self.lock();
        if let Some(entry) = book.runs.get_mut(key) {
            tracing::info!(%key, state = ?over.state, code = over.exit_code, "a run ended");
            entry.pid = None;
            entry.state.send_replace(over);
        }
        book.remember(Arc::clone(key));
        self.count(&book);
        let is_last = book.going_on() == 0;
        drop(book);
        // All processes are looked at, and while others run nothing is ended: dead ones can wait.
        if is_last {
            self.clean();
        }
    }

    fn count(&self, book: &Book) {
        self.open.send_replace((book.going_on(), book.untold));
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn going_on(&self) -> usize {
        self.runs.len() - self.over.len()
    }

    /// Counts a run among those that are over.
    fn remember(&mut self, key: Arc<str>) {
        self.untold += usize::from(self.runs.get(&key).is_some_and(|entry| !entry.is_told));
        self.over.push_back(key);
        if self.over.len() > OVER_MAX
            && let Some(oldest) = self.over.pop_front()
        {
            let forgotten = self.runs.remove(&oldest);
            self.untold -= usize::from(forgotten.is_some_and(|entry| !entry.is_told));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str, command: &[&str]) -> RunRequest {
        RunRequest {
            key: key.to_owned(),
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            args: vec![],
            env: vec![],
            timeout_milliseconds: 60_000,
        }
    }

    #[tokio::test]
    async fn as_many_are_known_as_are_kept_and_no_more() {
        let runs = Arc::new(Runs::new(1));
        for number in 0..OVER_MAX + 10 {
            runs.begin(&request(&number.to_string(), &[""])).expect("what cannot begin has room");
        }
        assert!(runs.find("9").is_none() && runs.find("10").is_some());
        assert_eq!(*runs.open().borrow(), (0, OVER_MAX));
        for number in 0..OVER_MAX + 10 {
            runs.told(&number.to_string());
        }
        assert_eq!(*runs.open().borrow(), (0, 0));
    }

    #[tokio::test]
    async fn a_run_that_was_cancelled_before_it_came_does_not_begin() {
        let runs = Arc::new(Runs::new(1));
        assert_eq!(runs.cancel("a").state, RunWord::Cancelled);
        let state = runs.begin(&request("a", &["true"])).expect("it is known");
        assert_eq!(state.borrow().state, RunWord::Cancelled);
        assert_eq!(*runs.open().borrow(), (0, 0));
    }
}
