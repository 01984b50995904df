//! One-shots: jobs with a single moment.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use orrery_api::scheduler::{self as api, Action, Retry, ScheduleSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::App;
use super::input::{Json, json, moment};
use super::jobs::PutResult;
use super::problem::Problem;
use crate::engine::{Engine, JobSpec, shown};

/// Header of requests that may be sent twice.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// What names that are made begin with.
const PREFIX: &str = "once-";
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;
/// Longest delay: ten years.
const DELAY_SECONDS_MAX: i64 = 10 * 366 * 86_400;

/// What is to be done once.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Once {
    name: Option<String>,
    /// The moment, RFC 3339; or:
    at: Option<String>,
    /// So many seconds from now.
    delay_seconds: Option<i64>,
    action: Action,
    #[serde(default)]
    retry: Retry,
    timeout_seconds: Option<i64>,
    starting_deadline_seconds: Option<i64>,
    finish_within_seconds: Option<i64>,
    #[serde(default)]
    jitter_seconds: i64,
    priority: Option<i32>,
    tenant: Option<String>,
    note: Option<String>,
}

/// `POST /v1/once`.
pub(super) async fn post(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(once): Json<Once>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Made<'a> {
        #[serde(flatten)]
        put: PutResult<'a>,
        /// Left out where the job was there already: GET it for its moment.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<String>,
    }
    let at = once.moment(app.now_ms())?;
    let key = key_of(&headers)?;
    let is_kept = key.is_some();
    let name = match (&once.name, key) {
        (Some(name), _) => name.clone(),
        (None, Some(key)) => named_by(&key),
        (None, None) => format!("{PREFIX}{:016x}{:016x}", app.env.random(), app.env.random()),
    };
    let job = JobSpec { name: name.clone(), spec: once.spec(at), exclusions: vec![] };
    let about = |problem: Problem| problem.about(&name);
    let edited = if is_kept {
        app.engine.put_absent(job, app.now()).await.map_err(|error| about(error.into()))?
    } else {
        let results = app.engine.put(vec![job], app.now()).await;
        let result = results.map_err(|error| about(error.into()))?.pop();
        let result = result.ok_or_else(|| Problem::invalid("there was no job"))?;
        result.map_err(|error| about(error.into()))?
    };
    let put = PutResult::of(&name, edited);
    let at = Some(shown(at)).filter(|_| put.result != "same");
    Ok(json(put.status(), &Made { put, at }))
}

impl Once {
    /// The second it is to be done in.
    fn moment(&self, now_ms: i64) -> Result<i64, Problem> {
        match (&self.at, self.delay_seconds) {
            (Some(at), None) => moment("at", at),
            (None, Some(delay)) if (0..=DELAY_SECONDS_MAX).contains(&delay) => {
                // Not before the delay is over.
                Ok((now_ms + delay * 1000 + 999).div_euclid(1000))
            }
            (None, Some(_)) => {
                Err(Problem::invalid(format!("delaySeconds is 0 to {DELAY_SECONDS_MAX}")))
            }
            _ => Err(Problem::invalid("exactly one of at and delaySeconds is needed")),
        }
    }

    fn spec(self, at: i64) -> ScheduleSpec {
        // A rule of cron is replaced by the moment.
        let mut spec = Engine::of_cron("", None, api::Dialect::Vixie).spec;
        spec.when = api::When { at: Some(shown(at)), ..api::When::default() };
        spec.action = self.action;
        spec.retry = self.retry;
        spec.timeout_seconds = self.timeout_seconds;
        spec.starting_deadline_seconds = self.starting_deadline_seconds;
        spec.finish_within_seconds = self.finish_within_seconds;
        spec.jitter_seconds = self.jitter_seconds;
        spec.priority = self.priority.unwrap_or(spec.priority);
        spec.tenant = self.tenant;
        spec.note = self.note;
        spec
    }
}

fn key_of(headers: &HeaderMap) -> Result<Option<Vec<u8>>, Problem> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY).map(http::HeaderValue::as_bytes) else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let detail = format!("Idempotency-Key has 1 to {KEY_BYTES_MAX} bytes");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "MalformedRequest", detail));
    }
    Ok(Some(key.to_vec()))
}

/// The name that a key makes: half of its SHA-256.
fn named_by(key: &[u8]) -> String {
    let digest = Sha256::digest(key);
    digest[..16].iter().fold(PREFIX.to_owned(), |mut name, byte| {
        // Writing to a String does not fail.
        _ = write!(name, "{byte:02x}");
        name
    })
}
