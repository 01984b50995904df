//! The port of watchers: HTTP/1.1, with TLS where clients of Redis have it, and with their users.
//!
//! One thread serves all of it. A client that sends its request slowly, opens connections without
//! end or never reads is bounded in time and number and disturbs nobody but its like.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use orrery_journal::{JournalError, Position};
use orrery_kit::certificates::{CertificateError, Folder, Server, Watched};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

use super::stream::{Client, Stream};
use super::{Ask, Granted, Login, Mark, Refused};
use crate::operand::Loop;
use crate::server::requests::Request;

/// Watchers at the same time: each has a thread and reads the journal.
const WATCHERS_MAX: usize = 64;
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 256;
/// Longest time for a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Chunks of events between the thread and the socket.
const CHUNKS: usize = 4;
/// Pause after a connection could not be accepted, as for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is looked whether there are new certificates.
const CERTIFICATES_LOOK: Duration = Duration::from_secs(5);

/// Failed to serve watchers.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error("failed to listen for watchers on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("failed to start the thread of watchers: {0}")]
    Start(io::Error),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Serves watchers on `address` for as long as the process lives.
pub(crate) fn start(
    address: SocketAddr,
    tls: Option<PathBuf>,
    event_loop: Arc<OnceLock<Loop>>,
) -> Result<(), WatchError> {
    let listen = |source| WatchError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let certificates = match tls {
        Some(folder) => Some(Watched::load(Folder::new(folder), Folder::server)?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(WatchError::Start)?;
    let places = Arc::new(Semaphore::new(WATCHERS_MAX));
    let routes = routes(Door { event_loop, places });
    let serve = async move {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => accept(listener, certificates, routes).await,
            Err(error) => tracing::error!(%error, "failed to serve watchers"),
        }
    };
    let thread = thread::Builder::new().name("watch".into());
    thread.spawn(move || runtime.block_on(serve)).map_err(WatchError::Start)?;
    Ok(())
}

async fn accept(
    listener: tokio::net::TcpListener,
    mut certificates: Option<Watched<Server>>,
    routes: Router,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut look = tokio::time::interval(CERTIFICATES_LOOK);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = look.tick() => {
                if let Some(Err(error)) = certificates.as_mut().map(Watched::look) {
                    tracing::error!(%error, "the new certificate is not used for watchers");
                }
                continue;
            }
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a watcher");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // One too many: it is closed at once.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let config = certificates.as_ref().map(|watched| Arc::clone(&watched.value().config));
        let routes = routes.clone();
        tokio::spawn(async move {
            // Events must not wait for the peer's acknowledgement.
            _ = socket.set_nodelay(true);
            match config {
                None => serve(socket, routes).await,
                Some(config) => {
                    let handshake = TlsAcceptor::from(config).accept(socket);
                    if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, handshake).await {
                        serve(stream, routes).await;
                    }
                }
            }
            drop(place);
        });
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, routes: Router) {
    let mut builder = Builder::new(hyper_util::rt::TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    if let Err(error) = served.await {
        tracing::debug!(error = &*error, "a connection of a watcher ended");
    }
}

/// Where requests come in.
#[derive(Clone)]
struct Door {
    event_loop: Arc<OnceLock<Loop>>,
    places: Arc<Semaphore>,
}

fn routes(door: Door) -> Router {
    Router::new()
        .route("/v1/watch", get(watch_all))
        .route("/v1/ns/{namespace}/watch", get(watch_namespace))
        .with_state(door)
}

/// What may be asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    from: Option<String>,
    prefix: Option<String>,
    database: Option<u16>,
}

async fn watch_all(
    State(door): State<Door>,
    wish: Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    door.answer(None, wish, &headers).await
}

