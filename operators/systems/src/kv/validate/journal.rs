//! The Secret of the engine that carries the journal.
//!
//! Must not: connect. The processes do; here only mistakes are caught that would keep every one of
//! them from starting.

use orrery_api::Reason;
use orrery_api::kv::config::{
    JOURNAL_ADDRESS_KEY, JOURNAL_DATABASE_KEY, JOURNAL_HOST_KEY, JOURNAL_PORT_KEY,
    JOURNAL_USER_KEYS, POSTGRES_PORT,
};
use orrery_api::kv::{JournalBackend, KVClusterSpec};
use orrery_runtime::{Carrier, Referenced, Refusal};

use super::archive::bucket_port_of;
use super::content;

const FIELD: &str = "spec.journal.ref";

/// Ports of the engine: nothing else may be connected to.
pub(super) fn ports(
    spec: &KVClusterSpec,
    inputs: &Referenced,
    carrier: Carrier,
) -> Result<Vec<u16>, Refusal> {
    let Some(secret) = &spec.journal.ref_ else { return Ok(vec![]) };
    let name = &secret.name;
    let found = content(inputs, name, FIELD)?;
    let refusal = |why: String| {
        Refusal::field(Reason::InvalidSpec, FIELD, format!("the Secret {name} {why}"))
    };
    let text = |key: &str| {
        let value = found.get(key).and_then(|value| std::str::from_utf8(value).ok());
        value.map(str::trim).filter(|value| !value.is_empty())
    };
    let needed =
        |key: &str| text(key).ok_or_else(|| refusal(format!("has no value under the key `{key}`")));
    match spec.journal.backend {
        JournalBackend::Local | JournalBackend::Kafka => Ok(vec![]),
        JournalBackend::Postgres => {
            needed(JOURNAL_HOST_KEY)?;
            needed(JOURNAL_DATABASE_KEY)?;
            if JOURNAL_USER_KEYS.iter().all(|key| text(key).is_none()) {
                let [first, second] = JOURNAL_USER_KEYS;
                return Err(refusal(format!("has no value under the key `{first}` or `{second}`")));
            }
            let port = text(JOURNAL_PORT_KEY).map_or(Some(POSTGRES_PORT), |port| port.parse().ok());
            let is_port = port.filter(|port| *port > 0);
            let port = is_port.ok_or_else(|| refusal("has no port under the key `port`".into()))?;
            Ok(vec![port])
        }
        JournalBackend::ObjectStore => {
            let address = needed(JOURNAL_ADDRESS_KEY)?;
            match address.split_once("://") {
                Some(("s3", bucket)) if !bucket.is_empty() => {
                    Ok(vec![bucket_port_of(name, found, None, FIELD)?])
                }
                // A folder of the machine that everything runs on.
                Some(("file", path)) if carrier == Carrier::Local && path.starts_with('/') => {
                    Ok(vec![])
                }
                _ => Err(refusal(format!(
                    "has no `s3://bucket/prefix` under the key `{JOURNAL_ADDRESS_KEY}`"
                ))),
            }
        }
    }
}
