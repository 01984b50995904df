//! From JSON to the message of a method.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};

use super::super::{GrpcAction, note};

/// Whether a body says nothing: no text, or an object without fields.
pub(super) fn is_empty(body: &[u8]) -> bool {
    body.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"".iter())
        || body.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"{}".iter())
}

/// The message of an action, by the canonical JSON of Protocol Buffers; a sentence why there is none.
pub(super) fn write(
    known: &DescriptorPool,
    action: &GrpcAction,
) -> Result<(Bytes, MethodDescriptor), String> {
    let GrpcAction { service, method, body, .. } = action;
    let described = known.get_service_by_name(service);
    let described = described.ok_or_else(|| format!("the target has no service {service}"))?;
    let found = described.methods().find(|known| known.name() == &**method);
    let found = found.ok_or_else(|| format!("the service {service} has no method {method}"))?;
    if found.is_client_streaming() || found.is_server_streaming() {
        return Err(streams(&format!("{service}/{method}")));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let message = DynamicMessage::deserialize(found.input(), &mut json)
        .and_then(|message| json.end().map(|()| message));
    let message = message.map_err(|error| {
        let name = found.input();
        format!("the body is no {}: {}", name.full_name(), note::of_error(&error))
    })?;
    Ok((message.encode_to_vec().into(), found))
}

/// What is said of a method that streams.
pub(super) fn streams(method: &str) -> String {
    format!("{method} is a method that streams: only unary ones are called")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_without_fields_is_empty_however_it_is_written() {
        for body in ["", " ", "{}", " {\n} "] {
            assert!(is_empty(body.as_bytes()), "{body:?}");
        }
        for body in ["{\"a\":1}", "[]", "null", "{}}", "{"] {
            assert!(!is_empty(body.as_bytes()), "{body:?}");
        }
    }
}
