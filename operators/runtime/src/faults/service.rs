//! The service between the client and the socket: carries out what is planned for each call.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use kube::client::Body;
use tower::{BoxError, Layer, Service};

use super::{Faults, Plan, Side, stream};
use crate::client::{is_watch, is_write};

impl<S> Layer<S> for Faults {
    type Service = FaultyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FaultyService { inner, faults: self.clone() }
    }
}

/// See the module above.
#[derive(Debug, Clone)]
pub struct FaultyService<S> {
    inner: S,
    faults: Faults,
}

pub(super) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

impl<S, B> Service<Request<Body>> for FaultyService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.faults.make_stale(&mut request);
        let plan = self.faults.plan(request.method(), request.uri().path());
        let watch = is_watch(&request);
        self.faults.lock().reads += usize::from(!watch && !is_write(request.method()));
        let faults = self.faults.clone();
        // A future that is made and never polled sends nothing.
        let sent = match plan {
            Plan::Pass | Plan::AnswerAfter(_) | Plan::SilenceAfter | Plan::Crash(Side::After) => {
                Some(self.inner.call(request))
            }
            Plan::Silence | Plan::Answer(_) | Plan::Busy(_) | Plan::Crash(Side::Before) => None,
        };
        Box::pin(async move {
            let answer = match sent {
                Some(sent) => Some(sent.await.map_err(Into::into)?),
                None => None,
            };
            match (plan, answer) {
                (Plan::Pass, Some(answer)) if watch => Ok(stream::stream(answer, &faults)),
                (Plan::Pass, Some(answer)) => {
                    let (parts, body) = answer.into_parts();
                    let body = body.map_err(Into::into).boxed_unsync();
                    // An answer that arrives after the crash is not heard.
                    if faults.has_crashed() {
                        return std::future::pending().await;
                    }
                    Ok(Response::from_parts(parts, body))
                }
                (Plan::Answer(code) | Plan::AnswerAfter(code), _) => Ok(refusal(code, None)),
                (Plan::Busy(seconds), _) => Ok(refusal(429, Some(seconds))),
                (Plan::Crash(_), _) => {
                    faults.crashed.send_replace(true);
                    std::future::pending().await
                }
                _ => std::future::pending().await,
            }
        })
    }
}

fn refusal(code: u16, retry_after_seconds: Option<u32>) -> Answer {
    let reason = match code {
        403 => "Forbidden",
        409 => "Conflict",
        410 => "Expired",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "made up by the fault layer",
    });
    let body = Full::new(Bytes::from(status.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
    if let Some(seconds) = retry_after_seconds {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
