//! The Secrets with the Redis to take over, and with what its certificate is checked with.
//!
//! Must not: connect. The process does, and its `Report` says what comes of it.

use orrery_api::Reason;
use orrery_api::kv::KVClusterSpec;
use orrery_runtime::{Referenced, Refusal};

use super::content;
use crate::parts::tls::{CERTIFICATE, PRIVATE_KEY, check_keys};

const TLS_FIELD: &str = "spec.adoptFrom.tls.secretRef";
const FIELD: &str = "spec.adoptFrom.secretRef";
const ADDRESS: &str = "address";

/// The port of the Redis to take over, if there is one: nothing else may be connected to.
pub(super) fn port(spec: &KVClusterSpec, inputs: &Referenced) -> Result<Option<u16>, Refusal> {
    let Some(adopt) = &spec.adopt_from else { return Ok(None) };
    let name = &adopt.secret_ref.name;
    let found = content(inputs, name, FIELD)?;
    let refuse = |why: &str| {
        let message = format!("the Secret {name} {why}");
        Err(Refusal::field(Reason::InvalidSpec, FIELD, message))
    };
    let Some(address) = found.get(ADDRESS) else {
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
    let found = content(inputs, name, TLS_FIELD)?;
    let pair = [("tls.crt", CERTIFICATE), ("tls.key", PRIVATE_KEY)];
    let has_pair = pair.iter().any(|(key, _)| found.contains_key(*key));
    let pair = pair.into_iter().filter(|_| has_pair);
    check_keys(found, name, TLS_FIELD, std::iter::once(("ca.crt", CERTIFICATE)).chain(pair))
}
