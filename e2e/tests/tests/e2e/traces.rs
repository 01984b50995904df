//! Logs and traces of a round: a receiver of OTLP stands beside the operator, and what it gets is
//! compared with what the operator writes.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use orrery_e2e_cluster::poll_for;
use orrery_kit::suite::free_port;
use serde_json::Value as Json;
use tonic::{Request, Response, Status};

use crate::kubernetes::Stage;

/// Collects spans.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let scopes = resources.into_iter().flat_map(|resource| resource.scope_spans);
        let mut seen = self.0.lock().expect("nobody panics with it");
        seen.extend(scopes.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    /// Listens on a port until the runtime of the test ends.
    fn listen(&self) -> u16 {
        let port = free_port();
        let service = TraceServiceServer::new(self.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve(SocketAddr::from(([127, 0, 0, 1], port))));
        port
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        Any::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

fn hex(id: &[u8]) -> String {
    use std::fmt::Write as _;
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes it");
        text
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_is_a_trace_with_its_calls_and_every_line_names_object_and_trace() {
    let Some(mut stage) = Stage::new("traces").await else { return };
    let receiver = Receiver::default();
    let endpoint = format!("http://127.0.0.1:{}", receiver.listen());
    stage.restart_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "200"),
        ("ORRERY_LOG", "json"),
        ("ORRERY_LOG_LEVEL", "info,orrery_runtime=debug"),
    ]);
    stage
        .apply(
            "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: a}\nspec: {}\n\
             ---\napiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: b}\n\
             spec: {resp: {auth: {secretRef: {name: nowhere}}}}\n",
        )
        .await;
    stage.ready("kvcluster/a").await;

    // The round that got a report, with its call below it.
    let patience = Duration::from_secs(30);
    let (round, call) = poll_for("a round with a call arrives", patience, || async {
        let spans = receiver.spans();
        let call = spans.iter().find(|span| {
            span.name == "operand" && attribute(span, "rpc").as_deref() == Some("Report")
        })?;
        let round = spans.iter().find(|span| span.span_id == call.parent_span_id)?;
        Some((round.clone(), call.clone()))
    })
    .await
    .expect("the operator sends its traces");
    assert_eq!((round.name.as_str(), round.parent_span_id.len()), ("reconcile", 0));
    assert_eq!(round.trace_id, call.trace_id);
    for (key, value) in [("kind", "KVCluster"), ("name", "a"), ("generation", "1")] {
        assert_eq!(attribute(&round, key).as_deref(), Some(value), "{key}");
    }
    let trace_id = hex(&round.trace_id);
    assert_eq!(attribute(&round, "trace_id"), Some(trace_id));

    // A failed round says so, in its trace and in its line.
    let failed = poll_for("a failed round arrives", patience, || async {
        let spans = receiver.spans();
        let is_failed = |span: &&Span| span.status.as_ref().is_some_and(|status| status.code == 2);
        spans.iter().find(|span| is_failed(span)).cloned()
    });
    let failed = failed.await.expect("the operator sends failed rounds too");
    assert_eq!(attribute(&failed, "name").as_deref(), Some("b"));
    assert!(receiver.spans().iter().all(|span| ["reconcile", "operand"].contains(&&*span.name)));

    let log = stage.operator_log();
    let lines: Vec<Json> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let of_rounds: Vec<&Json> = lines.iter().filter(|line| line["trace_id"].is_string()).collect();
    assert!(!of_rounds.is_empty(), "{log}");
    for line in &of_rounds {
        for field in ["kind", "namespace", "name", "generation", "message", "timestamp"] {
            assert!(!line[field].is_null(), "{field} is missing in {line}");
        }
    }
    let line = lines.iter().find(|line| line["message"] == "round failed");
    let line = line.unwrap_or_else(|| panic!("no line of the failed round:\n{log}"));
    assert_eq!(line["name"], "b");
    let told: BTreeSet<&str> = of_rounds.iter().filter_map(|l| l["trace_id"].as_str()).collect();
    let sent: BTreeSet<String> = receiver.spans().iter().map(|span| hex(&span.trace_id)).collect();
    assert!(told.iter().any(|id| sent.contains(*id)), "lines and traces share their ids");
}
