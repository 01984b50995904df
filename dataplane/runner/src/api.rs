//! What a scheduler may ask: `orrery_api::scheduler::runner` says how.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Json, Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{StatusCode, header};
use orrery_api::scheduler::runner::{
    COMMAND_BYTES_MAX, RunRequest, RunState, WAIT_SECONDS_MAX, is_key,
};
use orrery_kit::secrets::Secret;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::runs::{NoRoom, Runs};

/// Bytes of a request: every byte of a command may be written as six.
const BODY_BYTES_MAX: usize = 6 * COMMAND_BYTES_MAX + (64 << 10);
/// How long a request may take to come in.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Who may ask.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Whoever has the token.
    Token(Secret),
    /// Whoever is on this machine.
    Loopback,
}

impl Access {
    /// For a runner that listens there; none where anybody could ask.
    pub(crate) fn of(token: Option<Secret>, listen: SocketAddr) -> Option<Self> {
        match token {
            Some(token) => Some(Self::Token(token)),
            None => listen.ip().is_loopback().then_some(Self::Loopback),
        }
    }

    fn allows(&self, request: &Request) -> bool {
        let Self::Token(token) = self else { return true };
        let given = request.headers().get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        given.is_some_and(|given| bool::from(given.ct_eq(token.reveal().as_bytes())))
    }
}

pub(crate) fn router(runs: Arc<Runs>, access: Access) -> Router {
    let open = Router::new()
        .route("/livez", get(async || StatusCode::OK))
        .route("/readyz", get(ready))
        .with_state(Arc::clone(&runs));
    Router::new()
        .route("/runs", post(begin))
        .route("/runs/{key}", get(look).delete(cancel))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(access), admit))
        .with_state(runs)
        .merge(open)
}

/// Lets in who may ask, before anything of a body is read.
async fn admit(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    if !access.allows(&request) {
        return problem(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
    }
    next.run(request).await
}

async fn ready(State(runs): State<Arc<Runs>>) -> Response {
    if runs.is_stopping() {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the pod stops");
    }
    StatusCode::OK.into_response()
}

async fn begin(State(runs): State<Arc<Runs>>, request: Request) -> Response {
    use axum::extract::FromRequest as _;
    let read = timeout(BODY_WITHIN, Json::<RunRequest>::from_request(request, &()));
    let request: Result<Json<RunRequest>, JsonRejection> = match read.await {
        Ok(read) => read,
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "the request did not come in time"),
    };
    let request = match request {
        Ok(Json(request)) => request,
        Err(rejection) => return problem(rejection.status(), &rejection.body_text()),
    };
    if let Err(why) = check(&request) {
        return problem(StatusCode::BAD_REQUEST, why);
    }
    match runs.begin(&request) {
        Ok(state) => answer(&runs, &request.key, &state),
        Err(NoRoom::Full) => problem(StatusCode::TOO_MANY_REQUESTS, "the pod has no room"),
        Err(NoRoom::Stopping) => problem(StatusCode::SERVICE_UNAVAILABLE, "the pod stops"),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wait {
    #[serde(default)]
    wait_seconds: u64,
}

async fn look(
    State(runs): State<Arc<Runs>>,
    Path(key): Path<String>,
    wait: Result<Query<Wait>, QueryRejection>,
) -> Response {
    let Ok(Query(wait)) = wait else {
        return problem(StatusCode::BAD_REQUEST, "waitSeconds is no number");
    };
    let Some(mut state) = runs.find(&key) else {
        return problem(StatusCode::NOT_FOUND, "no such run");
    };
    let over = state.wait_for(|state| !state.state.is_running());
    let wait = Duration::from_secs(wait.wait_seconds.min(WAIT_SECONDS_MAX));
    // When the time is over, it is how it is.
    _ = timeout(wait, over).await.is_ok();
    answer(&runs, &key, &state)
}

async fn cancel(State(runs): State<Arc<Runs>>, Path(key): Path<String>) -> Response {
    if !is_key(&key) {
        return problem(StatusCode::BAD_REQUEST, "it is no key");
    }
    respond(runs.cancel(&key))
}

fn answer(runs: &Runs, key: &str, state: &watch::Receiver<RunState>) -> Response {
    let state = state.borrow().clone();
    if !state.state.is_running() {
        runs.told(key);
    }
    respond(state)
}

fn respond(state: RunState) -> Response {
    let status = if state.state.is_running() { StatusCode::ACCEPTED } else { StatusCode::OK };
    (status, Json(state)).into_response()
}

fn problem(status: StatusCode, why: &str) -> Response {
    (status, format!("{why}\n")).into_response()
}

/// What no process can be started with, and no scheduler asks for.
fn check(request: &RunRequest) -> Result<(), &'static str> {
    if !is_key(&request.key) {
        return Err("key has 1 to 253 of letters, digits and -_.");
    }
    let words = || request.command.iter().chain(&request.args);
    let variables = || request.env.iter().flat_map(|variable| [&variable.name, &variable.value]);
    if words().chain(variables()).any(|text| text.contains('\0')) {
        return Err("a word or a variable has a character that none can have");
    }
    if request.env.iter().any(|variable| variable.name.is_empty() || variable.name.contains('=')) {
        return Err("a variable has no name, or a name with =");
    }
    let bytes: usize = words().chain(variables()).map(|text| text.len() + 1).sum();
    if bytes > COMMAND_BYTES_MAX {
        return Err("command, arguments and environment have more than 1 MiB");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_that_others_can_reach_needs_a_token() {
        let (near, far) = (([127, 0, 0, 1], 1).into(), ([0, 0, 0, 0], 1).into());
        assert!(Access::of(None, near).is_some() && Access::of(None, far).is_none());
        assert!(Access::of(Some(Secret::new("t")), far).is_some());
    }

    #[test]
    fn what_cannot_be_a_command_is_refused() {
        let read = |text: &str| serde_json::from_str::<RunRequest>(text).expect("a request");
        let with = |more: &str| {
            let text = format!(r#"{{"command": ["a"], "timeoutMilliseconds": 1, {more}}}"#);
            check(&read(&text))
        };
        assert_eq!(with(r#""key": "a_1.2""#), Ok(()));
        with(r#""key": """#).unwrap_err();
        with(r#""key": "a/b""#).unwrap_err();
        with(r#""key": "a", "args": ["a\u0000b"]"#).unwrap_err();
        with(r#""key": "a", "env": [{"name": "A=B", "value": ""}]"#).unwrap_err();
        with(r#""key": "a", "env": [{"name": "", "value": ""}]"#).unwrap_err();
        let long = "x".repeat(COMMAND_BYTES_MAX);
        with(&format!(r#""key": "a", "args": ["{long}"]"#)).unwrap_err();
    }
}
