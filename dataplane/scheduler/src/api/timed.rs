//! How long a request may take.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::problem::Problem;

/// Of most requests.
pub(super) const SHORT: Duration = Duration::from_secs(30);
/// Of those that read or change very much.
pub(super) const LONG: Duration = Duration::from_mins(5);

/// Gives up a request that takes too long, its body included. What was asked of the engine may be done
/// nevertheless.
pub(super) async fn within(State(most): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(most, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Problem::timed_out(most).into_response(),
    }
}
