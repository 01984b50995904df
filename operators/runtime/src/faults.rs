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
//! | stale list | [`Faults::lists_at`]: lists are answered from an older revision, by the server itself |

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use http::uri::{PathAndQuery, Uri};
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
    lists_at: Option<String>,
    stale_lists: usize,
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
        let state = State {
            writes: Vec::new(),
            reads: 0,
            crash: None,
            rules: VecDeque::new(),
            lists_at: None,
            stale_lists: 0,
        };
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

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.faults.make_stale(&mut request);
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

/// The address of the same list at exactly this revision; none for what is not a list, and for the
/// further pages of one, whose token holds the revision already.
fn list_at(uri: &Uri, revision: &str) -> Option<Uri> {
    let mut words = uri.path().trim_start_matches('/').split('/');
    let before_kind = match words.next()? {
        "api" => 1,
        "apis" => 2,
        _ => return None,
    };
    let resource: Vec<&str> = words.skip(before_kind).collect();
    if !matches!(resource[..], [_] | ["namespaces", _, _]) {
        return None;
    }
    let query = uri.query().unwrap_or("");
    let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    if pairs.iter().any(|pair| pair.starts_with("continue=")) {
        return None;
    }
    pairs.retain(|pair| !pair.starts_with("resourceVersion"));
    let (exact, at) = ("resourceVersionMatch=Exact", format!("resourceVersion={revision}"));
    pairs.extend([exact, &at]);
    let path_and_query = format!("{}?{}", uri.path(), pairs.join("&"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at_7(uri: &str) -> Option<String> {
        list_at(&uri.parse().expect("an address"), "7").map(|uri| uri.to_string())
    }

    #[test]
    fn a_list_is_asked_for_at_the_older_revision() {
        let exact = "resourceVersionMatch=Exact&resourceVersion=7";
        assert_eq!(
            at_7("/api/v1/namespaces/a/secrets?&limit=5&resourceVersion=0"),
            Some(format!("/api/v1/namespaces/a/secrets?limit=5&{exact}"))
        );
        assert_eq!(
            at_7("/apis/apps/v1/statefulsets"),
            Some(format!("/apis/apps/v1/statefulsets?{exact}"))
        );
    }

    #[test]
    fn single_objects_and_further_pages_are_left_as_they_are() {
        assert_eq!(at_7("/api/v1/namespaces/a/secrets/b"), None);
        assert_eq!(at_7("/api/v1/namespaces/a"), None);
        assert_eq!(at_7("/api/v1/secrets?continue=abc"), None);
        assert_eq!(at_7("/version"), None);
    }
}
