//! Many jobs in one request, a line of JSON each. A line that is refused does not touch the others.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};

use super::App;
use super::input::{BULK_BYTES_MAX, parse, read};
use super::jobs::PutResult;
use super::problem::Problem;
use crate::engine::{JOBS_PER_REQUEST_MAX, JobSpec};

/// Media type of both the request and the answer.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// What became of a line that was refused.
#[derive(Debug, Serialize)]
struct Refused<'a> {
    /// Counted from 1.
    line: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    problem: Problem,
}

/// A line as it was read: where it stands, and a name if there was one.
struct Line {
    number: usize,
    name: Option<String>,
    refused: Option<Problem>,
}

/// `POST /v1/jobs`.
pub(super) async fn put(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or(NDJSON).split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(NDJSON) {
        let detail = format!("the body is {NDJSON}: one job a line; PUT /v1/jobs/NAME takes one");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedType", detail));
    }
    // The semaphore is never closed.
    let _room = app.bulk.acquire().await.ok();
    let bytes = read(request, BULK_BYTES_MAX).await?;
    let (engine, now) = (Arc::clone(&app.engine), app.now());
    let read = move || {
        let (mut checker, mut prepared) = (engine.checker(now), vec![]);
        let lines = lines_of(&bytes, |job| prepared.push(checker.check(job)))?;
        Ok::<_, Problem>((lines, prepared))
    };
    let (lines, prepared) = worker(read).await??;
    let results = app.engine.put_prepared(prepared).await?;
    let answer = worker(move || {
        let mut results = results.into_iter();
        let mut out = Vec::with_capacity(lines.len() * 64);
        for Line { number, name, refused } in &lines {
            let result = match refused {
                Some(problem) => Err(problem.clone()),
                // There is a result for every line that was read.
                None => results.next().map_or_else(
                    || Err(Problem::invalid("nothing came of it")),
                    |result| result.map_err(Problem::from),
                ),
            };
            let name = name.as_deref();
            let written = match result {
                Ok(edited) => {
                    let done = PutResult::of(name.unwrap_or_default(), edited);
                    serde_json::to_writer(&mut out, &done)
                }
                Err(problem) => {
                    let refused = Refused { line: *number, name, problem };
                    serde_json::to_writer(&mut out, &refused)
                }
            };
            if written.is_ok() {
                out.push(b'\n');
            }
        }
        out
    });
    Ok((StatusCode::OK, [(CONTENT_TYPE, NDJSON)], answer.await?).into_response())
}

/// Does something long where it delays no other request.
async fn worker<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::from(crate::engine::EngineError::from(error)))
}

/// Reads the lines, and hands each job to `take` as soon as it was read: specs are large, and ten thousand
/// of them would be held at once.
fn lines_of(bytes: &Bytes, mut take: impl FnMut(JobSpec)) -> Result<Vec<Line>, Problem> {
    let mut lines = vec![];
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if lines.len() == JOBS_PER_REQUEST_MAX {
            let detail = format!("at most {JOBS_PER_REQUEST_MAX} jobs in one request");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", detail));
        }
        let number = index + 1;
        match parse::<JobSpec>(line) {
            Ok(job) => {
                lines.push(Line { number, name: Some(job.name.clone()), refused: None });
                take(job);
            }
            Err(problem) => {
                let name = name_of(line);
                lines.push(Line { number, name, refused: Some(problem) });
            }
        }
    }
    Ok(lines)
}

/// The name in a line that is not a job otherwise.
fn name_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_slice::<Named>(line).ok().map(|named| named.name)
}
