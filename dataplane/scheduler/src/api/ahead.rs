//! What lies ahead and what lies behind: the forecast, the next runs, and the proof.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::App;
use super::input::{Json, Query, json, moment};
use super::jobs::{Limit, Range};
use super::problem::Problem;
use crate::engine::{ForecastQuery, Upcoming, shown};

/// Seconds that a forecast looks ahead unless asked otherwise.
const AHEAD_SECONDS: i64 = 3600;
/// Seconds of one of its steps unless asked otherwise.
const STEP_SECONDS: i64 = 60;
/// Runs to come unless asked otherwise.
const RUNS: usize = 20;

/// What `GET /v1/forecast` asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ForecastAsked {
    from: Option<String>,
    to: Option<String>,
    step: Option<i64>,
    target: Option<String>,
}

/// `GET /v1/forecast`.
pub(super) async fn forecast(
    State(app): State<Arc<App>>,
    Query(asked): Query<ForecastAsked>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown {
        from: String,
        to: String,
        step_seconds: i64,
        launches: Vec<u64>,
        most: u64,
        most_at: String,
        following: u64,
    }
    let from = asked.from.map_or_else(|| Ok(app.now()), |from| moment("from", &from))?;
    let to = asked.to.map_or(Ok(from + AHEAD_SECONDS), |to| moment("to", &to))?;
    let step = asked.step.unwrap_or(STEP_SECONDS);
    let query = ForecastQuery { from, to, step, target: asked.target };
    let found = app.engine.forecast(&query).await?;
    let shown = Shown {
        from: shown(found.from),
        to: shown(found.to),
        step_seconds: found.step,
        launches: found.launches,
        most: found.most,
        most_at: shown(found.most_at),
        following: found.following,
    };
    Ok(json(StatusCode::OK, &shown))
}

/// `GET /v1/upcoming`.
pub(super) async fn upcoming(
    State(app): State<Arc<App>>,
    Query(Limit { limit }): Query<Limit>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Shown {
        runs: Vec<Upcoming>,
    }
    let runs = app.engine.upcoming(limit.unwrap_or(RUNS)).await?;
    Ok(json(StatusCode::OK, &Shown { runs }))
}

/// `POST /v1/verify`.
pub(super) async fn verify(
    State(app): State<Arc<App>>,
    Json(range): Json<Range>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown {
        from: String,
        to: String,
        /// Nothing was missed, nothing came twice, and of nothing it is unknown.
        is_clean: bool,
        jobs: u64,
        expected: u64,
        launched: u64,
        skipped: u64,
        waiting: u64,
        pending: u64,
        missed: u64,
        duplicated: u64,
        unexpected: u64,
        gaps: u64,
        differences: Vec<String>,
    }
    let (from, to) = range.seconds()?;
    let _room = app.reader()?;
    let found = app.engine.verify(from, to, app.now()).await?;
    let shown = Shown {
        from: shown(found.from),
        to: shown(found.to),
        is_clean: found.is_clean(),
        jobs: found.jobs,
        expected: found.expected,
        launched: found.launched,
        skipped: found.skipped,
        waiting: found.waiting,
        pending: found.pending,
        missed: found.missed,
        duplicated: found.duplicated,
        unexpected: found.unexpected,
        gaps: found.gaps,
        differences: found.differences,
    };
    Ok(json(StatusCode::OK, &shown))
}
