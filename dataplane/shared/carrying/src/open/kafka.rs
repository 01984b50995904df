//! From the folder of a Secret to brokers that speak the Kafka protocol.

use std::path::Path;

use orrery_api::spec::journal::{
    JOURNAL_BROKERS_KEY, JOURNAL_IN_SYNC_KEY, JOURNAL_MECHANISM_KEY, JOURNAL_PASSWORD_KEY,
    JOURNAL_PREFIX_KEY, JOURNAL_PROTOCOL_KEY, JOURNAL_REPLICATION_KEY, JOURNAL_USER_KEYS,
    KAFKA_PREFIX,
};
use orrery_journal_kafka::{
    ClientCertificate, Host, KafkaCarrier, Mechanism, Options, Replication, Tls, User,
};
use orrery_kit::secrets::Secret;

use super::{CarryingError, name, roots, value};

pub(super) fn open(folder: &Path, object: &str, shard: u32) -> Result<KafkaCarrier, CarryingError> {
    Ok(KafkaCarrier::open(options(folder, object, shard)?)?)
}

fn options(folder: &Path, object: &str, shard: u32) -> Result<Options, CarryingError> {
    let read = |key: &str| value(folder, key);
    let bootstrap =
        read(JOURNAL_BROKERS_KEY)?.ok_or(CarryingError::Missing(JOURNAL_BROKERS_KEY))?;
    let bootstrap: Option<Vec<Host>> = bootstrap.split(',').map(|one| host(one.trim())).collect();
    let wrong = |key, wanted| CarryingError::Word { key, wanted };
    let bootstrap = bootstrap.ok_or_else(|| wrong(JOURNAL_BROKERS_KEY, "list of host:port"))?;

    let [user, other] = JOURNAL_USER_KEYS;
    let found = match read(user)? {
        Some(name) => Some(name),
        None => read(other)?,
    };
    let (is_plain, logs_in) = match read(JOURNAL_PROTOCOL_KEY)?.as_deref() {
        None => (false, found.is_some()),
        Some("SSL") => (false, false),
        Some("SASL_SSL") => (false, true),
        Some("PLAINTEXT") => (true, false),
        Some("SASL_PLAINTEXT") => (true, true),
        Some(_) => {
            return Err(wrong(JOURNAL_PROTOCOL_KEY, "SSL, SASL_SSL, PLAINTEXT or SASL_PLAINTEXT"));
        }
    };
    let user = if logs_in { Some(login(folder, found)?) } else { None };
    let number = |key: &'static str| {
        let Some(text) = read(key)? else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number > 0);
        number.map(Some).ok_or_else(|| wrong(key, "number above 0"))
    };
    Ok(Options {
        bootstrap,
        tls: if is_plain { None } else { Some(tls(folder)?) },
        user,
        prefix: read(JOURNAL_PREFIX_KEY)?.unwrap_or_else(|| KAFKA_PREFIX.to_owned()),
        journal: name(object, shard),
        shard,
        replication: Replication {
            factor: number(JOURNAL_REPLICATION_KEY)?,
            in_sync_min: number(JOURNAL_IN_SYNC_KEY)?,
        },
    })
}

fn host(text: &str) -> Option<Host> {
    let (name, port) = text.rsplit_once(':')?;
    // An address of IPv6 has brackets around it here, and none anywhere else.
    let name = name.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse().ok().filter(|port| *port > 0)?;
    (!name.is_empty()).then_some(Host { name, port })
}

fn login(folder: &Path, name: Option<String>) -> Result<User, CarryingError> {
    let name = name.ok_or(CarryingError::Missing(JOURNAL_USER_KEYS[0]))?;
    let password = value(folder, JOURNAL_PASSWORD_KEY)?;
    let password = Secret::new(password.ok_or(CarryingError::Missing(JOURNAL_PASSWORD_KEY))?);
    let mechanism = match value(folder, JOURNAL_MECHANISM_KEY)? {
        None => Mechanism::ScramSha512,
        Some(word) => Mechanism::named(&word).ok_or(CarryingError::Word {
            key: JOURNAL_MECHANISM_KEY,
            wanted: "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        })?,
    };
    Ok(User { mechanism, name, password })
}

/// The certificate of the client lies where Secrets of TLS have it, or where those of Strimzi do.
fn tls(folder: &Path) -> Result<Tls, CarryingError> {
    let read = |key: &str| value(folder, key);
    let mut client = None;
    for (chain, key) in [("tls.crt", "tls.key"), ("user.crt", "user.key")] {
        if let (None, Some(chain), Some(key)) = (&client, read(chain)?, read(key)?) {
            client = Some(ClientCertificate { chain, key: Secret::new(key) });
        }
    }
    Ok(Tls { roots: roots(folder)?, client })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Options, CarryingError> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (key, value) in pairs {
            std::fs::write(folder.path().join(key), value).expect("writable");
        }
        options(folder.path(), "apps/shop", 3)
    }

    #[test]
    fn a_secret_is_read_as_kafka_clients_name_things() {
        let least = with(&[("bootstrap.servers", "a:9093, [::1]:9094")]).expect("it is enough");
        let host = |name: &str, port| Host { name: name.to_owned(), port };
        assert_eq!(least.bootstrap, [host("a", 9093), host("::1", 9094)]);
        assert!(least.tls.is_some() && least.user.is_none());
        assert_eq!((least.prefix.as_str(), least.journal.as_str()), ("orrery.", "apps/shop/3"));
        let full = with(&[
            ("bootstrap.servers", "a:9093"),
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("username", "orrery"),
            ("password", "hunter2"),
            ("topic.prefix", "journals."),
            ("replication.factor", "3"),
            ("min.insync.replicas", "2"),
        ]);
        let full = full.expect("it is whole");
        assert!(full.tls.is_none() && !format!("{full:?}").contains("hunter2"));
        assert_eq!(full.user.map(|user| user.mechanism), Some(Mechanism::ScramSha256));
        assert_eq!(full.replication, Replication { factor: Some(3), in_sync_min: Some(2) });
        let user = [("bootstrap.servers", "a:9093"), ("user", "a"), ("password", "b")];
        assert!(with(&user).expect("it is whole").user.is_some_and(|user| user.name == "a"));
    }

    #[test]
    fn what_cannot_be_used_is_named_by_its_key() {
        let brokers = ("bootstrap.servers", "a:9093");
        for (pairs, key) in [
            (vec![], "bootstrap.servers"),
            (vec![("bootstrap.servers", "a")], "bootstrap.servers"),
            (vec![("bootstrap.servers", "a:0")], "bootstrap.servers"),
            (vec![brokers, ("security.protocol", "TLS")], "security.protocol"),
            (vec![brokers, ("security.protocol", "SASL_SSL")], "username"),
            (vec![brokers, ("username", "a")], "password"),
            (
                vec![brokers, ("username", "a"), ("password", "b"), ("sasl.mechanism", "X")],
                "sasl.mechanism",
            ),
            (vec![brokers, ("replication.factor", "0")], "replication.factor"),
        ] {
            let said = with(&pairs).expect_err(key).to_string();
            assert!(said.contains(key), "{said}");
        }
    }
}
