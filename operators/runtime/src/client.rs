//! The only way to the API server: a layer below kube's client that gives every call a deadline,
//! lets only the leader write, and takes note of what the server answers.
//!
//! Must not: retry. Retries belong to the per-object and per-watch backoff, where they are counted;
//! kube's own retries are switched off for the same reason.
//!
//! Invariants: no call waits longer than its deadline, the body included (a watch has a deadline for
//! its first byte only; kube ends it when it falls silent); a write leaves only while the Lease is
//! ours, looked at after everything that could wait.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use kube::Client;
use kube::client::{Body, ClientBuilder};
use tokio::time::{Instant, timeout_at};
use tower::{BoxError, Layer, Service};

use crate::lease::Gate;
use crate::liveness::Liveness;
use crate::metrics::Metrics;

/// Body of an answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// Why a call was given up on this side.
#[derive(Debug, thiserror::Error)]
pub enum OutletError {
    /// The server may or may not have carried it out.
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    /// Nothing was sent.
    #[error("not sent: this process does not hold the lease")]
    NotLeader,
}

/// What the layer needs; cheap to clone.
#[derive(Clone, Debug)]
pub struct Outlet {
    /// Longest wait for an answer, body included.
    pub deadline: Duration,
    /// Whether writes may leave; none = always (the lease's own client, and tools).
    pub gate: Option<Arc<Gate>>,
    pub liveness: Arc<Liveness>,
    pub metrics: Arc<Metrics>,
}

impl Outlet {
    /// A client for `config` whose calls pass through this outlet.
    pub fn connect(&self, mut config: kube::Config) -> kube::Result<Client> {
        config.default_retry = false;
        config.connect_timeout = Some(self.deadline);
        // The outlet measures; a read timeout below it would cut quiet watches.
        config.read_timeout = None;
        Ok(self.guard(ClientBuilder::try_from(config)?))
    }

    /// A client over any service: a scripted one, or one with faults below.
    pub fn guard<S, B>(&self, builder: ClientBuilder<S>) -> Client
    where
        S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        builder.with_layer(self).build()
    }
}

impl<S> Layer<S> for Outlet {
    type Service = OutletService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OutletService { inner, outlet: self.clone() }
    }
}

/// See [`Outlet`].
#[derive(Clone, Debug)]
pub struct OutletService<S> {
    inner: S,
    outlet: Outlet,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, BoxError>> + Send>>;

impl<S, B> Service<Request<Body>> for OutletService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Answer {
        let outlet = self.outlet.clone();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let watch = is_watch(&request);
        let mut until = Instant::now() + outlet.deadline;
        if is_write(&method)
            && let Some(gate) = &outlet.gate
        {
            match gate.writes_until() {
                // An answer that comes after the lease could have moved on is not waited for.
                Some(expiry) => until = until.min(expiry),
                None => return Box::pin(async { Err(OutletError::NotLeader.into()) }),
            }
        }
        outlet.liveness.asked(&path);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let result = receive(answer, watch, until, &outlet, &path).await;
            let code = result.as_ref().ok().map(|response| response.status().as_u16());
            outlet.metrics.api_request(&method, code);
            outlet.liveness.answered(&path, code);
            if let Some(pause) = result.as_ref().ok().and_then(retry_after) {
                outlet.liveness.pause_asked(pause);
            }
            result
        })
    }
}

async fn receive<B, E>(
    answer: impl Future<Output = Result<Response<B>, E>>,
    watch: bool,
    until: Instant,
    outlet: &Outlet,
    path: &str,
) -> Result<Response<AnswerBody>, BoxError>
where
    E: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let late = |_| OutletError::Deadline(outlet.deadline);
    let response = timeout_at(until, answer).await.map_err(late)?.map_err(Into::into)?;
    let (parts, body) = response.into_parts();
    if watch && parts.status.is_success() {
        let (liveness, path) = (Arc::clone(&outlet.liveness), path.to_owned());
        let body = body.map_err(Into::into).map_frame(move |frame| {
            liveness.answered(&path, Some(200));
            frame
        });
        return Ok(Response::from_parts(parts, body.boxed_unsync()));
    }
    let bytes =
        timeout_at(until, body.collect()).await.map_err(late)?.map_err(Into::into)?.to_bytes();
    let body = Full::new(bytes).map_err(|never| match never {}).boxed_unsync();
    Ok(Response::from_parts(parts, body))
}

/// The pause that a server too busy to answer asks for.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let busy = matches!(response.status().as_u16(), 429 | 503);
    let pause = response.headers().get(http::header::RETRY_AFTER).filter(|_| busy)?;
    pause.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Whether the call changes anything on the server.
pub fn is_write(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Whether the call is a watch, whose body never ends by itself.
pub fn is_watch(request: &Request<Body>) -> bool {
    let query = request.uri().query().unwrap_or("");
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::Api;
    use tower_test::mock;

    type Handle = mock::Handle<Request<Body>, Response<Body>>;

    fn client(gate: Option<Arc<Gate>>) -> (Client, Handle) {
        let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
        (outlet(gate).guard(ClientBuilder::new(service, "default")), handle)
    }

    fn outlet(gate: Option<Arc<Gate>>) -> Outlet {
        Outlet {
            deadline: Duration::from_secs(10),
            gate,
            liveness: Arc::default(),
            metrics: Arc::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn p1_a_call_that_is_never_answered_ends_at_its_deadline() {
        let (client, mut handle) = client(None);
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        let hang = tokio::spawn(async move {
            let (_request, _send) = handle.next_request().await.expect("one request");
            std::future::pending::<()>().await;
        });
        let error = api.get("a").await.expect_err("nobody answers");
        assert!(matches!(&error, kube::Error::Service(e) if e.is::<OutletError>()), "{error}");
        hang.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn p1_an_answer_whose_body_stops_ends_at_its_deadline() {
        let service = tower::service_fn(|_request: Request<Body>| async {
            let frames = futures::stream::pending::<Result<_, BoxError>>();
            Ok::<_, BoxError>(Response::new(http_body_util::StreamBody::new(
                frames.map_ok(http_body::Frame::<Bytes>::data),
            )))
        });
        let api: Api<ConfigMap> =
            Api::default_namespaced(outlet(None).guard(ClientBuilder::new(service, "default")));
        let error = api.get("a").await.expect_err("the body never ends");
        assert!(matches!(&error, kube::Error::Service(e) if e.is::<OutletError>()), "{error}");
    }

    #[tokio::test]
    async fn p5_a_write_without_the_lease_is_never_sent() {
        let (client, mut handle) = client(Some(Arc::new(Gate::closed())));
        let api: Api<ConfigMap> = Api::default_namespaced(client);
        let error =
            api.delete("a", &kube::api::DeleteParams::default()).await.expect_err("no lease");
        assert!(matches!(&error, kube::Error::Service(e) if e.is::<OutletError>()), "{error}");
        drop(api);
        assert!(handle.next_request().await.is_none(), "nothing reached the server");
    }
}
