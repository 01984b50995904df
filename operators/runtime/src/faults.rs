//! A layer below the client that makes the API server fail on purpose. For tests only: the code
//! under test does not know it.
//!
//! Must not: answer in the server's place except with errors; what the server would say is the
//! server's own.
//!
//! | fault | how |
//! |---|---|
//! | crash at the k-th write | the write is not sent (`Before`), or sent and its answer withheld (`After`); from then on nothing is sent or answered, and [`Faults::crashed`] resolves: drop the operator and start a fresh one |
//! | 409, 410, 429, 500 … | [`Faults::fail`]: instead of the call, or after it took effect |
//! | 429 with Retry-After | [`Faults::fail`] with [`Instead::Busy`] |
//! | no answer | [`Faults::fail`] with [`Instead::Silence`], or [`Instead::SilenceAfter`] the server did it |
//! | 403 on a kind | [`Faults::forbid`] until [`Faults::clear`] |
//! | cut stream | [`Faults::cut_watches`]: every watch that is open ends with an error |
//! | 410 in a stream | [`Faults::expire_watches`]: every watch that is open is told that its revision is too old |
//! | held stream | [`Faults::hold_watches`]: nothing arrives until it is let go |
//! | half-open stream | [`Faults::strand_watches`]: those that are open deliver nothing and do not end; new ones flow |
//! | slow stream | [`Faults::delay_watches`]: each event takes its time |
//! | merged events | [`Faults::merge_watches`]: held, and then the last event of each object alone |
//! | dropped events | [`Faults::swallow_watches`]: lost until it is over, and then every watch is cut |
//! | stale list | [`Faults::lists_at`]: lists are answered from an older revision, by the server itself |

mod service;
mod stale;
mod stream;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request};
use kube::client::Body;
use tokio::sync::watch;

pub use service::FaultyService;

use crate::client::{is_watch, is_write};
use stale::list_at;
use stream::{Cut, Flow};

/// Where a crash happens, seen from a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The server never sees the write.
    Before,
    /// The server carries it out and nobody learns of it.
    After,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instead {
    /// This status is answered and the server sees nothing.
    Status(u16),
    /// The server carries the call out, and this status is answered.
    StatusAfter(u16),
    /// 429 with a Retry-After of so many seconds; the server sees nothing.
    Busy(u32),
    /// Nothing is answered; the server sees nothing.
    Silence,
    /// The server carries the call out, and nothing is answered.
    SilenceAfter,
}

#[derive(Debug, Clone)]
struct Rule {
    method: Method,
    path_part: String,
    instead: Instead,
    times: u32,
}

#[derive(Debug)]
struct State {
    writes: Vec<String>,
    reads: usize,
    crash: Option<(usize, Side)>,
    rules: VecDeque<Rule>,
    lists_at: Option<String>,
    stale_lists: usize,
    /// Number of watches so far.
    streams: u64,
}

/// Handle of the test; clones share their state.
#[derive(Debug, Clone)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    crashed: Arc<watch::Sender<bool>>,
    /// Streams end when it changes.
    cuts: Arc<watch::Sender<Cut>>,
    flow: Arc<watch::Sender<Flow>>,
}

impl Default for Faults {
    fn default() -> Self {
        let state = State {
            writes: Vec::new(),
            reads: 0,
            crash: None,
            rules: VecDeque::new(),
            lists_at: None,
            stale_lists: 0,
            streams: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            crashed: Arc::new(watch::channel(false).0),
            cuts: Arc::default(),
            flow: Arc::default(),
        }
    }
}

impl Faults {
    /// Crashes at the `k`-th write from now, counted from 1. Events and leases do not count.
    pub fn crash_at(&self, k: usize, side: Side) {
        let mut state = self.lock();
        state.crash = Some((state.writes.len() + k, side));
    }

    /// Resolves once the crash has happened.
    pub async fn crashed(&self) {
        let mut crashed = self.crashed.subscribe();
        // The sender lives as long as `self`.
        let _ = crashed.wait_for(|crashed| *crashed).await;
    }

    /// Whether the crash has happened.
    pub fn has_crashed(&self) -> bool {
        *self.crashed.borrow()
    }

