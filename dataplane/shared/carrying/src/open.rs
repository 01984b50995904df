//! From the folder of a Secret to the engine that carries a journal.
//!
//! Must not: wait for the engine to answer.

mod kafka;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use orrery_api::spec::JournalBackend;
use orrery_api::spec::journal::{
    JOURNAL_ADDRESS_KEY, JOURNAL_DATABASE_KEY, JOURNAL_HOST_KEY, JOURNAL_PASSWORD_KEY,
    JOURNAL_PORT_KEY, JOURNAL_SECRET, JOURNAL_USER_KEYS, POSTGRES_PORT,
};
use orrery_blob::{Access, Address, BlobError};
use orrery_journal::carrier::{self, Saved};
use orrery_journal::{Carrier, CarrierError, Group, Owner, Position};
use orrery_journal_kafka::KafkaCarrier;
use orrery_journal_objects::ObjectCarrier;
use orrery_journal_pg::{
    Address as Servers, ClientCertificate, Host, OpenError, PgCarrier, Roots, Tls,
};
use orrery_kit::secrets::{Secret, SecretError, Secrets};

/// Key of the Secret: `disable` for a server that speaks no TLS.
const SSL_MODE_KEY: &str = "sslmode";

/// Which engine carries the journal, and where what it needs lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    pub backend: JournalBackend,
    /// The object whose journal it is, as `namespace/name`.
    pub object: String,
}

