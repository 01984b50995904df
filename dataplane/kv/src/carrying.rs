//! The engine that carries the journal, where that is not the pod's own volume: from the folder of its
//! Secret to a [`Carrier`].

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use orrery_api::kv::JournalBackend;
use orrery_api::kv::config::{
    JOURNAL_ADDRESS_KEY, JOURNAL_DATABASE_KEY, JOURNAL_HOST_KEY, JOURNAL_PASSWORD_KEY,
    JOURNAL_PORT_KEY, JOURNAL_SECRET, JOURNAL_USER_KEYS, POSTGRES_PORT,
};
use orrery_blob::{Access, Address, BlobError};
use orrery_journal::carrier::{self, Saved};
use orrery_journal::{
    Carrier, CarrierError, Group, Journal, JournalError, Opened, Options, Owner, Position, RealDisk,
};
use orrery_journal_objects::ObjectCarrier;
use orrery_journal_pg::{
    Address as Servers, ClientCertificate, Host, OpenError, PgCarrier, Roots, Tls,
};
use orrery_kit::secrets::{Secret, SecretError, Secrets};

use crate::persistence::PersistenceError;
use crate::serve::ServeError;

/// Key of the Secret: `disable` for a server that speaks no TLS.
const SSL_MODE_KEY: &str = "sslmode";

/// Which engine carries the journal, and where what it needs lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) backend: JournalBackend,
    /// The object whose journal it is, as `namespace/name`.
    pub(crate) object: String,
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
}

/// Opens it. It need not answer yet.
pub(crate) fn open(carried: &Carried, shard: u32) -> Result<Arc<dyn Carrier>, CarryingError> {
    let folder = std::env::var_os(JOURNAL_SECRET).map(PathBuf::from);
    let folder = folder.ok_or(CarryingError::NoFolder(carried.backend.as_str()))?;
    let engine: Box<dyn Carrier> = match carried.backend {
        JournalBackend::Postgres => Box::new(postgres(&folder, &carried.object, shard)?),
        _ => Box::new(objects(&folder, &carried.object, shard)?),
    };
    let prepared = Arc::new(Prepared { engine, is_done: AtomicBool::new(false) });
    // Now, and not when somebody waits for a take-over. One that fails is tried again then.
    let early = Arc::clone(&prepared);
    let thread = thread::Builder::new().name("journal-prepare".into()).spawn(move || {
        if let Err(error) = early.prepare() {
            tracing::warn!(carrier = early.name(), %error, "the journal cannot be carried yet");
        }
    });
    thread.map_err(CarryingError::Thread)?;
    Ok(prepared)
}

/// An engine that is prepared once in the life of a process.
#[derive(Debug)]
struct Prepared {
    engine: Box<dyn Carrier>,
    is_done: AtomicBool,
}

impl Carrier for Prepared {
    fn name(&self) -> String {
        self.engine.name()
    }

    fn prepare(&self) -> Result<(), CarrierError> {
        if !self.is_done.load(Ordering::Acquire) {
            self.engine.prepare()?;
            self.is_done.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn take_over(&self, owner: Owner) -> Result<carrier::Carried, CarrierError> {
        self.engine.take_over(owner)
    }

    fn look(&self) -> Result<carrier::Carried, CarrierError> {
        self.engine.look()
    }

    fn append(&self, owner: Owner, group: &Group) -> Result<(), CarrierError> {
        self.engine.append(owner, group)
    }

    fn read(&self, after: Position, bytes_max: usize) -> Result<Vec<Group>, CarrierError> {
        self.engine.read(after, bytes_max)
    }

    fn save(&self, owner: Owner, saved: Saved, content: &mut dyn Read) -> Result<(), CarrierError> {
        self.engine.save(owner, saved, content)
    }

    fn load(&self, at: Position) -> Result<Box<dyn Read + Send>, CarrierError> {
        self.engine.load(at)
    }

    fn trim(&self, owner: Owner, upto: Position) -> Result<(), CarrierError> {
        self.engine.trim(owner, upto)
    }
}

/// Opens what is on disk. Where the journal is carried elsewhere that is a copy, which is given up
/// when it is damaged.
pub(crate) fn open_journal(
    folder: &Path,
    carrier: Option<&Arc<dyn Carrier>>,
    shard: u32,
) -> Result<Opened, ServeError> {
    let folder_error = |source| ServeError::Folder { path: folder.to_owned(), source };
    let disk = || {
        std::fs::create_dir_all(folder).map_err(folder_error)?;
        RealDisk::new(folder).map(Arc::new).map_err(folder_error)
    };
    let options = || Options { shard, ..Options::default() };
    let Some(carrier) = carrier else {
        return Ok(Journal::open(disk()?, options()).map_err(PersistenceError::Journal)?);
    };
    match Journal::open_carried(disk()?, options(), Arc::clone(carrier)) {
        Err(error @ JournalError::Corrupt { .. }) => {
            tracing::warn!(%error, "the copy of the journal is given up: it is carried elsewhere");
            std::fs::remove_dir_all(folder).map_err(folder_error)?;
            let opened = Journal::open_carried(disk()?, options(), Arc::clone(carrier));
            Ok(opened.map_err(PersistenceError::Journal)?)
        }
        opened => Ok(opened.map_err(PersistenceError::Journal)?),
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
        journal: format!("{object}/{shard}"),
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
    let roots = read("ca.crt")?.map_or(Roots::System, Roots::Pem);
    Ok(Tls { roots, server_name: None, client })
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
