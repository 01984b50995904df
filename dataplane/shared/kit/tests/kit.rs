//! The management thread over real sockets: probes, metrics and the management protocol.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

#[path = "kit/identity.rs"]
mod identity;

use orrery_kit::health::Health;
use orrery_kit::management::{self, Management, ManagementError, Options};
use orrery_kit::secrets::Secret;
use orrery_operand::OperandError;
use orrery_operand::client::OperandClient;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::Operand;
use orrery_operand::v1::{
    FenceResponse, PromoteResponse, ReportResponse, SyncRequest, SyncResponse,
};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// A data plane that can only say who it is.
struct Named;

fn refused<T>() -> Result<T, OperandError> {
    Err(OperandError::Unsupported("nothing but a report".into()))
}

#[tonic::async_trait]
impl Operand for Named {
    async fn report(&self) -> ReportResponse {
        ReportResponse { system: "named".into(), ..ReportResponse::default() }
    }
    async fn sync(&self, _: SyncRequest) -> Result<SyncResponse, OperandError> {
        refused()
    }
    async fn drain(&self, _: u32, _: ProgressSender) -> Result<Finished, OperandError> {
        refused()
    }
    async fn promote(&self, _: u32, _: u64) -> Result<PromoteResponse, OperandError> {
        refused()
    }
    async fn fence(&self, _: u32, _: u64) -> Result<FenceResponse, OperandError> {
        refused()
    }
    async fn snapshot(&self, _: String, _: ProgressSender) -> Result<Finished, OperandError> {
        refused()
    }
    async fn restore(&self, _: String, _: ProgressSender) -> Result<Finished, OperandError> {
        refused()
    }
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn start(health: &Health, token: Option<&str>) -> Management {
    start_as(health, token, None)
}

fn start_as(
    health: &Health,
    token: Option<&str>,
    identity: Option<Arc<orrery_kit::identity::Identity>>,
) -> Management {
    let mut registry = Registry::default();
    let counter = Counter::<u64>::default();
    counter.inc_by(3);
    registry.register("orrery_test", "a counter of the test", counter);
    let token = token.map(Secret::new);
    let options = Options { management: loopback(), http: loopback(), token, identity };
    let registry = Arc::new(Mutex::new(registry));
    management::start(options, Arc::new(Named), registry, health.clone()).expect("ports are free")
}

/// Status code and body of a GET.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (code, body.expect("a body"))
}

#[test]
fn probes_say_what_the_data_plane_says() {
    let health = Health::default();
    let management = start(&health, None);
    assert_eq!(get(management.http, "/livez").0, 200);
    let (code, body) = get(management.http, "/readyz");
    assert_eq!(code, 503);
    assert!(body.starts_with("Starting"), "{body}");
    health.set_ready();
    assert_eq!(get(management.http, "/readyz"), (200, "ready\n".into()));
    health.set_degraded("JournalFull", "98 % used");
    assert_eq!(get(management.http, "/readyz"), (200, "JournalFull: 98 % used\n".into()));
    health.set_dead();
    assert_eq!(get(management.http, "/livez").0, 503);
    assert_eq!(get(management.http, "/nothing").0, 404);
}

#[test]
fn metrics_are_in_the_text_format_that_prometheus_reads() {
    let management = start(&Health::default(), None);
    let (code, body) = get(management.http, "/metrics");
    assert_eq!(code, 200);
    assert!(body.contains("orrery_test_total 3"), "{body}");
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[test]
fn the_management_protocol_wants_the_token() {
    let management = start(&Health::default(), Some("secret"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let address = management.management.to_string();
        let without = OperandClient::new(&address, None).expect("a good address");
        assert_eq!(without.report().await, Err(OperandError::Unauthenticated));
        let with = OperandClient::new(&address, Some("secret")).expect("a good address");
        assert_eq!(with.report().await.expect("the token is right").system, "named");
    });
}

#[test]
fn a_port_in_use_is_an_error_at_start() {
    let taken = std::net::TcpListener::bind(loopback()).expect("loopback can be bound");
    let management = taken.local_addr().expect("a bound socket has an address");
    let options = Options { management, http: loopback(), token: None, identity: None };
    let started = management::start(options, Arc::new(Named), Arc::default(), Health::default());
    assert!(
        matches!(started, Err(ManagementError::Listen { address, .. }) if address == management)
    );
}
