//! Connections to one target: TLS by what it trusts, HTTP/2 where the server offers it by ALPN,
//! HTTP/1.1 otherwise, kept open between calls.

use std::error::Error;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::grpc::GrpcReach;
use super::guard::Guard;
use super::pool::Pool;
use super::resolve::Resolver;

/// Longest time for a connection, TLS included: one that nobody waits for must end as well.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a connection without calls is kept. A server that closes it at the moment of a call
/// leaves unknown whether it ran, so that this is below what common servers wait before they close
/// (gunicorn 2 s, Node.js 5 s): only connections that are in steady use are used again.
const IDLE_MAX: Duration = Duration::from_millis(1_500);
/// When a connection without traffic is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Bytes of the head of an answer, and of what is read at once.
const HEAD_BYTES: usize = 64 << 10;

pub(super) type HttpClient = Client<Connector, Full<Bytes>>;
type Failure = Box<dyn Error + Send + Sync>;

/// Why authorities cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum TrustError {
    #[error("failed to read the certificates of the authority as PEM: {0}")]
    Pem(#[source] pem::Error),
    #[error("failed to find a certificate of an authority")]
    NoRoots,
    #[error("failed to set TLS up: {0}")]
    Setup(#[from] rustls::Error),
}

/// What a target is reached by; shared by its calls.
pub(super) struct Reach {
    pub(super) client: HttpClient,
    /// For calls by gRPC; those go to targets of the configuration alone.
    pub(super) grpc: Option<GrpcReach>,
    /// Longest time to ask how a run stands.
    pub(super) timeout: Duration,
    /// Where its calls may go; `None`: anywhere.
    pub(super) origin: Option<Uri>,
    /// The pods, where it is a pool of them.
    pub(super) pool: Option<Arc<Pool>>,
}

/// Which authorities certificates of targets may come from.
pub(super) struct Trust {
    roots: RootCertStore,
    /// For targets that trust no others; they share it, and its sessions.
    common: Arc<ClientConfig>,
}

impl Trust {
    /// Those of the machine. There may be none: then only targets with their own are reached.
    pub(super) fn of_machine() -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        // A machine may have some that cannot be read, beside those that matter.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let common = Arc::new(config(roots.clone())?);
        Ok(Self { roots, common })
    }

    /// The same, and the authorities of this text.
    pub(super) fn with(&self, ca_pem: Option<&str>) -> Result<Arc<ClientConfig>, TrustError> {
        let Some(ca_pem) = ca_pem else {
            return Ok(Arc::clone(&self.common));
        };
        let mut roots = self.roots.clone();
        let mut has_any = false;
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            roots.add(certificate.map_err(TrustError::Pem)?)?;
            has_any = true;
        }
        if has_any { Ok(Arc::new(config(roots)?)) } else { Err(TrustError::NoRoots) }
    }
}

fn config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A client for one target, with connections of its own.
pub(super) fn client(tls: Arc<ClientConfig>, guard: Guard, idle_max: usize) -> HttpClient {
    builder(idle_max).build(connector(tls, guard))
}

/// A client that speaks HTTP/2 alone, without TLS by prior knowledge: the one way gRPC is spoken.
pub(super) fn h2_client(tls: &ClientConfig, guard: Guard, idle_max: usize) -> HttpClient {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    builder(idle_max).http2_only(true).build(connector(Arc::new(tls), guard))
}

fn connector(tls: Arc<ClientConfig>, guard: Guard) -> Connector {
    let mut http = HttpConnector::new_with_resolver(Resolver::new(guard));
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_keepalive(Some(KEEP_ALIVE));
    http.set_connect_timeout(Some(CONNECT_MAX));
    Connector { inner: HttpsConnector::from((http, tls)), guard }
}

fn builder(idle_max: usize) -> client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder
        .pool_idle_timeout(IDLE_MAX)
        .pool_max_idle_per_host(idle_max)
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .http1_max_buf_size(HEAD_BYTES)
        .http2_max_header_list_size(HEAD_BYTES as u32)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .http2_keep_alive_timeout(CONNECT_MAX);
    builder
}

/// Connects, to addresses that are allowed, within a bounded time.
#[derive(Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    guard: Guard,
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // An address that is written out is not resolved, so that it is checked here.
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = host.parse::<IpAddr>()
            && let Err(denied) = self.guard.check(address)
        {
            return Box::pin(async move { Err(denied.into()) });
        }
        let connecting = self.inner.call(uri);
        Box::pin(async move {
            match timeout(CONNECT_MAX, connecting).await {
                Ok(connection) => connection,
                Err(_) => Err(format!("no connection within {} s", CONNECT_MAX.as_secs()).into()),
            }
        })
    }
}
