//! Runs: cancelled, and those that somebody should know of.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::Deserialize;

use super::App;
use super::input::{Json, Named, Query, json, moment};
use super::jobs::Nothing;
use super::problem::Problem;
use crate::engine::{EngineError, RecentQuery, RunFilter};
use crate::run::RunId;

/// How far back it is looked unless asked otherwise.
const SINCE_MS: i64 = 86_400_000;
/// Runs of an answer unless asked otherwise.
const RUNS: usize = 50;
/// Late is what is launched more than this behind its planned moment, unless asked otherwise.
const LATE_MS: i64 = 1000;

/// `POST /v1/runs/{key}/cancel`.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Named(key): Named,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Response, Problem> {
    // A key of another engine may have the numbers of a run of this one.
    let is_own = RunId::of_key(&key).is_some_and(|run| app.engine.resolver.key(run) == key);
    if !is_own {
        return Err(EngineError::NoRun(key).into());
    }
    app.engine.cancel(&key).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// What `GET /v1/runs` asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RecentAsked {
    state: RunFilter,
    since: Option<String>,
    late_ms: Option<i64>,
    limit: Option<usize>,
}

/// `GET /v1/runs`.
pub(super) async fn recent(
    State(app): State<Arc<App>>,
    Query(asked): Query<RecentAsked>,
) -> Result<Response, Problem> {
    let _room = app.reader()?;
    let since_ms = match &asked.since {
        Some(since) => moment("since", since)?.saturating_mul(1000),
        None => app.now_ms() - SINCE_MS,
    };
    let query = RecentQuery {
        filter: asked.state,
        since_ms,
        late_ms: asked.late_ms.unwrap_or(LATE_MS),
        limit: asked.limit.unwrap_or(RUNS),
    };
    Ok(json(StatusCode::OK, &app.engine.recent(query).await?))
}
