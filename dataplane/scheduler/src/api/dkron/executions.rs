//! Runs by Dkron's routes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::{StatusCode, Uri};

use super::job::Execution;
use super::{NO_TIME, render, render_list, unsupported};
use crate::api::App;
use crate::api::input::{Named, Query};
use crate::api::problem::Problem;
use crate::engine::{EngineError, JobFilter, ListQuery};

/// Runs that one list has.
const RUNS_MAX: usize = 1000;

/// `GET /v1/jobs/{name}/executions`, the newest first unless asked otherwise.
pub(in super::super) async fn list(
    State(app): State<Arc<App>>,
    uri: Uri,
    Named(name): Named,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let asked =
        |wanted: &str| query.iter().find(|(name, _)| name == wanted).map(|(_, v)| v.as_str());
    let runs = app.engine.runs(&name, RUNS_MAX).await?;
    let node = app.node();
    let mut runs: Vec<Execution> = runs.into_iter().map(|run| Execution::of(run, &node)).collect();
    if asked("_order").is_some_and(|order| order.eq_ignore_ascii_case("asc")) {
        runs.reverse();
    }
    if let Some(bytes_max) = asked("output_size_limit").and_then(|limit| limit.parse().ok()) {
        for run in &mut runs {
            cut(run, bytes_max);
        }
    }
    let total = runs.len() as u64;
    Ok(render_list(&uri, &runs, total))
}

/// Keeps the end of an output.
fn cut(run: &mut Execution, bytes_max: usize) {
    if run.output.len() > bytes_max {
        let from = run.output.ceil_char_boundary(run.output.len() - bytes_max);
        run.output.drain(..from);
        run.output_truncated = true;
    }
}

/// `GET /v1/jobs/{name}/executions/{execution}`.
pub(in super::super) async fn get(
    State(app): State<Arc<App>>,
    uri: Uri,
    Path((name, key)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let runs = app.engine.runs(&name, RUNS_MAX).await?;
    let run = runs.into_iter().find(|run| run.key == key);
    let run = run.ok_or_else(|| Problem::from(EngineError::NoRun(key)).about(&name))?;
    Ok(render(StatusCode::OK, &uri, &Execution::of(run, &app.node())))
}

/// `DELETE /v1/jobs/{name}/executions`.
pub(in super::super) async fn delete(
    State(app): State<Arc<App>>,
    Named(name): Named,
) -> Result<Response, Problem> {
    app.engine.job(&name).await?;
    let detail = "the ledger proves what was launched: runs go when they are old, and not before";
    Err(unsupported(detail).about(&name))
}

/// `GET /v1/busy`.
pub(in super::super) async fn busy(
    State(app): State<Arc<App>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query =
        ListQuery { limit: RUNS_MAX, filter: Some(JobFilter::Running), ..ListQuery::default() };
    let page = app.engine.jobs(&query).await?;
    let node = app.node();
    let mut runs: Vec<Execution> = vec![];
    for job in page.jobs {
        let started = job.last_run.map_or_else(|| NO_TIME.to_owned(), |run| run.started);
        runs.extend(job.running.into_iter().map(|key| Execution {
            id: key,
            job_name: job.name.clone(),
            started_at: started.clone(),
            finished_at: NO_TIME.to_owned(),
            success: false,
            output: String::new(),
            node_name: node.clone(),
            group: 0,
            attempt: 1,
            output_truncated: false,
        }));
    }
    runs.sort_by(|a, b| a.started_at.cmp(&b.started_at));
    let total = runs.len() as u64;
    Ok(render_list(&uri, &runs, total))
}
