//! Connections: how many there may be, and how long they may say nothing.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use orrery_kit::accept;
use tokio::net::TcpListener;

/// Connections at the same time; those behind wait to be accepted.
const CONNECTIONS_MAX: usize = 256;
/// How long the head of a request may take, the wait for it included.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of the head of a request, and of what is read ahead of a body.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Accepts connections for ever.
pub(crate) async fn accept(listener: TcpListener, router: Router) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(BUFFER_BYTES_MAX);
    let builder = Arc::new(builder);
    accept::each(listener, CONNECTIONS_MAX, |stream, peer| {
        let service = TowerToHyperService::new(router.clone());
        let builder = Arc::clone(&builder);
        async move {
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
        }
    })
    .await;
}