    /// Fails the next `times` calls of this method whose path holds `path_part`.
    pub fn fail(&self, method: Method, path_part: &str, instead: Instead, times: u32) {
        let path_part = path_part.to_owned();
        self.lock().rules.push_back(Rule { method, path_part, instead, times });
    }

    /// Refuses all reads of what holds `path_part`, such as `/roles`.
    pub fn forbid(&self, path_part: &str) {
        self.fail(Method::GET, path_part, Instead::Status(403), u32::MAX);
    }

    /// Takes all rules back.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Ends every open watch with an error.
    pub fn cut_watches(&self) {
        self.cut(false);
    }

    /// Tells every open watch that its revision is too old, and ends it.
    pub fn expire_watches(&self) {
        self.cut(true);
    }

    fn cut(&self, expired: bool) {
        self.cuts.send_modify(|cut| *cut = Cut { times: cut.times + 1, expired });
    }

    /// Holds what watches deliver, or lets it go.
    pub fn hold_watches(&self, hold: bool) {
        self.flow.send_modify(|flow| flow.held = hold);
    }

    /// Leaves every open watch without events and without an end. New ones flow.
    pub fn strand_watches(&self) {
        let next = self.lock().streams + 1;
        self.flow.send_modify(|flow| flow.stuck_below = next);
    }

    /// Has each event take so long; zero ends it.
    pub fn delay_watches(&self, delay: Duration) {
        self.flow.send_modify(|flow| flow.delay = delay);
    }

    /// Holds what watches deliver, or delivers the last event of each object.
    pub fn merge_watches(&self, merge: bool) {
        self.flow.send_modify(|flow| flow.merging = merge);
    }

    /// Loses what watches deliver. When it is over they are cut, since no server goes on after a
    /// gap.
    pub fn swallow_watches(&self, swallow: bool) {
        if !swallow {
            self.cut_watches();
        }
        self.flow.send_modify(|flow| flow.swallowing = swallow);
    }

    /// Has lists answered from this revision, or from the newest again. A watch that sends the
    /// initial state itself is no list: turn `streaming_lists` off.
    pub fn lists_at(&self, revision: Option<&str>) {
        self.lock().lists_at = revision.map(str::to_owned);
    }

    /// Number of lists so far that were asked for at an older revision.
    pub fn stale_lists(&self) -> usize {
        self.lock().stale_lists
    }

    /// Method and path of each write so far, events and leases left out.
    pub fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    /// Number of calls so far that were neither writes nor watches.
    pub fn reads(&self) -> usize {
        self.lock().reads
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns a list into one of the older revision, if there is to be one.
    fn make_stale(&self, request: &mut Request<Body>) {
        let mut state = self.lock();
        let Some(revision) = &state.lists_at else { return };
        if *request.method() != Method::GET || is_watch(request) {
            return;
        }
        let Some(uri) = list_at(request.uri(), revision) else { return };
        *request.uri_mut() = uri;
        state.stale_lists += 1;
    }

    /// What is to happen to this call.
    fn plan(&self, method: &Method, path: &str) -> Plan {
        if self.has_crashed() {
            return Plan::Silence;
        }
        let mut state = self.lock();
        let counted = is_write(method) && !path.contains("/events") && !path.contains("/leases");
        if counted {
            state.writes.push(format!("{method} {path}"));
            if let Some((k, side)) = state.crash
                && state.writes.len() == k
            {
                return Plan::Crash(side);
            }
        }
        let matching = |rule: &&mut Rule| {
            rule.times > 0 && rule.method == *method && path.contains(&rule.path_part)
        };
        let Some(rule) = state.rules.iter_mut().find(matching) else {
            return Plan::Pass;
        };
        rule.times = rule.times.saturating_sub(u32::from(rule.times != u32::MAX));
        match rule.instead {
            Instead::Status(code) => Plan::Answer(code),
            Instead::StatusAfter(code) => Plan::AnswerAfter(code),
            Instead::Busy(seconds) => Plan::Busy(seconds),
            Instead::Silence => Plan::Silence,
            Instead::SilenceAfter => Plan::SilenceAfter,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Pass,
    Silence,
    SilenceAfter,
    Crash(Side),
    Answer(u16),
    AnswerAfter(u16),
    Busy(u32),
}
