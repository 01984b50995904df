//! Traces of the operator's rounds, sent by OTLP over gRPC when the environment names a collector.
//!
//! Must not: hold up a round. Spans are queued and sent by a thread of their own; what does not fit
//! the queue is dropped.

use anyhow::Context as _;
use opentelemetry::trace::{TraceContextExt as _, TracerProvider as _};
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;

/// Any of them switches traces on; the rest of OpenTelemetry's variables works as usual.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// The exporter, if there is one.
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Starts logging, and traces where they are wanted. Must be called inside a runtime.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if !ENDPOINTS.into_iter().any(is_set) {
            orrery_kit::logs::init_from_environment(None);
            return Ok(Self(None));
        }
        let exporter = SpanExporter::builder().with_tonic().build();
        let exporter = exporter.context("failed to set up the exporter of traces")?;
        // OTEL_SERVICE_NAME wins over the name given here.
        let mut resource = Resource::builder();
        if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name("orrery-operator");
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        // Spans of ours only: libraries open spans of their own around and below them.
        let ours = Targets::new().with_target("orrery", LevelFilter::INFO);
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("orrery"));
        orrery_kit::logs::init_from_environment(Some(layer.with_filter(ours).boxed()));
        orrery_operand::trace::propagate(traceparent);
        Ok(Self(Some(provider)))
    }

    /// Sends what is queued.
    pub(crate) fn end(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown()
        {
            tracing::warn!(%error, "failed to send the last traces");
        }
    }
}

/// The header of the current span, after W3C Trace Context.
fn traceparent() -> Option<String> {
    let context = tracing::Span::current().context();
    let span = context.span();
    let ids = span.span_context();
    ids.is_valid().then(|| {
        let (trace, span, flags) = (ids.trace_id(), ids.span_id(), ids.trace_flags().to_u8());
        format!("00-{trace}-{span}-{flags:02x}")
    })
}
