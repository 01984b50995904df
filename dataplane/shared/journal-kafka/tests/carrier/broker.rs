//! How a journal on a broker is opened.

use orrery_journal_kafka::suite::Broker;
use orrery_journal_kafka::{Host, KafkaCarrier, Options, Replication};

/// The shard of all journals here; that of the suite.
pub const SHARD: u32 = 7;

pub fn options(host: Host, journal: &str) -> Options {
    Options {
        bootstrap: vec![host],
        tls: None,
        user: None,
        prefix: "orrery.".to_owned(),
        journal: journal.to_owned(),
        shard: SHARD,
        replication: Replication::default(),
    }
}

/// A carrier of a journal on this broker.
pub fn carrier(broker: &Broker, journal: &str) -> KafkaCarrier {
    KafkaCarrier::open(options(broker.host(), journal)).unwrap()
}
