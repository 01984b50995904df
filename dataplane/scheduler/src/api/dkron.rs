//! Dkron's routes, for clients that speak to Dkron today.
//!
//! Where a route is both Dkron's and this API's, it is Dkron's while `dkronCompat` is on, unless the
//! request says otherwise by a media type, see [`is_own`]. All other routes of both stand side by side.
//!
//! Must not: pretend. What Dkron does and this engine does not is refused with the reason.

pub(super) mod cluster;
mod convert;
pub(super) mod executions;
mod job;
pub(super) mod jobs;
mod restore;
mod schedule;

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, StatusCode, Uri};
use serde::Serialize;

pub(super) use restore::restore;

use super::App;
use super::bulk::NDJSON;
use super::problem::Problem;

/// Media type of requests that are this API's, whatever the path.
pub(super) const OWN: &str = "application/vnd.orrery+json";
/// A moment that Dkron shows where there is none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";
/// Header that says how many there are in all.
const TOTAL: &str = "x-total-count";

/// Whether a request to a shared route is this API's: it accepts, or carries,
/// `application/vnd.orrery+json`, or it carries lines of jobs.
pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let says = |name, kind: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| {
            value.split(';').next().is_some_and(|value| value.trim().eq_ignore_ascii_case(kind))
        })
    };
    says(ACCEPT, OWN) || says(CONTENT_TYPE, OWN) || says(CONTENT_TYPE, NDJSON)
}

/// The handlers of a route that is shared: Dkron's and this API's.
#[derive(Debug, Clone)]
pub(super) struct Either<D, O> {
    dkron: D,
    own: O,
}

pub(super) fn either<D, O>(dkron: D, own: O) -> Either<D, O> {
    Either { dkron, own }
}

impl<D, TD, O, TO> Handler<(TD, TO), Arc<App>> for Either<D, O>
where
    D: Handler<TD, Arc<App>>,
    O: Handler<TO, Arc<App>>,
{
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, app: Arc<App>) -> Self::Future {
        if app.engine.config.dkron_compat && !is_own(request.headers()) {
            Box::pin(self.dkron.call(request, app))
        } else {
            Box::pin(self.own.call(request, app))
        }
    }
}

/// What only Dkron has, where it is asked for: nothing is there while its routes are off.
pub(super) async fn admit(
    State(app): State<Arc<App>>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    if app.engine.config.dkron_compat {
        return next.run(request).await;
    }
    let detail = "this is a route of Dkron, and spec.api.http.dkronCompat is Off";
    Problem::new(StatusCode::NOT_FOUND, "NoSuchRoute", detail).into_response()
}

/// JSON as Dkron renders it: on many lines when the query has `pretty`.
fn render<T: Serialize>(status: StatusCode, uri: &Uri, value: &T) -> Response {
    let query = uri.query().unwrap_or_default();
    let is_pretty = query.split('&').any(|part| part.split('=').next() == Some("pretty"));
    let written =
        if is_pretty { serde_json::to_vec_pretty(value) } else { serde_json::to_vec(value) };
    match written {
        Ok(body) => {
            (status, [(CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
        }
        Err(error) => Problem::invalid(error.to_string()).into_response(),
    }
}

/// The same of a list, with how many there are in all.
fn render_list<T: Serialize>(uri: &Uri, list: &[T], total: u64) -> Response {
    let mut answer = render(StatusCode::OK, uri, &list);
    answer.headers_mut().insert(TOTAL, total.into());
    answer
}

/// What this engine does not do.
fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "NotYetSupported", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_dkrons_unless_it_says_otherwise() {
        let headers = |name: http::HeaderName, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert!(!is_own(&HeaderMap::new()));
        assert!(!is_own(&headers(ACCEPT, "*/*")));
        assert!(!is_own(&headers(CONTENT_TYPE, "application/json")));
        assert!(is_own(&headers(ACCEPT, "text/html, application/vnd.orrery+json;q=0.9")));
        assert!(is_own(&headers(CONTENT_TYPE, "Application/vnd.Orrery+JSON; charset=utf-8")));
        assert!(is_own(&headers(CONTENT_TYPE, "application/x-ndjson")));
    }
}
