//! The Secret of the engine that carries the journal: what must be in it, and where processes find it.
//!
//! Must not: connect. The processes do; here only mistakes are caught that would keep every one of
//! them from starting.

use k8s_openapi::api::core::v1::{EnvVar, Volume, VolumeMount};

use orrery_api::Reason;
use orrery_api::spec::journal::{
    JOURNAL_ADDRESS_KEY, JOURNAL_BROKERS_KEY, JOURNAL_DATABASE_KEY, JOURNAL_HOST_KEY,
    JOURNAL_IN_SYNC_KEY, JOURNAL_MECHANISM_KEY, JOURNAL_PASSWORD_KEY, JOURNAL_PORT_KEY,
    JOURNAL_PROTOCOL_KEY, JOURNAL_REPLICATION_KEY, JOURNAL_SECRET, JOURNAL_USER_KEYS,
    KAFKA_MECHANISMS, KAFKA_PROTOCOLS, POSTGRES_PORT,
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
        JournalBackend::Local => Ok(vec![]),
        JournalBackend::Kafka => brokers(&text).map_err(refusal),
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

/// Ports of the brokers that a Secret names; or what is wrong with it.
fn brokers<'a>(text: &dyn Fn(&str) -> Option<&'a str>) -> Result<Vec<u16>, String> {
    let list = text(JOURNAL_BROKERS_KEY)
        .ok_or_else(|| format!("has no value under the key `{JOURNAL_BROKERS_KEY}`"))?;
    let mut ports = vec![];
    for broker in list.split(',').map(str::trim) {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        let port = port.and_then(|(_, port)| port.parse().ok()).filter(|port| *port > 0);
        let port = port.ok_or_else(|| {
            format!("has no `host:port` in `{broker}` under the key `{JOURNAL_BROKERS_KEY}`")
        })?;
        ports.push(port);
    }
    ports.sort_unstable();
    ports.dedup();
    for (key, words) in [
        (JOURNAL_PROTOCOL_KEY, KAFKA_PROTOCOLS.as_slice()),
        (JOURNAL_MECHANISM_KEY, KAFKA_MECHANISMS.as_slice()),
    ] {
        if text(key).is_some_and(|word| !words.contains(&word)) {
            return Err(format!("has none of {} under the key `{key}`", words.join(", ")));
        }
    }
    for key in [JOURNAL_REPLICATION_KEY, JOURNAL_IN_SYNC_KEY] {
        if text(key).is_some_and(|number| !number.parse::<i16>().is_ok_and(|number| number > 0)) {
            return Err(format!("has no number above 0 under the key `{key}`"));
        }
    }
    let logs_in = text(JOURNAL_PROTOCOL_KEY).is_some_and(|word| word.starts_with("SASL"));
    let [user, other] = JOURNAL_USER_KEYS;
    let has_user = [user, other].into_iter().any(|key| text(key).is_some());
    if logs_in && !has_user {
        return Err(format!("has no value under the key `{user}` or `{other}`"));
    }
    if has_user && text(JOURNAL_PASSWORD_KEY).is_none() {
        return Err(format!("has no value under the key `{JOURNAL_PASSWORD_KEY}`"));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &'static str)]) -> Result<Vec<u16>, String> {
        brokers(&|key| pairs.iter().find(|(other, _)| *other == key).map(|(_, value)| *value))
    }

    #[test]
    fn brokers_are_named_with_their_ports_and_what_is_wrong_with_its_key() {
        let list = ("bootstrap.servers", "a.kafka.svc:9094, b.kafka.svc:9094,c:9093");
        assert_eq!(of(&[list]), Ok(vec![9093, 9094]));
        let login = [list, ("username", "a"), ("password", "b"), ("security.protocol", "SASL_SSL")];
        assert_eq!(of(&login), Ok(vec![9093, 9094]));
        for (pairs, key) in [
            (vec![], "bootstrap.servers"),
            (vec![("bootstrap.servers", "a")], "bootstrap.servers"),
            (vec![("bootstrap.servers", "a:9093,:9093")], "bootstrap.servers"),
            (vec![("bootstrap.servers", "a:0")], "bootstrap.servers"),
            (vec![list, ("security.protocol", "TLS")], "security.protocol"),
            (vec![list, ("sasl.mechanism", "GSSAPI")], "sasl.mechanism"),
            (vec![list, ("replication.factor", "0")], "replication.factor"),
            (vec![list, ("min.insync.replicas", "two")], "min.insync.replicas"),
            (vec![list, ("security.protocol", "SASL_SSL")], "username"),
            (vec![list, ("username", "a")], "password"),
        ] {
            let refused = of(&pairs).expect_err(key);
            assert!(refused.contains(&format!("`{key}`")), "{refused}");
        }
    }
}
