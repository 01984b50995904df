//! What carries the journal of a group: nothing but its members, a PostgreSQL server, or a folder of
//! objects.

use std::fs;
use std::path::Path;

use orrery_e2e_tests::postgres::{DATABASE, PASSWORD, Postgres, USER};

use super::proxy::{Mode, Proxy};
use crate::process::Engine;
use crate::replication::group::eventually;

/// Short, so that a failover takes little more. The product waits for three seconds.
pub(crate) const LEASE_MS: u32 = 700;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Two followers, one of which must have every write.
    Local,
    Postgres,
    ObjectStore,
}

impl Backend {
    pub(crate) fn members(self) -> usize {
        if self == Self::Local { 3 } else { 2 }
    }

    /// How many followers must have a write.
    pub(crate) fn synchronous(self) -> u32 {
        u32::from(self == Self::Local)
    }
}

/// The engine that carries it, with a network of its own to each member.
pub(crate) struct Carrier {
    backend: Backend,
    folder: tempfile::TempDir,
    postgres: Option<Postgres>,
    pub(crate) networks: Vec<Proxy>,
}

impl Carrier {
    /// An error is why it cannot run here.
    pub(crate) fn start(backend: Backend) -> Result<Self, String> {
        let folder = folder().map_err(|error| error.to_string())?;
        let postgres = match backend {
            Backend::Postgres => Some(Postgres::start(folder.path())?),
            Backend::Local | Backend::ObjectStore => None,
        };
        let networks = postgres
            .iter()
            .flat_map(|server| (0..backend.members()).map(|_| Proxy::to(server.port())));
        Ok(Self { backend, networks: networks.collect(), folder, postgres })
    }

    /// The folder of a new member, with what it must know.
    pub(crate) fn prepare(&self, member: usize) -> tempfile::TempDir {
        let carried = match self.backend {
            Backend::Local => "",
            Backend::Postgres => "journal: Postgres\n",
            Backend::ObjectStore => "journal: ObjectStore\n",
        };
        let object = "object: {namespace: shop, name: cache}\n";
        let object = if carried.is_empty() { "" } else { object };
        let folder =
            Engine::prepare(&format!("group: true\nsnapshotAfterBytes: 30000\n{carried}{object}"));
        let secret = folder.path().join("journal-secret");
        fs::create_dir(&secret).expect("writable");
        for (key, value) in self.secret(member) {
            fs::write(secret.join(key), value).expect("writable");
        }
        folder
    }

    fn secret(&self, member: usize) -> Vec<(&'static str, String)> {
        match self.backend {
            Backend::Local => vec![],
            Backend::ObjectStore => {
                vec![("address", format!("file://{}", self.folder.path().display()))]
            }
            Backend::Postgres => vec![
                ("host", "127.0.0.1".to_owned()),
                ("port", self.networks[member].port.to_string()),
                ("dbname", DATABASE.to_owned()),
                ("username", USER.to_owned()),
                ("password", PASSWORD.to_owned()),
                ("sslmode", "disable".to_owned()),
            ],
        }
    }

    pub(crate) fn kill(&mut self) {
        self.postgres.as_mut().expect("there is a server").kill();
    }

    /// Starts it again; what the killed one held is free after a moment.
    pub(crate) fn again(&mut self) {
        let server = self.postgres.as_mut().expect("there is a server");
        eventually("the database starts", || server.again().ok());
    }

    pub(crate) fn set_networks(&self, mode: Mode) {
        self.networks.iter().for_each(|network| network.set(mode));
    }
}

/// In memory where that is possible: processes are killed here and not machines.
fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}
