//! Where the journal of an engine is kept, and what each kind of journal gives.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LocalRef;
use crate::cel::rules;

/// Environment variable: folder of the Secret of the engine that carries the journal.
pub const JOURNAL_SECRET: &str = "ORRERY_JOURNAL_SECRET";
/// Key of that Secret, for ObjectStore: `s3://bucket/prefix`; on one machine also `file:///folder`.
/// Credentials, `ENDPOINT_URL` and `REGION` stand under the keys that the Secret of an archive has.
pub const JOURNAL_ADDRESS_KEY: &str = "address";
/// Key of that Secret, for Postgres: one host, or several with commas between: the one that takes
/// writes is used.
pub const JOURNAL_HOST_KEY: &str = "host";
/// Key of that Secret, for Postgres: its port; left out: [`POSTGRES_PORT`].
pub const JOURNAL_PORT_KEY: &str = "port";
/// Key of that Secret, for Postgres: the database.
pub const JOURNAL_DATABASE_KEY: &str = "dbname";
/// Keys of that Secret, for Postgres and Kafka: the user, under either.
pub const JOURNAL_USER_KEYS: [&str; 2] = ["username", "user"];
/// Key of that Secret, for Postgres and Kafka: the password, if the user has one.
pub const JOURNAL_PASSWORD_KEY: &str = "password";
/// Port of PostgreSQL unless told otherwise.
pub const POSTGRES_PORT: u16 = 5432;
/// Key of that Secret, for Kafka: some brokers as `host:port`, with commas between. All brokers must
/// listen on one of these ports: nothing else may be connected to.
pub const JOURNAL_BROKERS_KEY: &str = "bootstrap.servers";
/// Key of that Secret, for Kafka: one of [`KAFKA_PROTOCOLS`]; left out, TLS, with a login if there is
/// a user.
pub const JOURNAL_PROTOCOL_KEY: &str = "security.protocol";
/// Key of that Secret, for Kafka: one of [`KAFKA_MECHANISMS`]; left out, the last one.
pub const JOURNAL_MECHANISM_KEY: &str = "sasl.mechanism";
/// Key of that Secret, for Kafka: what names of topics begin with; left out: [`KAFKA_PREFIX`].
pub const JOURNAL_PREFIX_KEY: &str = "topic.prefix";
/// Key of that Secret, for Kafka: copies of a topic that is made; left out, as many as brokers say.
pub const JOURNAL_REPLICATION_KEY: &str = "replication.factor";
/// Key of that Secret, for Kafka: how many copies must have what is acknowledged; left out, as many
/// as brokers say.
pub const JOURNAL_IN_SYNC_KEY: &str = "min.insync.replicas";
/// Ways to speak to brokers, as Kafka clients name them.
pub const KAFKA_PROTOCOLS: [&str; 4] = ["SSL", "SASL_SSL", "PLAINTEXT", "SASL_PLAINTEXT"];
/// Ways for a user to log in, as Kafka clients name them.
pub const KAFKA_MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];
/// What names of topics begin with unless told otherwise.
pub const KAFKA_PREFIX: &str = "orrery.";

/// Where the journal is kept, and so what a crash may take with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules(&[(
    "(self.backend == 'Local') != has(self.ref)",
    "ref names the engine that keeps the journal: it is needed for Postgres, ObjectStore and Kafka, and not allowed for Local",
)])))]
pub struct Journal {
    /// Local (segments on the pod's volume), Postgres, ObjectStore or Kafka.
    #[schemars(extend("x-kubernetes-validations" = rules(&[(
        "self == oldSelf",
        "journal.backend cannot change: the data is in the journal; make a new object and move the data",
    )])))]
    pub backend: JournalBackend,
    /// Secret with the address and the credentials of the backend; not for Local.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    pub ref_: Option<LocalRef>,
}

/// Kinds of journal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum JournalBackend {
    /// Segments on the pod's volume.
    #[default]
    Local,
    /// A database that speaks the PostgreSQL protocol.
    Postgres,
    /// A bucket of an object store.
    ObjectStore,
    /// A log that speaks the Kafka protocol.
    Kafka,
}

/// What a kind of journal gives and allows. A spec that asks for more is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalCaps {
    /// An engine outside of the pods has the journal, so that any pod may take it over.
    pub carried: bool,
    /// What keeps acknowledged writes, as `status.durability` says.
    pub durability: &'static str,
    /// Acknowledged writes can be on the disks of followers as well.
    pub synchronous_followers: bool,
    /// It can be copied to an archive, and be filled from one or from a Redis.
    pub copies: bool,
}

impl JournalBackend {
    /// What it gives and allows.
    pub const fn caps(self) -> JournalCaps {
        let carried = JournalCaps {
            carried: true,
            durability: "",
            // The engine has every acknowledged write: followers have nothing to add.
            synchronous_followers: false,
            copies: false,
        };
        match self {
            Self::Local => JournalCaps {
                carried: false,
                durability: "single-volume",
                synchronous_followers: true,
                copies: true,
            },
            Self::Postgres => JournalCaps { durability: "postgres", ..carried },
            Self::ObjectStore => JournalCaps { durability: "object-store", ..carried },
            Self::Kafka => JournalCaps { durability: "kafka", ..carried },
        }
    }

    /// The word as it stands in a spec.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::Postgres => "Postgres",
            Self::ObjectStore => "ObjectStore",
            Self::Kafka => "Kafka",
        }
    }
}
