//! The ledger for those who check it themselves: entries as lines of JSON.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use super::bulk::NDJSON;
use super::input::{Query, moment};
use super::problem::Problem;
use super::timed;

/// Chunks on their way to a reader.
const CHUNKS: usize = 2;
/// How long a reader may take over a chunk.
const CHUNK_WITHIN: Duration = Duration::from_secs(30);
/// Entries of one job that one answer holds.
const ENTRIES_MAX: usize = 10_000;
/// The same unless asked otherwise.
const ENTRIES: usize = 1000;

/// What `GET /v1/ledger` asks: a job, or a range of time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    job: Option<String>,
    limit: Option<usize>,
    from: Option<String>,
    to: Option<String>,
}

/// `GET /v1/ledger`.
pub(super) async fn get(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
) -> Result<Response, Problem> {
    match asked {
        Asked { job: Some(job), limit, from: None, to: None } => {
            let limit = limit.unwrap_or(ENTRIES).clamp(1, ENTRIES_MAX);
            let lines = app.engine.ledger_of(&job, limit).await?;
            Ok((StatusCode::OK, [(CONTENT_TYPE, NDJSON)], lines).into_response())
        }
        Asked { job: None, limit: None, from: Some(from), to: Some(to) } => {
            let (from, to) = (moment("from", &from)?, moment("to", &to)?);
            if from > to {
                return Err(Problem::invalid("from is behind to"));
            }
            let room = app.reader()?;
            Ok(range(app, room, from.saturating_mul(1000), to.saturating_mul(1000) + 999))
        }
        _ => Err(Problem::malformed("ask for job (and limit), or for from and to")),
    }
}

/// Entries made from the one millisecond to the other. What fails after the beginning ends the answer
/// before its end, so that nobody takes a part for the whole.
fn range(app: Arc<App>, room: OwnedSemaphorePermit, from_ms: i64, to_ms: i64) -> Response {
    let (to, chunks) = mpsc::channel::<Result<Bytes, std::io::Error>>(CHUNKS);
    let until = Instant::now() + timed::LONG;
    let handle = Handle::current();
    let failed = to.clone();
    let give = move |bytes: Vec<u8>| {
        let sent = handle.block_on(async {
            timeout(CHUNK_WITHIN, timeout_at(until, to.send(Ok(Bytes::from(bytes))))).await
        });
        if matches!(sent, Ok(Ok(Ok(())))) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    tokio::spawn(async move {
        let read = app.engine.ledger(from_ms, to_ms, give).await;
        drop(room);
        if let Err(error) = read {
            tracing::warn!(%error, "failed to hand out the ledger");
            // The reader may be gone.
            _ = failed.try_send(Err(std::io::Error::other(error.to_string())));
        }
    });
    let body = Body::from_stream(ReceiverStream::new(chunks));
    (StatusCode::OK, [(CONTENT_TYPE, NDJSON)], body).into_response()
}
