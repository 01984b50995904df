//! Jobs by Dkron's routes.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, Uri, header::LOCATION};
use orrery_api::scheduler::ScheduleSpec;

use super::convert::{shown_of, spec_of};
use super::job::{JobSent, JobShown};
use super::{render, render_list};
use crate::api::App;
use crate::api::input::{BODY_BYTES_MAX, Named, Query, read};
use crate::api::problem::Problem;
use crate::engine::{EngineError, JobDetails, JobSpec, ListQuery};

/// Jobs that are looked through for one list.
const JOBS_MAX: usize = 10_000;
/// Lists up to so many jobs count runs.
const COUNTED_JOBS_MAX: usize = 100;
/// Newest runs of a job that are counted.
const COUNTED_RUNS: usize = 100;

/// A job as it is shown.
pub(super) async fn show(app: &App, job: JobDetails) -> Result<JobShown, Problem> {
    let runs = match app.engine.runs(&job.name, COUNTED_RUNS).await {
        Ok(runs) => runs,
        // Removed while it was looked at.
        Err(EngineError::NoJob(_)) => vec![],
        Err(error) => return Err(error.into()),
    };
    shown_of(job, &runs)
}

/// Makes or changes a job, and gives it as it is then.
pub(super) async fn set(app: &App, sent: JobSent) -> Result<JobShown, Problem> {
    let job = spec_of(sent)?;
    put(app, job).await
}

async fn put(app: &App, job: JobSpec) -> Result<JobShown, Problem> {
    let name = job.name.clone();
    let about = |error: EngineError| Problem::from(error).about(&name);
    let mut results = app.engine.put(vec![job], app.now()).await.map_err(about)?;
    if let Some(Err(error)) = results.pop() {
        return Err(about(error));
    }
    show(app, app.engine.job(&name).await?).await
}

/// `POST` and `PATCH /v1/jobs`, `PUT /v1/jobs/{name}`.
pub(in super::super) async fn create(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    if app.is_paused.load(Relaxed) {
        let detail = "new jobs are paused: POST /v1/unpause";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Paused", detail));
    }
    let uri = request.uri().clone();
    let bytes = read(request, BODY_BYTES_MAX).await?;
    let sent: JobSent = serde_json::from_slice(&bytes)
        .map_err(|error| Problem::malformed(format!("the body is no job of Dkron: {error}")))?;
    let name = sent.name.clone();
    let job = set(&app, sent).await.map_err(|problem| problem.about(&name))?;
    let query = uri.query().unwrap_or_default();
    if query.split('&').any(|part| part.split('=').next() == Some("runoncreate")) {
        app.engine.trigger(&job.name, app.now()).await?;
    }
    let mut answer = render(StatusCode::CREATED, &uri, &job);
    // Names are made of letters that headers and paths may have.
    if let Ok(place) = format!("/v1/jobs/{}", job.name).parse() {
        answer.headers_mut().insert(LOCATION, place);
    }
    Ok(answer)
}

/// `GET /v1/jobs/{name}`.
pub(in super::super) async fn get(
    State(app): State<Arc<App>>,
    uri: Uri,
    Named(name): Named,
) -> Result<Response, Problem> {
    let job = show(&app, app.engine.job(&name).await?).await?;
    Ok(render(StatusCode::OK, &uri, &job))
}

/// `DELETE /v1/jobs/{name}`.
pub(in super::super) async fn delete(
    State(app): State<Arc<App>>,
    uri: Uri,
    Named(name): Named,
) -> Result<Response, Problem> {
    let job = show(&app, app.engine.job(&name).await?).await?;
    app.engine.remove(&name).await?;
    Ok(render(StatusCode::OK, &uri, &job))
}

/// `POST /v1/jobs/{name}` and `POST /v1/jobs/{name}/run`.
pub(in super::super) async fn run(
    State(app): State<Arc<App>>,
    uri: Uri,
    Named(name): Named,
) -> Result<Response, Problem> {
    app.engine.trigger(&name, app.now()).await?;
    let job = show(&app, app.engine.job(&name).await?).await?;
    Ok(render(StatusCode::ACCEPTED, &uri, &job))
}

