//! The Secret with the Redis to take over.
//!
//! Must not: connect. The process does, and its `Report` says what comes of it.

use orrery_api::Reason;
use orrery_api::kv::KVClusterSpec;
use orrery_runtime::{Referenced, Refusal};

const FIELD: &str = "spec.adoptFrom.secretRef";
const ADDRESS: &str = "address";

/// The port of the Redis to take over, if there is one: nothing else may be connected to.
pub(super) fn port(spec: &KVClusterSpec, inputs: &Referenced) -> Result<Option<u16>, Refusal> {
    let Some(adopt) = &spec.adopt_from else { return Ok(None) };
    let name = &adopt.secret_ref.name;
    let Some(found) = inputs.secrets.get(name) else {
        let message = format!("there is no Secret {name}");
        return Err(Refusal::field(Reason::RefNotFound, FIELD, message));
    };
    let refuse = |why: &str| {
        let message = format!("the Secret {name} {why}");
        Err(Refusal::field(Reason::InvalidSpec, FIELD, message))
    };
    let Some(address) = found.expose().get(ADDRESS) else {
        return refuse("has no key `address`");
    };
    let port = std::str::from_utf8(address).ok().and_then(|text| {
        let (host, port) = text.trim().rsplit_once(':')?;
        port.parse().ok().filter(|port| *port > 0 && !host.is_empty())
    });
    match port {
        Some(port) => Ok(Some(port)),
        None => refuse("has no `host:port` under the key `address`"),
    }
}
