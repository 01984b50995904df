//! Which trace a call belongs to: the header `traceparent` of W3C Trace Context, set by the operator
//! and read by the data plane, so that the lines both write about one round can be put together.
//!
//! Must not: know how traces are collected. The operator's program says where a `traceparent` comes
//! from; without it none is sent.

use std::sync::OnceLock;

use tonic::codegen::http;
use tonic::metadata::{Ascii, MetadataValue};
use tracing::Span;

/// Name of the header.
pub const HEADER: &str = "traceparent";

/// Gives the `traceparent` of the span that is current, none outside of a trace.
pub type Source = fn() -> Option<String>;

static SOURCE: OnceLock<Source> = OnceLock::new();

/// From now on calls carry what `source` gives; the first call counts.
pub fn propagate(source: Source) {
    // Set twice only by tests that share a process.
    let _ = SOURCE.set(source);
}

/// Trace of the current span, as 32 hexadecimal digits.
pub fn trace_id() -> Option<String> {
    trace_id_of(&current()?).map(str::to_owned)
}

fn current() -> Option<String> {
    SOURCE.get()?()
}

/// The header of a call that is made within the current span.
pub(crate) fn header() -> Option<MetadataValue<Ascii>> {
    MetadataValue::try_from(current()?).ok()
}

/// The span of a call that is made now; none outside of every span, where nobody would ask for it.
pub(crate) fn calling(rpc: &'static str, address: &str) -> Span {
    if Span::current().is_none() {
        return Span::none();
    }
    tracing::info_span!("operand", rpc, address, otel.kind = "client")
}

/// The span of a call that was received: what is logged for it names the caller's trace.
pub fn called(request: &http::Request<()>) -> Span {
    let sent = request.headers().get(HEADER).and_then(|value| value.to_str().ok());
    let rpc = request.uri().path().rsplit('/').next().unwrap_or_default();
    tracing::info_span!("operand", rpc, trace_id = sent.and_then(trace_id_of))
}

/// The second field of `00-<32 hex>-<16 hex>-<2 hex>`.
fn trace_id_of(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let (_version, id) = (fields.next()?, fields.next()?);
    let is_hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_hex && fields.count() == 2).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_traceparent_names_a_trace() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id_of(&format!("00-{id}-00f067aa0ba902b7-01")), Some(id));
        for wrong in ["", "00", "00-4bf9-00f067aa0ba902b7-01", &format!("00-{id}"), "a-b-c-d"] {
            assert_eq!(trace_id_of(wrong), None, "{wrong}");
        }
    }
}
