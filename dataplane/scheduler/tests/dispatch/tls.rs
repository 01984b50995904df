//! Targets behind TLS: who is trusted, and HTTP/2 where the server offers it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use orrery_scheduler::dispatch::{HttpAction, Target};
use orrery_scheduler::run::Outcome;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::rig::{Rig, ad_hoc, http, named, note, run, succeeded};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(vec![]).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = parameters.self_signed(&key).expect("it is signed").pem();
        Self { issuer: Issuer::new(parameters, key), pem }
    }

    /// A certificate for a name until the beginning of a year, and its key.
    fn sign(&self, name: &str, end_year: i32) -> (String, String) {
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = date_time_ymd(end_year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let chain = parameters.signed_by(&key, &self.issuer).expect("it is signed").pem();
        (chain, key.serialize_pem())
    }

    fn trusted(&self, name: &str) -> Target {
        Target { ca_pem: Some(self.pem.clone()), ..Target::new(name) }
    }
}

/// Says which version of HTTP each request came by.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn start((chain, key): &(String, String), protocols: &[&[u8]]) -> Self {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("certificates");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("they fit");
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("settable");
        let connections = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&connections);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                let acceptor = TlsAcceptor::from(Arc::new(config));
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(serve(acceptor.clone(), socket, Arc::clone(&counter)));
                }
            });
        });
        Self { address, connections }
    }

    fn uri(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.address.port())
    }
}

async fn serve(acceptor: TlsAcceptor, socket: tokio::net::TcpStream, counter: Arc<AtomicUsize>) {
    let Ok(stream) = acceptor.accept(socket).await else { return };
    counter.fetch_add(1, Ordering::SeqCst);
    let routes = Router::new().fallback(answer);
    let service = TowerToHyperService::new(routes);
    let builder = Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request) -> Response {
    match request.uri().path() {
        "/silent" => std::future::pending().await,
        "/endless" => {
            let piece = Bytes::from(vec![b'x'; 1_024]);
            let pieces = tokio_stream::iter(std::iter::repeat_with(move || {
                Ok::<_, Infallible>(piece.clone())
            }));
            Response::new(Body::from_stream(pieces))
        }
        _ => Response::new(Body::from(format!("{:?} {}", request.version(), request.uri()))),
    }
}

const BOTH: &[&[u8]] = &[b"h2", b"http/1.1"];

#[test]
fn a_server_that_offers_http_2_is_spoken_to_in_it() {
    let authority = Authority::new();
    let server = Server::start(&authority.sign("localhost", 2096), BOTH);
    let rig = Rig::new(vec![authority.trusted("t")]);
    let outcome = rig.outcome(http(0, named("t", &server.uri("localhost"))));
    assert!(note(&outcome).starts_with("HTTP/2.0 https://localhost:"), "{outcome:?}");
    rig.dispatcher
        .hand_over((1..200).map(|n| http(n, named("t", &server.uri("localhost")))).collect());
    let outcomes = rig.wait_for_count(200);
    assert!(outcomes.iter().all(|(_, _, o)| matches!(o, Outcome::Succeeded { .. })));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "all share one connection");
}

#[test]
fn calls_that_go_wrong_on_a_shared_connection_disturb_no_other() {
    let authority = Authority::new();
    let server = Server::start(&authority.sign("localhost", 2096), BOTH);
    let rig = Rig::new(vec![Target { max_in_flight: 500, ..authority.trusted("t") }]);
    let action = |path: &str| named("t", &format!("{}{path}", server.uri("localhost")));
    // The first one opens the connection for all.
    assert!(matches!(rig.outcome(http(0, action("good"))), Outcome::Succeeded { .. }));
    let timeout = Duration::from_secs(2);
    let calls = (1..=300).map(|n| match n % 3 {
        0 => http(n, action("good")),
        1 => http(n, action("endless")),
        _ => http(n, HttpAction { timeout, ..action("silent") }),
    });
    rig.dispatcher.hand_over(calls.collect());
    rig.dispatcher.cancel(run(2));
    for (run, _, outcome) in rig.wait_for_count(301) {
        let is_right = match (run.number, run.number % 3) {
            (2, _) => outcome == Outcome::Cancelled,
            (_, 1) => outcome == succeeded(&"x".repeat(256)),
            (_, 2) => matches!(outcome, Outcome::TimedOut { .. }),
            _ => matches!(outcome, Outcome::Succeeded { .. }),
        };
        assert!(is_right, "{run:?}: {outcome:?}");
    }
}

#[test]
fn a_server_that_never_finishes_its_handshake_was_not_sent_anything() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let rig = Rig::new(vec![]);
    let timeout = Duration::from_millis(500);
    let action = HttpAction { timeout, ..ad_hoc(&format!("https://{address}/")) };
    let outcome = rig.outcome(http(1, action));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("no connection within"), "{outcome:?}");
}

#[test]
fn a_server_that_does_not_is_spoken_to_in_the_older_one() {
    let authority = Authority::new();
    for protocols in [&[][..], &[&b"http/1.1"[..]][..]] {
        let server = Server::start(&authority.sign("localhost", 2096), protocols);
        let rig = Rig::new(vec![authority.trusted("t")]);
        let outcome = rig.outcome(http(0, named("t", &server.uri("localhost"))));
        assert_eq!(outcome, succeeded("HTTP/1.1 /"));
    }
}

#[test]
fn certificates_that_are_not_good_are_failures_that_say_why() {
    let authority = Authority::new();
    let good = authority.sign("localhost", 2096);
    let cases = [
        ("expired", "t", authority.sign("localhost", 2001), "xpired"),
        ("of another name", "t", authority.sign("elsewhere", 2096), "not valid for name"),
        ("of an authority that is not known", "plain", good, "UnknownIssuer"),
    ];
    let rig = Rig::new(vec![authority.trusted("t"), Target::new("plain")]);
    for (number, (what, target, certificate, why)) in cases.into_iter().enumerate() {
        let server = Server::start(&certificate, BOTH);
        let uri = server.uri("localhost");
        let outcome = rig.outcome(http(number as u64, named(target, &uri)));
        assert!(matches!(outcome, Outcome::Failed { .. }), "{what}: {outcome:?}");
        assert!(note(&outcome).contains(why), "{what}: {outcome:?}");
        assert_eq!(server.connections.load(Ordering::SeqCst), 0, "{what}");
    }
}

#[test]
fn a_target_without_tls_is_a_failure() {
    let server = super::server::Server::saying(200, "");
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc(&server.uri("/").replace("http:", "https:"))));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
}
