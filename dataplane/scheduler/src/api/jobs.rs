//! Single jobs: made, changed, looked at, removed, paused, run.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use orrery_api::scheduler::ScheduleSpec;
use serde::{Deserialize, Serialize};

use super::App;
use super::input::{Json, Named, Query, json, moment};
use super::problem::Problem;
use crate::engine::{JobFilter, JobSpec, ListQuery, RunRecord};
use crate::machine::Edited;

/// Jobs on a page unless asked otherwise.
const PAGE: usize = 100;
/// Jobs on a page.
const PAGE_MAX: usize = 1000;
/// Runs of an answer unless asked otherwise.
const RUNS: usize = 20;

/// A job as it is put: its name stands in the path.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct JobBody {
    pub(super) spec: ScheduleSpec,
    #[serde(default)]
    pub(super) exclusions: Vec<String>,
}

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct PutResult<'a> {
    pub(super) name: &'a str,
    pub(super) revision: u32,
    pub(super) result: &'static str,
}

impl<'a> PutResult<'a> {
    pub(super) fn of(name: &'a str, edited: Edited) -> Self {
        let result = match edited {
            Edited { is_same: true, .. } => "same",
            Edited { is_new: true, .. } => "created",
            Edited { .. } => "changed",
        };
        Self { name, revision: edited.revision, result }
    }

    pub(super) fn status(&self) -> StatusCode {
        if self.result == "created" { StatusCode::CREATED } else { StatusCode::OK }
    }
}

/// `PUT /v1/jobs/{name}`.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Json(body): Json<JobBody>,
) -> Result<Response, Problem> {
    let job = JobSpec { name: name.clone(), spec: body.spec, exclusions: body.exclusions };
    let about = |problem: Problem| problem.about(&name);
    let results = app.engine.put(vec![job], app.now()).await.map_err(Problem::from);
    let result = results.map_err(about)?.pop();
    let edited = result.ok_or_else(|| Problem::invalid("there was no job"))?;
    let edited = edited.map_err(Problem::from).map_err(about)?;
    let result = PutResult::of(&name, edited);
    Ok(json(result.status(), &result))
}

/// `GET /v1/jobs/{name}`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Named(name): Named,
) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &app.engine.job(&name).await?))
}

/// `DELETE /v1/jobs/{name}`.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Named(name): Named,
) -> Result<Response, Problem> {
    app.engine.remove(&name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What `GET /v1/jobs` asks.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ListAsked {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    search: String,
    #[serde(default)]
    after: String,
    limit: Option<usize>,
    tenant: Option<String>,
    state: Option<JobFilter>,
}

/// `GET /v1/jobs`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Query(asked): Query<ListAsked>,
) -> Result<Response, Problem> {
    let query = ListQuery {
        prefix: asked.prefix,
        search: asked.search,
        after: asked.after,
        limit: asked.limit.unwrap_or(PAGE).min(PAGE_MAX),
        tenant: asked.tenant,
        filter: asked.state,
    };
    Ok(json(StatusCode::OK, &app.engine.jobs(&query).await?))
}

/// Nothing but `{}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// `POST /v1/jobs/{name}/run`.
pub(super) async fn run(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Begun {
        /// None: it waits for the run before it, or was left out because of it.
        run: Option<String>,
    }
    let run = app.engine.trigger(&name, app.now()).await?;
    Ok(json(StatusCode::ACCEPTED, &Begun { run }))
}

/// `POST /v1/jobs/{name}/pause`.
pub(super) async fn pause(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Response, Problem> {
    app.engine.pause(&name, true).await?;
    Ok(json(StatusCode::OK, &app.engine.job(&name).await?))
}

/// `POST /v1/jobs/{name}/resume`.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Json(Nothing {}): Json<Nothing>,
) -> Result<Response, Problem> {
    app.engine.pause(&name, false).await?;
    Ok(json(StatusCode::OK, &app.engine.job(&name).await?))
}

/// A range of time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    from: String,
    to: String,
}

impl Range {
    /// First and last second.
    pub(super) fn seconds(&self) -> Result<(i64, i64), Problem> {
        Ok((moment("from", &self.from)?, moment("to", &self.to)?))
    }
}

/// `POST /v1/jobs/{name}/backfill`.
pub(super) async fn backfill(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Json(range): Json<Range>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Begun {
        runs: u64,
    }
    let (from, to) = range.seconds()?;
    let runs = app.engine.backfill(&name, from, to).await?;
    Ok(json(StatusCode::ACCEPTED, &Begun { runs }))
}

/// How many.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    pub(super) limit: Option<usize>,
}

/// `GET /v1/jobs/{name}/runs`.
pub(super) async fn runs(
    State(app): State<Arc<App>>,
    Named(name): Named,
    Query(Limit { limit }): Query<Limit>,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Runs {
        runs: Vec<RunRecord>,
    }
    let runs = app.engine.runs(&name, limit.unwrap_or(RUNS)).await?;
    Ok(json(StatusCode::OK, &Runs { runs }))
}
