//! The Secrets with the Redis to take over, and with what its certificate is checked with.
//!
//! Must not: connect. The process does, and its `Report` says what comes of it.

use orrery_api::Reason;
use orrery_api::kv::KVClusterSpec;
use orrery_runtime::{Referenced, Refusal};

use super::tls::{CERTIFICATE, PRIVATE_KEY, contains};

const TLS_FIELD: &str = "spec.adoptFrom.tls.secretRef";
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

/// Without an authority no certificate could be trusted, and a certificate is nothing without its key.
pub(super) fn check_tls(spec: &KVClusterSpec, inputs: &Referenced) -> Result<(), Refusal> {
    let tls = spec.adopt_from.as_ref().and_then(|adopt| adopt.tls.as_ref());
    let Some(tls) = tls else { return Ok(()) };
    let name = &tls.secret_ref.name;
    let Some(found) = inputs.secrets.get(name) else {
        let message = format!("there is no Secret {name}");
        return Err(Refusal::field(Reason::RefNotFound, TLS_FIELD, message));
    };
    let has_pair = ["tls.crt", "tls.key"].iter().any(|key| found.expose().contains_key(*key));
    let keys = [
        ("ca.crt", CERTIFICATE, true),
        ("tls.crt", CERTIFICATE, has_pair),
        ("tls.key", PRIVATE_KEY, has_pair),
    ];
    for (key, mark, is_needed) in keys {
        let why = match found.expose().get(key) {
            _ if !is_needed => continue,
            None => format!("has no key `{key}`"),
            Some(bytes) if contains(bytes, mark) => continue,
            Some(_) => format!("has no PEM text with {mark} under the key `{key}`"),
        };
        let message = format!("the Secret {name} {why}");
        return Err(Refusal::field(Reason::InvalidSpec, TLS_FIELD, message));
    }
    Ok(())
}
