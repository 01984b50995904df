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
//! | no answer | [`Faults::fail`] with [`Instead::Silence`] |
//! | 403 on a kind | [`Faults::forbid`] until [`Faults::clear`] |
//! | cut stream | [`Faults::cut_watches`]: every watch that is open ends with an error |
//! | held stream | [`Faults::hold_watches`]: nothing arrives until it is let go |

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyDataStream, BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::client::Body;
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

use crate::client::{is_watch, is_write};

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
    /// Nothing is answered; the server sees nothing.
    Silence,
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
}

/// Handle of the test; clones share their state.
#[derive(Debug, Clone)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    crashed: Arc<watch::Sender<bool>>,
    /// Streams end when the number changes.
    cuts: Arc<watch::Sender<u64>>,
    held: Arc<watch::Sender<bool>>,
}

impl Default for Faults {
    fn default() -> Self {
        let state = State { writes: Vec::new(), reads: 0, crash: None, rules: VecDeque::new() };
        Self {
            state: Arc::new(Mutex::new(state)),
            crashed: Arc::new(watch::channel(false).0),
            cuts: Arc::new(watch::channel(0).0),
            held: Arc::new(watch::channel(false).0),
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
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Holds what watches deliver, or lets it go.
    pub fn hold_watches(&self, hold: bool) {
        self.held.send_replace(hold);
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
            Instead::Silence => Plan::Silence,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Pass,
    Silence,
    Crash(Side),
    Answer(u16),
    AnswerAfter(u16),
}

impl<S> Layer<S> for Faults {
    type Service = FaultyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FaultyService { inner, faults: self.clone() }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct FaultyService<S> {
    inner: S,
    faults: Faults,
}

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

impl<S, B> Service<Request<Body>> for FaultyService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let plan = self.faults.plan(request.method(), request.uri().path());
        let watch = is_watch(&request);
        self.faults.lock().reads += usize::from(!watch && !is_write(request.method()));
        let faults = self.faults.clone();
        // A future that is made and never polled sends nothing.
        let sent = match plan {
            Plan::Pass | Plan::AnswerAfter(_) | Plan::Crash(Side::After) => {
                Some(self.inner.call(request))
            }
            Plan::Silence | Plan::Answer(_) | Plan::Crash(Side::Before) => None,
        };
        Box::pin(async move {
            let answer = match sent {
                Some(sent) => Some(sent.await.map_err(Into::into)?),
                None => None,
            };
            match (plan, answer) {
                (Plan::Pass, Some(answer)) if watch => Ok(stream(answer, &faults)),
                (Plan::Pass, Some(answer)) => {
                    let (parts, body) = answer.into_parts();
                    let body = body.map_err(Into::into).boxed_unsync();
                    // An answer that arrives after the crash is not heard.
                    if faults.has_crashed() {
                        return std::future::pending().await;
                    }
                    Ok(Response::from_parts(parts, body))
                }
                (Plan::Answer(code) | Plan::AnswerAfter(code), _) => Ok(refusal(code)),
                (Plan::Crash(_), _) => {
                    faults.crashed.send_replace(true);
                    std::future::pending().await
                }
                _ => std::future::pending().await,
            }
        })
    }
}

/// A watch that can be cut and held.
fn stream<B>(answer: Response<B>, faults: &Faults) -> Answer
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (parts, body) = answer.into_parts();
    let mut cuts = faults.cuts.subscribe();
    cuts.mark_unchanged();
    let held = faults.held.subscribe();
    let data = BodyDataStream::new(body.map_err(Into::into)).boxed();
    let frames =
        futures::stream::unfold((data, cuts, held), |(mut data, mut cuts, mut held)| async move {
            let cut = || Err::<Frame<Bytes>, BoxError>("the stream was cut".into());
            let item = tokio::select! {
                biased;
                _ = cuts.changed() => return Some((cut(), (data, cuts, held))),
                item = data.next() => item?,
            };
            let _ = held.wait_for(|held| !held).await;
            Some((item.map(Frame::data), (data, cuts, held)))
        });
    Response::from_parts(parts, StreamBody::new(frames).boxed_unsync())
}

fn refusal(code: u16) -> Answer {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "made up by the fault layer",
    });
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
    response
}