async fn watch_namespace(
    State(door): State<Door>,
    Path(namespace): Path<String>,
    wish: Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Response {
    door.answer(Some(namespace), wish, &headers).await
}

impl Door {
    async fn answer(
        &self,
        namespace: Option<String>,
        wish: Result<Query<Wish>, axum::extract::rejection::QueryRejection>,
        headers: &HeaderMap,
    ) -> Response {
        let wish = match wish {
            Ok(Query(wish)) => wish,
            Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.body_text()),
        };
        // A browser that connects again says in a header where it was.
        let last = headers.get("last-event-id").and_then(|value| value.to_str().ok());
        let from = match last.or(wish.from.as_deref()).map(str::parse::<Mark>).transpose() {
            Ok(from) => from,
            Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let Ok(login) = login(headers) else { return of(&Refused::Login) };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return refusal(StatusCode::TOO_MANY_REQUESTS, "there are as many watchers as may be");
        };
        let (answer, answered) = oneshot::channel();
        let prefix = wish.prefix.unwrap_or_default().into_bytes();
        let ask = Ask { login, namespace, database: wish.database, prefix, from, answer };
        let asked = self.event_loop.get().map(|to| to.ask(Request::Watch(Box::new(ask))));
        if !matches!(asked, Some(Ok(()))) {
            return of(&Refused::NotHere("this pod cannot say anything now"));
        }
        let granted = match answered.await {
            Ok(Ok(granted)) => granted,
            Ok(Err(refused)) => return of(&refused),
            Err(_) => return of(&Refused::NotHere("this pod stops")),
        };
        begin(granted, place)
    }
}

fn begin(granted: Granted, place: tokio::sync::OwnedSemaphorePermit) -> Response {
    let Granted { feed, lens, from, watch, epoch } = granted;
    let (after, skip) = from.begin();
    let tail = match feed.tail(Position(after)) {
        Ok(tail) => tail,
        Err(JournalError::Trimmed { oldest, .. }) => {
            let oldest = oldest.0;
            let text = format!("the journal begins at {oldest} now: read the keys again");
            return refusal(StatusCode::GONE, &text);
        }
        Err(error) => return refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    };
    let (to, chunks) = mpsc::channel::<Bytes>(CHUNKS);
    let client = Client { to, runtime: tokio::runtime::Handle::current() };
    let stream = Stream { tail, lens, watch, epoch, skip, client, _place: place };
    let thread = thread::Builder::new().name("watcher".into()).spawn(move || stream.run());
    if let Err(error) = thread {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
    }
    let chunks = ReceiverStream::new(chunks).map(Ok::<_, Infallible>);
    let kind = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    (kind, Body::from_stream(chunks)).into_response()
}

/// Credentials of the request, if it has some.
fn login(headers: &HeaderMap) -> Result<Option<Login>, ()> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(drop)?;
    let (scheme, encoded) = text.split_once(' ').ok_or(())?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(());
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(drop)?;
    let colon = decoded.iter().position(|byte| *byte == b':').ok_or(())?;
    let (user, password) = (decoded[..colon].to_vec(), decoded[colon + 1..].to_vec());
    Ok(Some(Login { user, password }))
}

fn of(refused: &Refused) -> Response {
    let status = match refused {
        Refused::Login => StatusCode::UNAUTHORIZED,
        Refused::Right => StatusCode::FORBIDDEN,
        Refused::Namespace | Refused::Database => StatusCode::NOT_FOUND,
        Refused::NotHere(_) => StatusCode::SERVICE_UNAVAILABLE,
        Refused::OtherHistory => StatusCode::GONE,
    };
    refusal(status, &refused.to_string())
}

fn refusal(status: StatusCode, message: &str) -> Response {
    let reason = status.canonical_reason().unwrap_or_default();
    let text = serde_json::json!({"error": reason, "message": message}).to_string() + "\n";
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let answer = (status, kind, text);
    match status {
        StatusCode::UNAUTHORIZED => {
            ([(header::WWW_AUTHENTICATE, "Basic realm=\"orrery\"")], answer).into_response()
        }
        StatusCode::SERVICE_UNAVAILABLE => ([(header::RETRY_AFTER, "1")], answer).into_response(),
        _ => answer.into_response(),
    }
}
