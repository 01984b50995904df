//! The Secret of the engine that carries the journal: what must be in it, and where processes find it.
//!
//! Must not: connect. The processes do; here only mistakes are caught that would keep every one of
//! them from starting.

use k8s_openapi::api::core::v1::{EnvVar, Volume, VolumeMount};

use orrery_api::Reason;
use orrery_api::spec::journal::{
    JOURNAL_ADDRESS_KEY, JOURNAL_DATABASE_KEY, JOURNAL_HOST_KEY, JOURNAL_PORT_KEY, JOURNAL_SECRET,
    JOURNAL_USER_KEYS, POSTGRES_PORT,
};
use orrery_api::spec::{Journal, JournalBackend};
use orrery_runtime::{Carrier, Referenced, Refusal};

use super::checks::content;
use super::container::variable;
use super::volumes::{mount, secret};
use crate::archive::bucket_port_of;

const FIELD: &str = "spec.journal.ref";
const VOLUME: &str = "journal-secret";
/// Folder of the Secret of the engine that carries the journal.
const FOLDER: &str = "/run/orrery/journal-secret";

/// The volume of the Secret, where there is one.
pub(crate) fn volume(journal: &Journal) -> Option<Volume> {
    journal.ref_.as_ref().map(|from| secret(VOLUME, &from.name))
}

/// Where the container has it.
pub(crate) fn mounted(journal: &Journal) -> Option<VolumeMount> {
    journal.ref_.as_ref().map(|_| mount(VOLUME, FOLDER, true))
}

/// The variable that names its folder.
pub(crate) fn named(journal: &Journal) -> Option<EnvVar> {
    journal.ref_.as_ref().map(|_| variable(JOURNAL_SECRET, FOLDER.to_owned()))
}

/// Ports of the engine: nothing else may be connected to.
pub(crate) fn ports(
    journal: &Journal,
    inputs: &Referenced,
    carrier: Carrier,
) -> Result<Vec<u16>, Refusal> {
    let Some(secret) = &journal.ref_ else { return Ok(vec![]) };
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
    match journal.backend {
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
