//! From a request of gRPC to one of REST, and from its answer to a message or a status.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::response::Response;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tower_service::Service as _;

use super::super::dkron::OWN;
use super::super::listen::Peer;
use super::v1;

/// Metadata of a refusal: its reason, and where in an expression it is.
const REASON: &str = "orrery-reason";
const POSITION: &str = "orrery-position";
const JSON: &str = "application/json";

/// REST, as methods of gRPC ask it.
#[derive(Debug, Clone)]
pub(super) struct Rest {
    router: Router,
}

/// What is asked.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) kind: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    /// Without a body.
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), kind: JSON, headers: vec![], body: vec![] }
    }

    /// `POST` of JSON.
    pub(super) fn post(path: impl Into<String>, body: &Json) -> Self {
        let body = body.to_string().into_bytes();
        Self { body, ..Self::new(Method::POST, path) }
    }
}

/// A path with a name in it.
pub(super) fn path(before: &str, name: &str, after: &str) -> String {
    format!("{before}{}{after}", utf8_percent_encode(name, NON_ALPHANUMERIC))
}

/// A path with a query of what is not empty.
pub(super) fn query(path: &str, parts: &[(&str, &str)]) -> String {
    let given = parts.iter().filter(|(_, value)| !value.is_empty());
    let given: Vec<String> = given
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
        .collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}

/// A text that must be JSON.
pub(super) fn json(field: &str, text: &str) -> Result<Json, Status> {
    serde_json::from_str(text)
        .map_err(|error| Status::invalid_argument(format!("{field} is no JSON: {error}")))
}

impl Rest {
    pub(super) fn new(router: Router) -> Self {
        Self { router }
    }

    /// Asks as the client of `from`; a refusal is a status.
    pub(super) async fn ask<T>(&self, from: &Request<T>, asked: Asked) -> Result<Response, Status> {
        let mut request = http::Request::builder()
            .method(asked.method)
            .uri(asked.path)
            .header(ACCEPT, OWN)
            .header(CONTENT_TYPE, asked.kind);
        if let Some(shown) = from.metadata().get(AUTHORIZATION.as_str()) {
            request = request.header(AUTHORIZATION, shown.as_bytes());
        }
        for (name, value) in asked.headers {
            request = request.header(name, value);
        }
        let mut request = request
            .body(Body::from(asked.body))
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if let Some(peer) = from.extensions().get::<Peer>() {
            request.extensions_mut().insert(*peer);
        }
        // The router is always ready.
        let answered = self.router.clone().call(request).await;
        let answer = answered.unwrap_or_else(|never| match never {});
        if answer.status().is_success() { Ok(answer) } else { Err(refused(answer).await) }
    }

    /// The same, of an answer in JSON.
    pub(super) async fn typed<T, A: DeserializeOwned>(
        &self,
        from: &Request<T>,
        asked: Asked,
    ) -> Result<A, Status> {
        let answer = self.ask(from, asked).await?;
        let body = whole(answer).await?;
        serde_json::from_slice(&body).map_err(|error| unread(&error))
    }
}

/// A job, whose spec is JSON in REST and a text of it here.
pub(super) fn job(mut json: Json) -> Result<v1::Job, Status> {
    let spec = json.get_mut("spec").map(Json::take).unwrap_or_default();
    json["spec"] = Json::String(spec.to_string());
    serde_json::from_value(json).map_err(|error| unread(&error))
}

pub(super) fn unread(error: &serde_json::Error) -> Status {
    Status::internal(format!("the answer is not understood: {error}"))
}

pub(super) async fn whole(answer: Response) -> Result<Bytes, Status> {
    let body = answer.into_body().collect().await;
    let body = body.map_err(|error| Status::unavailable(format!("it was cut short: {error}")))?;
    Ok(body.to_bytes())
}

async fn refused(answer: Response) -> Status {
    let status = answer.status();
    let code = match status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::CONFLICT => Code::FailedPrecondition,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        status if status.is_client_error() => Code::InvalidArgument,
        _ => Code::Internal,
    };
    let body = whole(answer).await.unwrap_or_default();
    let problem: v1::Problem = serde_json::from_slice(&body).unwrap_or_default();
    let message = if problem.detail.is_empty() { status.to_string() } else { problem.detail };
    let mut refusal = Status::new(code, message);
    if let Ok(reason) = MetadataValue::try_from(&problem.title) {
        refusal.metadata_mut().insert(REASON, reason);
    }
    if let Some(position) = problem.position {
        refusal.metadata_mut().insert(POSITION, MetadataValue::from(position));
    }
    refusal
}