/// `POST /v1/jobs/{name}/toggle`.
pub(in super::super) async fn toggle(
    State(app): State<Arc<App>>,
    uri: Uri,
    Named(name): Named,
) -> Result<Response, Problem> {
    let job = app.engine.job(&name).await?;
    let shown = show(&app, job.clone()).await?;
    if shown.schedule == super::schedule::MANUALLY {
        return Err(super::unsupported("a job that is @manually has nothing to toggle"));
    }
    let mut spec: ScheduleSpec =
        serde_json::from_value(job.spec).map_err(|error| Problem::invalid(error.to_string()))?;
    spec.suspend = !shown.disabled;
    let toggled =
        put(&app, JobSpec { name: name.clone(), spec, exclusions: job.exclusions }).await?;
    if shown.disabled && toggled.disabled {
        // It was paused beside the rule.
        app.engine.pause(&name, false).await?;
    }
    let job = show(&app, app.engine.job(&name).await?).await?;
    Ok(render(StatusCode::OK, &uri, &job))
}

/// What a list is asked for, by the names of the query.
#[derive(Debug, Default)]
struct ListAsked {
    search: String,
    metadata: Vec<(String, String)>,
    status: String,
    disabled: String,
    sort: String,
    is_descending: bool,
    start: usize,
    end: Option<usize>,
}

impl ListAsked {
    fn of(query: Vec<(String, String)>) -> Self {
        let mut asked = Self::default();
        for (name, value) in query {
            match name.as_str() {
                "q" => asked.search = value,
                "status" => asked.status = value,
                "disabled" => asked.disabled = value,
                "_sort" => asked.sort = value,
                "_order" => asked.is_descending = value.eq_ignore_ascii_case("desc"),
                "_start" => asked.start = value.parse().unwrap_or(0),
                "_end" => asked.end = value.parse().ok(),
                _ => {
                    let key = name.strip_prefix("metadata[").and_then(|n| n.strip_suffix(']'));
                    asked.metadata.extend(key.map(|key| (key.to_owned(), value)));
                }
            }
        }
        asked
    }

    /// Whether the order and the choice of jobs are those that names give.
    fn is_by_name(&self) -> bool {
        let is_any = self.metadata.is_empty() && self.status.is_empty() && self.disabled.is_empty();
        is_any && !self.is_descending && matches!(self.sort.as_str(), "" | "id" | "name")
    }

    fn fits(&self, job: &JobShown) -> bool {
        self.metadata.iter().all(|(key, value)| job.metadata.get(key) == Some(value))
            && (self.status.is_empty() || self.status == job.status)
            && (self.disabled.is_empty() || (self.disabled == "true") == job.disabled)
    }

    fn compare(&self, a: &JobShown, b: &JobShown) -> Ordering {
        let order = match self.sort.as_str() {
            "displayname" => a.displayname.cmp(&b.displayname),
            "schedule" => a.schedule.cmp(&b.schedule),
            "timezone" => a.timezone.cmp(&b.timezone),
            "owner" => a.owner.cmp(&b.owner),
            "status" => a.status.cmp(b.status),
            "next" => a.next.cmp(&b.next),
            "disabled" => a.disabled.cmp(&b.disabled),
            "retries" => a.retries.cmp(&b.retries),
            "last_success" => a.last_success.cmp(&b.last_success),
            "last_error" => a.last_error.cmp(&b.last_error),
            _ => Ordering::Equal,
        };
        let order = order.then_with(|| a.name.cmp(&b.name));
        if self.is_descending { order.reverse() } else { order }
    }
}

/// `GET /v1/jobs`.
pub(in super::super) async fn list(
    State(app): State<Arc<App>>,
    uri: Uri,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let asked = ListAsked::of(query);
    let wanted = asked.end.filter(|_| asked.is_by_name()).unwrap_or(JOBS_MAX);
    let query = ListQuery {
        search: asked.search.clone(),
        limit: wanted.clamp(1, JOBS_MAX),
        ..ListQuery::default()
    };
    let page = app.engine.jobs(&query).await?;
    let mut jobs = vec![];
    for job in page.jobs {
        jobs.push(shown_of(job, &[])?);
    }
    let mut total = page.total;
    if !asked.is_by_name() {
        jobs.retain(|job| asked.fits(job));
        jobs.sort_by(|a, b| asked.compare(a, b));
        total = jobs.len() as u64;
    }
    let end = asked.end.unwrap_or(jobs.len()).min(jobs.len());
    let mut jobs: Vec<JobShown> = jobs.drain(asked.start.min(end)..end).collect();
    if jobs.len() <= COUNTED_JOBS_MAX {
        for job in &mut jobs {
            match app.engine.job(&job.name).await {
                Ok(details) => *job = show(&app, details).await?,
                // Removed while the others were looked at.
                Err(EngineError::NoJob(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(render_list(&uri, &jobs, total))
}
