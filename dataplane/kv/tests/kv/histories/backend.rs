//! What carries the journal of a group: nothing but its members, a PostgreSQL server, or objects, in a
//! folder or in a bucket.

use std::fs;
use std::path::Path;

use orrery_e2e_tests::minio::{self, Minio};
use orrery_e2e_tests::postgres::{DATABASE, PASSWORD, Postgres, USER};

use super::proxy::{Mode, Proxy};
use crate::process::Engine;
use crate::replication::group::eventually;

const BUCKET: &str = "journals";
/// Short, so that a failover takes little more. The product waits for three seconds.
pub(crate) const LEASE_MS: u32 = 700;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// Two followers, one of which must have every write.
    Local,
    Postgres,
    /// Objects in a folder.
    ObjectStore,
    /// Objects in a bucket.
    Bucket,
}

impl Backend {
    /// How wrong clocks may be, in seconds. A server of S3 refuses requests that seem to be a quarter of an
    /// hour away, and nobody can be promoted then.
    pub(crate) fn skew_max_s(self) -> i64 {
        if self == Self::Bucket { 600 } else { 3600 }
    }

    /// Whether there is a network to what carries the journal, and a server that can die.
    pub(crate) fn has_server(self) -> bool {
        matches!(self, Self::Postgres | Self::Bucket)
    }

    pub(crate) fn members(self) -> usize {
        if self == Self::Local { 3 } else { 2 }
    }

    /// How many followers must have a write.
    pub(crate) fn synchronous(self) -> u32 {
        u32::from(self == Self::Local)
    }
}

enum Server {
    None,
    Postgres(Postgres),
    Bucket(Minio),
}

impl Server {
    fn port(&self) -> Option<u16> {
        match self {
            Self::None => None,
            Self::Postgres(server) => Some(server.port()),
            Self::Bucket(server) => Some(server.port()),
        }
    }
}

/// The engine that carries it, with a network of its own to each member.
pub(crate) struct Carrier {
    backend: Backend,
    server: Server,
    folder: tempfile::TempDir,
    pub(crate) networks: Vec<Proxy>,
}

impl Carrier {
    /// An error is why it cannot run here.
    pub(crate) fn start(backend: Backend) -> Result<Self, String> {
        let folder = folder().map_err(|error| error.to_string())?;
        let server = match backend {
            Backend::Postgres => Server::Postgres(Postgres::start(folder.path())?),
            Backend::Bucket => {
                Server::Bucket(Minio::start(&minio::built()?, folder.path(), BUCKET)?)
            }
            Backend::Local | Backend::ObjectStore => Server::None,
        };
        let network = |port: u16| (0..backend.members()).map(move |_| Proxy::to(port));
        let networks = server.port().into_iter().flat_map(network).collect();
        Ok(Self { backend, server, folder, networks })
    }

    /// The folder of a new member, with what it must know.
    pub(crate) fn prepare(&self, member: usize) -> tempfile::TempDir {
        let carried = match self.backend {
            Backend::Local => "",
            Backend::Postgres => "journal: Postgres\n",
            Backend::ObjectStore | Backend::Bucket => "journal: ObjectStore\n",
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
            Backend::Bucket => vec![
                ("address", format!("s3://{BUCKET}/histories")),
                ("AWS_ACCESS_KEY_ID", minio::USER.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", minio::PASSWORD.to_owned()),
                ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.networks[member].port)),
            ],
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
        match &mut self.server {
            Server::None => panic!("there is no server"),
            Server::Postgres(server) => server.kill(),
            Server::Bucket(server) => server.kill(),
        }
    }

    /// Starts it again; what the killed one held is free after a moment.
    pub(crate) fn again(&mut self) {
        eventually("the server starts", || match &mut self.server {
            Server::None => panic!("there is no server"),
            Server::Postgres(server) => server.again().ok(),
            Server::Bucket(server) => server.again().ok(),
        });
    }

    pub(crate) fn set_networks(&self, mode: Mode) {
        self.networks.iter().for_each(|network| network.set(mode));
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        // A killed one would leave its shared memory behind.
        if let Server::Postgres(server) = &mut self.server {
            server.crash();
        }
    }
}

/// In memory where that is possible: processes are killed here and not machines.
fn folder() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }
}
