//! Everything that can go wrong, as RFC 9457 says it: one CamelCase reason and a sentence.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use crate::engine::{EngineError, Refusal, RefusalReason};
use crate::partition::Unavailable;

/// What the type of a problem begins with; its reason follows.
pub(super) const TYPE: &str = "urn:orrery:problem:";
/// Media type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// Seconds after which something that was too busy may be asked again.
const RETRY_SECONDS: &str = "1";

/// A problem, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    kind: String,
    pub(super) title: Cow<'static, str>,
    status: u16,
    pub(super) detail: String,
    /// Where in the expression the error is, in bytes from its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<usize>,
    /// The job it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("{TYPE}{reason}"),
            title: Cow::Borrowed(reason),
            status: status.as_u16(),
            detail: detail.into(),
            position: None,
            job: None,
        }
    }

    /// The request cannot be read.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "MalformedRequest", detail)
    }

    /// The request can be read, and says something that cannot be.
    pub(super) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidSpec", detail)
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", detail)
    }

    pub(super) fn forbidden(detail: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", detail)
    }

    /// Another process owns the jobs.
    pub(super) fn not_the_owner() -> Self {
        let detail = "another pod owns the jobs, or none yet: this one stands by";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "NotTheOwner", detail)
    }

    pub(super) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body has more than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", detail)
    }

    pub(super) fn timed_out(most: Duration) -> Self {
        let detail =
            format!("not done within {} s; whether a change was made is not known", most.as_secs());
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "TimedOut", detail)
    }

    pub(super) fn about(mut self, job: &str) -> Self {
        self.job = Some(job.to_owned());
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.reason {
            RefusalReason::Conflict => StatusCode::CONFLICT,
            RefusalReason::QuotaExceeded => StatusCode::TOO_MANY_REQUESTS,
            RefusalReason::InvalidSpec
            | RefusalReason::InvalidExpression
            | RefusalReason::UnknownTimeZone
            | RefusalReason::TargetMissing
            | RefusalReason::NeverFires
            | RefusalReason::NotYetSupported => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let position = refusal.position;
        Self { position, ..Self::new(status, refusal.reason.as_str(), refusal.message) }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        let detail = error.to_string();
        match error {
            EngineError::NoJob(job) => {
                Self::new(StatusCode::NOT_FOUND, "NoSuchJob", detail).about(&job)
            }
            EngineError::NoRun(_) => Self::new(StatusCode::NOT_FOUND, "NoSuchRun", detail),
            EngineError::Declared(job) => {
                Self::new(StatusCode::CONFLICT, "Declared", detail).about(&job)
            }
            EngineError::Refused(refusal) => refusal.into(),
            EngineError::Invalid(_) => Self::invalid(detail),
            EngineError::Unavailable(why) => Self::unavailable(&why, detail),
            EngineError::Verify(_) | EngineError::Ledger(_) | EngineError::Worker(_) => {
                tracing::error!(%detail, "a request failed");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Failed", detail)
            }
        }
    }
}

impl Problem {
    fn unavailable(why: &Unavailable, detail: String) -> Self {
        let (status, reason) = match why {
            Unavailable::Busy => (StatusCode::TOO_MANY_REQUESTS, "Busy"),
            Unavailable::Full => (StatusCode::SERVICE_UNAVAILABLE, "JournalFull"),
            Unavailable::Fenced => (StatusCode::SERVICE_UNAVAILABLE, "Fenced"),
            Unavailable::Ended => (StatusCode::SERVICE_UNAVAILABLE, "Ending"),
            Unavailable::Failed(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Failed"),
        };
        Self::new(status, reason, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        // A problem has string keys only.
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut answer = (status, [(CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = answer.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(RETRY_AFTER, http::HeaderValue::from_static(RETRY_SECONDS));
        }
        answer
    }
}