/// The engine cannot be used as its Secret says.
#[derive(Debug, thiserror::Error)]
pub enum CarryingError {
    #[error("the journal is carried by {0}, and {JOURNAL_SECRET} names no folder of a Secret")]
    NoFolder(&'static str),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the Secret of the journal has no value under the key {0}")]
    Missing(&'static str),
    #[error("the Secret of the journal has no port under the key {JOURNAL_PORT_KEY}")]
    Port,
    #[error("failed to use the address of the journal: {0}")]
    Store(#[from] BlobError),
    #[error("failed to start a thread: {0}")]
    Thread(std::io::Error),
    #[error("failed to use the Secret of the journal: {0}")]
    Objects(#[from] CarrierError),
    #[error("failed to use the Secret of the journal: {0}")]
    Postgres(#[from] OpenError),
    #[error("the Secret of the journal has no {wanted} under the key {key}")]
    Word { key: &'static str, wanted: &'static str },
    #[error("failed to use the Secret of the journal: {0}")]
    Kafka(#[from] orrery_journal_kafka::OpenError),
}

/// Opens the journal of one shard. The engine need not answer yet.
pub fn open(carried: &Carried, shard: u32) -> Result<Arc<dyn Carrier>, CarryingError> {
    let all = open_all(carried, &[shard])?;
    Ok(Arc::clone(&all[0]))
}

/// Opens the journals of several shards of one object, at least one; they share what connections they
/// can. The first is prepared before any other.
pub fn open_all(carried: &Carried, shards: &[u32]) -> Result<Vec<Arc<dyn Carrier>>, CarryingError> {
    let folder = std::env::var_os(JOURNAL_SECRET).map(PathBuf::from);
    let folder = folder.ok_or(CarryingError::NoFolder(carried.backend.as_str()))?;
    let object = &carried.object;
    let first = shards.first().copied().unwrap_or(0);
    let servers = match carried.backend {
        JournalBackend::Postgres => Engines::Postgres(postgres(&folder, object, first)?),
        JournalBackend::Kafka => Engines::Kafka(kafka::open(&folder, object, first)?),
        JournalBackend::Local | JournalBackend::ObjectStore => Engines::Objects,
    };
    let mut all: Vec<Arc<Prepared>> = vec![];
    for shard in shards.iter().copied() {
        let carrier: Box<dyn Carrier> = match &servers {
            Engines::Postgres(servers) => Box::new(servers.beside(name(object, shard), shard)?),
            Engines::Kafka(brokers) => Box::new(brokers.beside(&name(object, shard), shard)?),
            Engines::Objects => Box::new(objects(&folder, object, shard)?),
        };
        let engine = Engine { carrier, is_probed_apart: !matches!(servers, Engines::Objects) };
        let first = all.first().map(Arc::clone);
        all.push(Arc::new(Prepared { engine, first, is_done: AtomicBool::new(false) }));
    }
    // Now, and not when somebody waits for a take-over. One that fails is tried again then.
    let early = all.clone();
    let thread = thread::Builder::new().name("journal-prepare".into()).spawn(move || {
        for carrier in early {
            if let Err(error) = carrier.prepare() {
                tracing::warn!(carrier = carrier.name(), %error, "the journal cannot be carried yet");
                return;
            }
        }
    });
    thread.map_err(CarryingError::Thread)?;
    Ok(all.into_iter().map(|one| one as Arc<dyn Carrier>).collect())
}

fn name(object: &str, shard: u32) -> String {
    format!("{object}/{shard}")
}

/// What the journals of one object share.
enum Engines {
    Postgres(PgCarrier),
    Kafka(KafkaCarrier),
    Objects,
}

/// What carries one shard.
#[derive(Debug)]
struct Engine {
    carrier: Box<dyn Carrier>,
    /// Whether there is more to prepare than for the first shard: a store is tried once.
    is_probed_apart: bool,
}

/// An engine that is prepared once in the life of a process.
#[derive(Debug)]
struct Prepared {
    engine: Engine,
    /// What is prepared before it.
    first: Option<Arc<Self>>,
    is_done: AtomicBool,
}

impl Carrier for Prepared {
    fn name(&self) -> String {
        self.engine.carrier.name()
    }

    fn prepare(&self) -> Result<(), CarrierError> {
        if !self.is_done.load(Ordering::Acquire) {
            if let Some(first) = &self.first {
                first.prepare()?;
            }
            if self.first.is_none() || self.engine.is_probed_apart {
                self.engine.carrier.prepare()?;
            }
            self.is_done.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn take_over(&self, owner: Owner) -> Result<carrier::Carried, CarrierError> {
        self.engine.carrier.take_over(owner)
    }

    fn look(&self) -> Result<carrier::Carried, CarrierError> {
        self.engine.carrier.look()
    }

    fn append(&self, owner: Owner, group: &Group) -> Result<(), CarrierError> {
        self.engine.carrier.append(owner, group)
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Group>, CarrierError> {
        self.engine.carrier.read(after, bytes_max)
    }

    fn save(&self, owner: Owner, saved: Saved, content: &mut dyn Read) -> Result<(), CarrierError> {
        self.engine.carrier.save(owner, saved, content)
    }

    fn load(&self, at: Position) -> Result<Box<dyn Read + Send>, CarrierError> {
        self.engine.carrier.load(at)
    }

    fn trim(&self, owner: Owner, upto: Position) -> Result<(), CarrierError> {
        self.engine.carrier.trim(owner, upto)
    }
}

fn postgres(folder: &Path, object: &str, shard: u32) -> Result<PgCarrier, CarryingError> {
    let read = |key: &'static str| value(folder, key);
    let needed = |key: &'static str| read(key)?.ok_or(CarryingError::Missing(key));
    let port = match read(JOURNAL_PORT_KEY)? {
        None => POSTGRES_PORT,
        Some(port) => port.parse().map_err(|_| CarryingError::Port)?,
    };
    let hosts = needed(JOURNAL_HOST_KEY)?;
    let hosts = hosts.split(',').map(|name| Host { name: name.trim().to_owned(), port });
    let [user, other] = JOURNAL_USER_KEYS;
    let user = match read(user)? {
        Some(name) => name,
        None => needed(other)?,
    };
    let is_plain = read(SSL_MODE_KEY)?.as_deref() == Some("disable");
    let tls = if is_plain { None } else { Some(tls(folder)?) };
    Ok(PgCarrier::open(orrery_journal_pg::Options {
        address: Servers {
            hosts: hosts.collect(),
            database: needed(JOURNAL_DATABASE_KEY)?,
            user,
            tls,
        },
        password: read(JOURNAL_PASSWORD_KEY)?.map(Secret::new),
        journal: name(object, shard),
        shard,
        needs_replication: false,
    })?)
}

fn tls(folder: &Path) -> Result<Tls, CarryingError> {
    let read = |key: &str| value(folder, key);
    let client = match (read("tls.crt")?, read("tls.key")?) {
        (Some(chain), Some(key)) => Some(ClientCertificate { chain, key: Secret::new(key) }),
        _ => None,
    };
    Ok(Tls { roots: roots(folder)?, server_name: None, client })
}

fn roots(folder: &Path) -> Result<Roots, SecretError> {
    Ok(value(folder, "ca.crt")?.map_or(Roots::System, Roots::Pem))
}

fn objects(folder: &Path, object: &str, shard: u32) -> Result<ObjectCarrier, CarryingError> {
    let address = value(folder, JOURNAL_ADDRESS_KEY)?;
    let address = address.ok_or(CarryingError::Missing(JOURNAL_ADDRESS_KEY))?;
    let address: Address = format!("{}/{object}/{shard}", address.trim_end_matches('/')).parse()?;
    let access = Access { secret: Some(folder.to_owned()), ..Access::default() };
    Ok(ObjectCarrier::open(shard, &address, &access)?)
}

/// A value of the Secret without white space at its ends.
fn value(folder: &Path, key: &str) -> Result<Option<String>, SecretError> {
    let found = Secrets::new(Some(folder)).get(key)?;
    Ok(found.map(|value| value.reveal().trim().to_owned()).filter(|text| !text.is_empty()))
}
