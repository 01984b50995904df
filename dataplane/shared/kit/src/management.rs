//! The management thread of a data plane: the management protocol, metrics and probes, apart from
//! the threads that serve clients, so that `Report` and probes are answered under any load.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::FutureExt as _;
use orrery_operand::secured::accepted;
use orrery_operand::server::{Access, Operand, service};
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use tokio_stream::wrappers::TcpListenerStream;

use crate::health::Health;
use crate::identity::Identity;
use crate::secrets::Secret;

/// Where and for whom the management thread answers.
#[derive(Debug)]
pub struct Options {
    /// gRPC `orrery.operand.v1`.
    pub management: SocketAddr,
    /// `/metrics`, `/livez`, `/readyz`.
    pub http: SocketAddr,
    /// Without a token only peers on loopback are admitted.
    pub token: Option<Secret>,
    /// With it, the management port speaks mutual TLS and admits the operator alone.
    pub identity: Option<Arc<Identity>>,
}

/// Failed to start the thread.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    #[error("failed to listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("failed to start the management thread: {0}")]
    Start(std::io::Error),
}

/// The running thread; dropping it stops the thread.
#[derive(Debug)]
pub struct Management {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
    pub management: SocketAddr,
    pub http: SocketAddr,
}

impl Drop for Management {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Binds both addresses (so that a port in use is an error at start) and serves from a thread of
/// its own until the value is dropped.
pub fn start<T: Operand>(
    options: Options,
    operand: Arc<T>,
    registry: Arc<Mutex<Registry>>,
    health: Health,
) -> Result<Management, ManagementError> {
    let management = bind(options.management)?;
    let http = bind(options.http)?;
    let addresses = (local(&management, options.management), local(&http, options.http));
    let access = match options.token {
        Some(token) => Access::Token(token.reveal().into()),
        None => Access::Loopback,
    };
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ManagementError::Start)?;
    let routes = routes(Probes { registry, health });
    let serve = async move {
        let (grpc, probes) = match (listener(management), listener(http)) {
            (Ok(grpc), Ok(probes)) => (grpc, probes),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "failed to serve the management port");
                return;
            }
        };
        let server = tonic::transport::Server::builder()
            .trace_fn(orrery_operand::trace::called)
            .add_service(service(operand, access));
        let grpc = match options.identity {
            Some(identity) => {
                let admitted = accepted(grpc, move || Arc::clone(&identity.current().management));
                server.serve_with_incoming(admitted).boxed()
            }
            None => server.serve_with_incoming(TcpListenerStream::new(grpc)).boxed(),
        };
        tokio::select! {
            ended = grpc => tracing::error!(?ended, "the management port stopped"),
            ended = axum::serve(probes, routes) => tracing::error!(?ended, "the probe port stopped"),
            _ = stopped => {}
        }
    };
    let thread = thread::Builder::new()
        .name("management".into())
        .spawn(move || runtime.block_on(serve))
        .map_err(ManagementError::Start)?;
    Ok(Management {
        stop: Some(stop),
        thread: Some(thread),
        management: addresses.0,
        http: addresses.1,
    })
}

fn bind(address: SocketAddr) -> Result<TcpListener, ManagementError> {
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    listener.map_err(|source| ManagementError::Listen { address, source })
}

fn local(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

fn listener(listener: TcpListener) -> std::io::Result<tokio::net::TcpListener> {
    tokio::net::TcpListener::from_std(listener)
}

#[derive(Clone)]
struct Probes {
    registry: Arc<Mutex<Registry>>,
    health: Health,
}

fn routes(probes: Probes) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(probes)
}

async fn metrics(State(probes): State<Probes>) -> impl IntoResponse {
    let mut text = String::new();
    let registry = probes.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let status = match prometheus_client::encoding::text::encode(&mut text, &registry) {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    (status, [(header::CONTENT_TYPE, kind)], text)
}

async fn livez(State(probes): State<Probes>) -> (StatusCode, &'static str) {
    if probes.health.is_alive() {
        (StatusCode::OK, "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "dead\n")
    }
}

async fn readyz(State(probes): State<Probes>) -> (StatusCode, String) {
    let readiness = probes.health.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = match readiness.reason.as_str() {
        "" => "ready\n".to_owned(),
        reason => format!("{reason}: {}\n", readiness.message),
    };
    (status, text)
}
