//! How much memory the data may take.

use orrery_api::Reason;
use orrery_api::kv::KVClusterSpec;
use orrery_api::spec::Quantity;
use orrery_runtime::Refusal;

/// Part of the container's memory that data may take unless the spec says otherwise. The rest is
/// for buffers of connections, the journal's queue and the allocator.
const DATA_PERCENT: i64 = 75;

/// Bytes all data of a pod may take; 0 sets no limit.
pub(super) fn limit_bytes(spec: &KVClusterSpec) -> Result<i64, Refusal> {
    let container = spec.engine.resources.limits.get("memory");
    let container_bytes = container.map(|q| bytes("spec.resources.limits", q)).transpose()?;
    let field = "spec.memory.limit";
    let Some(limit) = &spec.memory.limit else {
        return Ok(container_bytes.map_or(0, |bytes| bytes / 100 * DATA_PERCENT));
    };
    let limit_bytes = bytes(field, limit)?;
    if limit_bytes == 0 {
        return Err(Refusal::field(Reason::InvalidSpec, field, format!("{field} must be above 0")));
    }
    if let (Some(container), Some(container_bytes)) = (container, container_bytes)
        && limit_bytes > container_bytes
    {
        let message = format!(
            "{field} {limit} is above spec.resources.limits.memory {container}: the container would \
             be killed before the limit is reached; lower the one or raise the other"
        );
        return Err(Refusal::field(Reason::InvalidSpec, field, message));
    }
    Ok(limit_bytes)
}

fn bytes(field: &str, quantity: &Quantity) -> Result<i64, Refusal> {
    quantity
        .value()
        .map_err(|error| Refusal::field(Reason::InvalidSpec, field, format!("{field}: {error}")))
}
