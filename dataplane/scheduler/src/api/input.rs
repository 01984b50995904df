//! What comes in: names in paths, queries, bodies of bounded size. Fields that nobody knows are
//! refused: a word that is misspelled would else be passed over.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::App;
use super::problem::Problem;

/// Bytes of a body that holds one thing.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// Bytes of a body that holds many.
pub(super) const BULK_BYTES_MAX: usize = 16 << 20;

/// How long a body may take to come.
const BODY_WITHIN: Duration = Duration::from_mins(1);

/// The name in a path.
#[derive(Debug)]
pub(super) struct Named(pub(super) String);

impl FromRequestParts<Arc<App>> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, app).await;
        path.map(|Path(name)| Self(name)).map_err(|error| Problem::malformed(error.body_text()))
    }
}

/// What a query asks.
#[derive(Debug)]
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        let read = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        let read = read.map_err(|error| Problem::malformed(error.body_text()))?;
        Ok(Self(read.0))
    }
}

/// A body of JSON; one that is empty is `{}`.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Problem> {
        let bytes = read(request, BODY_BYTES_MAX).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        parse(bytes).map(Self)
    }
}

/// The whole body, if it is not too large.
pub(super) async fn read(request: Request, bytes_max: usize) -> Result<Bytes, Problem> {
    let said = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let said = said.and_then(|value| value.parse::<usize>().ok());
    if said.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Problem::too_large(bytes_max));
    }
    let body: Body = request.into_body();
    let read = tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, bytes_max)).await;
    let read = read.map_err(|_| {
        let detail = format!("the body did not come within {} s", BODY_WITHIN.as_secs());
        Problem::new(StatusCode::REQUEST_TIMEOUT, "TimedOut", detail)
    })?;
    read.map_err(|error| {
        let is_too_large = std::error::Error::source(&error)
            .is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>);
        if is_too_large {
            Problem::too_large(bytes_max)
        } else {
            Problem::malformed(format!("failed to read the body: {error}"))
        }
    })
}

/// Reads JSON of which every field is known.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut from = serde_json::Deserializer::from_slice(bytes);
    let mut unknown: Option<String> = None;
    let read = serde_ignored::deserialize(&mut from, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    });
    let refused = |error: serde_json::Error| {
        if error.is_data() {
            Problem::invalid(error.to_string())
        } else {
            Problem::malformed(format!("the body is no JSON: {error}"))
        }
    };
    let value = read.map_err(refused)?;
    from.end().map_err(refused)?;
    match unknown {
        None => Ok(value),
        Some(field) => Err(Problem::invalid(format!("unknown field {field}"))),
    }
}

/// A moment in RFC 3339, as seconds.
pub(super) fn moment(field: &str, text: &str) -> Result<i64, Problem> {
    let wrong = |_| {
        Problem::invalid(format!(
            "{field} is no moment in RFC 3339, 2027-01-01T07:00:00Z: {text:?}"
        ))
    };
    jiff::Timestamp::from_str(text).map(jiff::Timestamp::as_second).map_err(wrong)
}

/// An answer of JSON.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Failed", error.to_string())
            .into_response(),
    }
}
