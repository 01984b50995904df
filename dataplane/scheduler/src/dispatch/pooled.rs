//! One attempt of a run in a pod of a pool, from the search for room to the outcome.
//!
//! A pod is asked to begin a run once, under a key of the attempt. After that it is only asked how the
//! run is: a pod that does not know it any more, or that is gone, leaves unknown how it ended, and
//! the attempt has failed.
//!
//! Must not: send to a second pod what a first one may have begun.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use jiff::Timestamp;
use orrery_api::scheduler::EnvVar;
use orrery_api::scheduler::runner::{
    ATTEMPT_VARIABLE, KEY_VARIABLE, KILL_AFTER_SECONDS, NOMINAL_VARIABLE, RunRequest, RunState,
    RunWord, SCHEDULE_VARIABLE,
};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};

use super::answer::{Answer, Report};
use super::attempt::Attempt;
use super::client::Reach;
use super::exchange::{Trouble, exchange};
use super::note;
use super::pool::{Place, Pool};
use super::secret::Credentials;
use super::target::TargetName;
use crate::run::Outcome;

/// Longest wait for the end of a run within one request.
const WAIT_SECONDS: u64 = 20;
/// Longest answer to a request that waits for nothing.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A pod that was not heard for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// Pause after all pods were full or away; each is twice the one before.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Bytes of a state, whose message has 4 KiB, each of which may be written as six.
const STATE_BYTES: usize = 32 << 10;
/// Bytes of the end of what a command wrote that a note keeps.
const NOTE_BYTES: usize = 240;
/// Pods that are asked at the same time.
const ASKED_MAX: usize = 16;
/// How often a run that nobody wants any more is taken back, until its pod has heard it.
const CANCELS_MAX: u32 = 5;

/// A command, as it is sent for each attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PooledAction {
    /// The pool.
    pub target: TargetName,
    /// The program and what it begins with.
    pub command: Vec<String>,
    pub args: Vec<String>,
    /// Variables; those of the run come beside them.
    pub env: Vec<EnvVar>,
    /// From the moment a pod took the run to its outcome; and the same again for the wait for a pod.
    pub timeout: Duration,
}

impl PooledAction {
    /// Bytes of it, for the shares of tenants.
    pub(super) fn bytes(&self) -> usize {
        let words = self.command.iter().chain(&self.args).map(String::len);
        words.chain(self.env.iter().map(|variable| variable.value.len())).sum()
    }
}

/// Runs the attempt to its outcome.
pub(super) async fn run(attempt: &Attempt, action: &PooledAction) -> Report {
    let Some(pool) = &attempt.reach.pool else {
        let note = format!("{} is no pool", action.target.as_str());
        return Outcome::Refused { note }.into();
    };
    let key = format!("{}.{}", attempt.call.key, attempt.call.attempt);
    let pooled = Pooled { attempt, action, pool, key };
    if attempt.call.is_resumed {
        match pooled.search().await {
            Found::In(place) => return pooled.follow(&place, true).await.into(),
            Found::Nowhere => {}
            Found::Unsure(note) => return Outcome::Failed { note }.into(),
        }
    }
    pooled.place().await.into()
}

/// Where a run of an earlier process is.
enum Found {
    In(Place),
    Nowhere,
    /// Some pod could not be asked.
    Unsure(String),
}

/// What a pod says of a run.
enum Known {
    Yes,
    No,
    Unsure(String),
}

struct Pooled<'a> {
    attempt: &'a Attempt,
    action: &'a PooledAction,
    pool: &'a Arc<Pool>,
    /// Of the attempt.
    key: String,
}

