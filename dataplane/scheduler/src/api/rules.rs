//! Rules: what they say in words, what a change of one changes, and as a calendar.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use orrery_api::scheduler::{DeclaredSchedule, Dialect, ScheduleSpec};
use serde::Deserialize;

use super::App;
use super::input::{Json, Named, Query, json, moment};
use super::problem::Problem;
use crate::engine::Engine;

/// Times that are named unless asked otherwise.
const COUNT: usize = 10;

/// What `GET /v1/explain` asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CronAsked {
    cron: String,
    tz: Option<String>,
    #[serde(default)]
    dialect: Dialect,
    count: Option<usize>,
    after: Option<String>,
    /// What `H` is derived from.
    #[serde(default)]
    name: String,
}

/// `GET /v1/explain`.
pub(super) async fn explain_cron(
    State(app): State<Arc<App>>,
    Query(asked): Query<CronAsked>,
) -> Result<Response, Problem> {
    let declared = Engine::of_cron(&asked.cron, asked.tz.as_deref(), asked.dialect);
    explain(&app, asked.name, declared, asked.count, asked.after).await
}

/// A whole spec that is to be explained.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpecAsked {
    #[serde(default)]
    name: String,
    spec: ScheduleSpec,
    #[serde(default)]
    exclusions: Vec<String>,
    count: Option<usize>,
    after: Option<String>,
}

/// `POST /v1/explain`.
pub(super) async fn explain_spec(
    State(app): State<Arc<App>>,
    Json(asked): Json<SpecAsked>,
) -> Result<Response, Problem> {
    let declared = DeclaredSchedule { exclusions: asked.exclusions, ..asked.spec.into() };
    explain(&app, asked.name, declared, asked.count, asked.after).await
}

async fn explain(
    app: &Arc<App>,
    name: String,
    declared: DeclaredSchedule,
    count: Option<usize>,
    after: Option<String>,
) -> Result<Response, Problem> {
    let after = after.map_or_else(|| Ok(app.now()), |after| moment("after", &after))?;
    let engine = Arc::clone(&app.engine);
    let explained = tokio::task::spawn_blocking(move || {
        engine.explain(&name, declared, after, count.unwrap_or(COUNT))
    });
    let explained = explained.await.map_err(crate::engine::EngineError::from)?;
    Ok(json(StatusCode::OK, &explained?))
}

/// A job and what it would be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    name: String,
    spec: ScheduleSpec,
    #[serde(default)]
    exclusions: Vec<String>,
}

/// `POST /v1/what-if`.
pub(super) async fn what_if(
    State(app): State<Arc<App>>,
    Json(Change { name, spec, exclusions }): Json<Change>,
) -> Result<Response, Problem> {
    let declared = DeclaredSchedule { exclusions, ..spec.into() };
    let compared = app.engine.what_if(&name, declared, app.now()).await;
    let compared = compared.map_err(|error| Problem::from(error).about(&name))?;
    Ok(json(StatusCode::OK, &compared))
}

/// `GET /v1/jobs/{name}/calendar.ics`.
pub(super) async fn calendar(
    State(app): State<Arc<App>>,
    Named(name): Named,
) -> Result<Response, Problem> {
    let text = app.engine.calendar(&name, app.now()).await?;
    // Names hold nothing that ends a quoted text.
    let file = format!("inline; filename=\"{name}.ics\"");
    let headers =
        [(CONTENT_TYPE, "text/calendar; charset=utf-8"), (CONTENT_DISPOSITION, file.as_str())];
    Ok((StatusCode::OK, headers, text).into_response())
}
