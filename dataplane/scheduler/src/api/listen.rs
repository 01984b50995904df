//! Connections: how many there may be, and how long they may take over a request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use orrery_kit::accept;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower_service::Service;

use super::stall::Stalling;
use super::tls::Certificates;

/// Connections at the same time; those behind wait to be accepted.
const CONNECTIONS_MAX: usize = 512;
/// Threads for work that blocks: reading ledgers, checking many jobs.
pub(super) const BLOCKING_MAX: usize = 16;
/// How long the head of a request may take, the wait for it included.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long a peer may take nothing of what is written to it.
const STALL_MAX: Duration = Duration::from_secs(30);
/// Requests of one connection at the same time, where there can be several.
const STREAMS_MAX: u32 = 32;
/// Bytes of the head of a request, and of what is read ahead of a body.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Whoever is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What is spoken at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    /// Its name in the negotiation of TLS.
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }

    fn builder(self) -> Builder<TokioExecutor> {
        let builder = Builder::new(TokioExecutor::new());
        match self {
            Self::Http1 => {
                let mut builder = builder.http1_only();
                builder
                    .http1()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_WITHIN)
                    .max_buf_size(BUFFER_BYTES_MAX);
                builder
            }
            Self::Http2 => {
                let mut builder = builder.http2_only();
                builder
                    .http2()
                    .timer(TokioTimer::new())
                    .keep_alive_interval(HEAD_WITHIN)
                    .keep_alive_timeout(STALL_MAX)
                    .max_concurrent_streams(STREAMS_MAX)
                    .max_header_list_size(BUFFER_BYTES_MAX as u32);
                builder
            }
        }
    }
}

/// Accepts connections for ever; with certificates, those that speak TLS alone.
pub(super) async fn accept(
    listener: TcpListener,
    router: Router,
    protocol: Protocol,
    mut tls: Option<Certificates>,
) {
    let builder = Arc::new(protocol.builder());
    accept::each(listener, CONNECTIONS_MAX, |stream, peer| {
        let service = TowerToHyperService::new(OfPeer { router: router.clone(), peer });
        let builder = Arc::clone(&builder);
        let acceptor = tls.as_mut().map(Certificates::acceptor);
        async move {
            let stream = Stalling::new(stream, STALL_MAX);
            let served = match acceptor {
                None => builder.serve_connection(TokioIo::new(stream), service).await,
                Some(acceptor) => match timeout(HEAD_WITHIN, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => builder.serve_connection(TokioIo::new(stream), service).await,
                    Ok(Err(error)) => Err(error.into()),
                    Err(_) => Err("the TLS handshake took too long".into()),
                },
            };
            if let Err(error) = served {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
        }
    })
    .await;
}

/// The router, for one peer.
#[derive(Debug, Clone)]
struct OfPeer {
    router: Router,
    peer: SocketAddr,
}

impl<B> Service<Request<B>> for OfPeer
where
    Router: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Router as Service<Request<Body>>>::Future;

    fn poll_ready(
        &mut self,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(self.peer));
        Service::call(&mut self.router, request)
    }
}