impl Pooled<'_> {
    /// Finds room, has the run begin there, and waits for its end.
    async fn place(&self) -> Outcome {
        let body = match serde_json::to_vec(&self.request()) {
            Ok(body) => Bytes::from(body),
            Err(error) => return Outcome::Refused { note: error.to_string() },
        };
        let (mut pause, mut last) = (PAUSE_FIRST, "all pods have enough to do".to_owned());
        loop {
            let now_ms = Timestamp::now().as_millisecond();
            if self.attempt.call.expires_ms.is_some_and(|expires_ms| expires_ms < now_ms) {
                return Outcome::Expired;
            }
            match self.pool.pods().await {
                Ok(pods) => {
                    let mut tried = Vec::new();
                    while let Some(place) = self.pool.take(&pods, &tried) {
                        match self.begin(&place, &body).await {
                            Ok(outcome) => return outcome,
                            Err(why) => last = why,
                        }
                        tried.push(place.pod);
                    }
                }
                Err(why) => last = why,
            }
            if Instant::now() + pause >= self.attempt.deadline {
                let seconds = self.action.timeout.as_secs();
                let note = format!("no pod took the run within {seconds} s; last: {last}");
                return Outcome::Failed { note };
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks a pod to begin the run, and stays with it if it may have; else why it did not.
    async fn begin(&self, place: &Place, body: &Bytes) -> Result<Outcome, String> {
        let mut hold = self.hold(place.pod);
        let sent = self.send(self.post(place.pod, body.clone()), ANSWER_WITHIN).await;
        // Whoever follows it holds it.
        hold.is_over = true;
        match sent {
            Ok(answer) if answer.status.is_success() => Ok(match state(&answer) {
                Some(state) if !state.state.is_running() => self.outcome(&state),
                _ => self.follow(place, true).await,
            }),
            Ok(answer) if matches!(answer.status.as_u16(), 401 | 429 | 503) => {
                Err(format!("{}: {}", place.pod, answer.note()))
            }
            Ok(answer) => {
                let note = format!("the pod refused the run: {}", answer.note());
                Ok(Outcome::Refused { note })
            }
            Err(Trouble::Denied(note)) => Ok(Outcome::Refused { note }),
            Err(Trouble::NotSent(why)) => Err(format!("{}: {why}", place.pod)),
            Err(Trouble::Broken(_) | Trouble::TimedOut(_)) => Ok(self.follow(place, false).await),
        }
    }

    /// Asks a pod how the run is until it is over, or the pod is gone. `has_begun`: the pod said so.
    async fn follow(&self, place: &Place, has_begun: bool) -> Outcome {
        let mut hold = self.hold(place.pod);
        let killed = Duration::from_secs(KILL_AFTER_SECONDS) + ANSWER_WITHIN;
        let end = Instant::now() + self.action.timeout.min(super::flight::TIMEOUT_MAX) + killed;
        let (mut heard, mut pause) = (Instant::now(), PAUSE_FIRST);
        loop {
            let path = format!("runs/{}?waitSeconds={WAIT_SECONDS}", self.key);
            let within = Duration::from_secs(WAIT_SECONDS) + ANSWER_WITHIN;
            let asked = self.send(self.ask(place.pod, &path), within).await;
            let why = match asked {
                Ok(answer) if answer.status.is_success() => match state(&answer) {
                    Some(state) if state.state.is_running() => {
                        (heard, pause) = (Instant::now(), PAUSE_FIRST);
                        if heard < end {
                            continue;
                        }
                        let time = self.action.timeout.as_secs();
                        let note = format!("the pod did not end it after {time} s");
                        return Outcome::TimedOut { note };
                    }
                    Some(state) => {
                        hold.is_over = true;
                        return self.outcome(&state);
                    }
                    None => "the answer says nothing".to_owned(),
                },
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    // One that may yet come to begin is kept from it.
                    hold.is_over = has_begun;
                    let note = format!(
                        "the pod {} does not know the run any more: how it ended is not known",
                        place.pod
                    );
                    return Outcome::Failed { note };
                }
                Ok(answer) => answer.note(),
                Err(trouble) => trouble.note(),
            };
            if heard.elapsed() >= GONE_AFTER || Instant::now() >= end {
                let note = format!(
                    "the pod {} is gone: how the run ended is not known; last: {why}",
                    place.pod
                );
                return Outcome::Failed { note };
            }
            sleep_until((Instant::now() + pause).min(end)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks every pod for a run of an earlier process, until each has said something or is gone.
    async fn search(&self) -> Found {
        let (started, mut pause) = (Instant::now(), PAUSE_FIRST);
        loop {
            let why = match self.pool.pods().await {
                Err(why) => why,
                Ok(pods) => {
                    let ask = |pod: SocketAddr| async move { (pod, self.knows(pod).await) };
                    let mut asked = stream::iter(pods).map(ask).buffer_unordered(ASKED_MAX);
                    let mut unsure = None;
                    while let Some((pod, known)) = asked.next().await {
                        match known {
                            Known::Yes => return Found::In(self.pool.occupy(pod)),
                            Known::No => {}
                            Known::Unsure(why) => unsure = Some(format!("{pod}: {why}")),
                        }
                    }
                    let Some(why) = unsure else { return Found::Nowhere };
                    why
                }
            };
            if started.elapsed() >= GONE_AFTER {
                return Found::Unsure(format!(
                    "an earlier process may have had it begin, and not every pod could be asked; \
                     last: {why}"
                ));
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn knows(&self, pod: SocketAddr) -> Known {
        let request = self.ask(pod, &format!("runs/{}", self.key));
        match self.send(request, ANSWER_WITHIN).await {
            Ok(answer) if answer.status.is_success() => Known::Yes,
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => Known::No,
            Ok(answer) => Known::Unsure(answer.note()),
            // Where nothing listens there is no runner, and no run outlives its runner.
            Err(Trouble::NotSent(_)) if is_refused(pod).await => Known::No,
            Err(trouble) => Known::Unsure(trouble.note()),
        }
    }

    fn request(&self) -> RunRequest {
        let call = &self.attempt.call;
        let nominal = Timestamp::from_second(call.nominal).unwrap_or(Timestamp::UNIX_EPOCH);
        let own = [
            (KEY_VARIABLE, call.key.to_string()),
            (ATTEMPT_VARIABLE, call.attempt.to_string()),
            (SCHEDULE_VARIABLE, call.job.to_string()),
            (NOMINAL_VARIABLE, nominal.to_string()),
        ];
        let own = own.into_iter().map(|(name, value)| EnvVar { name: name.to_owned(), value });
        RunRequest {
            key: self.key.clone(),
            command: self.action.command.clone(),
            args: self.action.args.clone(),
            env: self.action.env.iter().cloned().chain(own).collect(),
            timeout_milliseconds: u64::try_from(self.action.timeout.as_millis())
                .unwrap_or(u64::MAX),
        }
    }

    fn outcome(&self, state: &RunState) -> Outcome {
        let said = tail(&state.message);
        let with = |what: String| if said.is_empty() { what } else { format!("{what}: {said}") };
        match state.state {
            RunWord::Succeeded => Outcome::Succeeded { note: said },
            RunWord::Failed => Outcome::Failed {
                note: match state.exit_code {
                    Some(code) => with(format!("exit code {code}")),
                    None => said,
                },
            },
            RunWord::Refused => Outcome::Refused { note: said },
            RunWord::TimedOut => {
                let seconds = self.action.timeout.as_secs_f32();
                Outcome::TimedOut { note: with(format!("not over within {seconds} s")) }
            }
            RunWord::Cancelled => Outcome::Failed { note: with("it was ended in its pod".into()) },
            RunWord::Stopped | RunWord::Running => {
                Outcome::Failed { note: with("its pod stopped".into()) }
            }
        }
    }

    fn hold(&self, pod: SocketAddr) -> Hold {
        Hold {
            reach: Arc::clone(&self.attempt.reach),
            credentials: Arc::clone(&self.attempt.credentials),
            pod,
            key: self.key.clone(),
            is_over: false,
        }
    }

    fn post(&self, pod: SocketAddr, body: Bytes) -> Request<Full<Bytes>> {
        request(&self.attempt.credentials, Method::POST, pod, "runs", body)
    }

    fn ask(&self, pod: SocketAddr, path: &str) -> Request<Full<Bytes>> {
        request(&self.attempt.credentials, Method::GET, pod, path, Bytes::new())
    }

    async fn send(
        &self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Answer, Trouble> {
        let deadline = Instant::now() + within;
        exchange(&self.attempt.reach.client, request, deadline, STATE_BYTES).await
    }
}

/// Takes a run back that may have begun, when it is dropped before the run was over: it was cancelled,
/// or its pod was not heard. Where the process ends nothing is sent, and the run goes on.
struct Hold {
    reach: Arc<Reach>,
    credentials: Arc<Credentials>,
    pod: SocketAddr,
    key: String,
    is_over: bool,
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let Ok(runtime) = Handle::try_current() else { return };
        let (reach, credentials) = (Arc::clone(&self.reach), Arc::clone(&self.credentials));
        let (pod, path) = (self.pod, format!("runs/{}", self.key));
        runtime.spawn(async move {
            for _ in 0..CANCELS_MAX {
                let request = request(&credentials, Method::DELETE, pod, &path, Bytes::new());
                let deadline = Instant::now() + ANSWER_WITHIN;
                let asked = exchange(&reach.client, request, deadline, 0).await;
                if asked.is_ok_and(|answer| answer.status.is_success()) {
                    return;
                }
                sleep(PAUSE_MAX).await;
            }
            tracing::warn!(%pod, path, "failed to end a run: it ends when its time is over");
        });
    }
}

fn request(
    credentials: &Credentials,
    method: Method,
    pod: SocketAddr,
    path: &str,
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    // An address and a key can be parts of a URI.
    *request.uri_mut() = format!("http://{pod}/{path}").parse().unwrap_or(Uri::from_static("/"));
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some((name, value)) = &credentials.auth {
        headers.insert(name, value.clone());
    }
    request
}

fn state(answer: &Answer) -> Option<RunState> {
    serde_json::from_slice(&answer.body).ok()
}

async fn is_refused(pod: SocketAddr) -> bool {
    let connected = tokio::time::timeout(ANSWER_WITHIN, TcpStream::connect(pod)).await;
    matches!(connected, Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// The end of a text, short and safe to show.
fn tail(text: &str) -> String {
    let text = text.trim_end();
    let mut from = text.len().saturating_sub(NOTE_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    note::escaped(&text[from..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_output_is_what_a_note_has() {
        assert_eq!(tail("a\nb\n"), "a\\nb");
        let long = tail(&format!("{}end", "é".repeat(1_000)));
        assert!(long.len() <= NOTE_BYTES && long.ends_with("éend"), "{long}");
    }
}
