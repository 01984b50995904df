//! The second peer: PostgreSQL of the package with its defaults, by its socket, a connection for each
//! client and a transaction for each row.

use std::path::Path;
use std::rc::Rc;

use orrery_e2e_tests::postgres::{Postgres, USER};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::clients::{self, Measured, VALUE};

const TABLE: &str = "CREATE TABLE kv (k bytea PRIMARY KEY, v bytea NOT NULL)";
const INSERT: &str = "INSERT INTO kv VALUES ($1, $2)";

pub struct Peer {
    server: Postgres,
    runtime: Runtime,
    clients: Rc<Vec<(Client, Statement)>>,
}

impl Peer {
    /// Starts a server and connects so many clients to it.
    pub fn start(folder: &Path, clients: usize) -> Result<Self, String> {
        std::fs::create_dir(folder).map_err(|error| error.to_string())?;
        // The folder above is for its owner alone, and the server has a user of its own.
        let above = folder.parent().ok_or("a folder has one above it")?;
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(above, open).map_err(|error| error.to_string())?;
        let server = Postgres::start_with(folder, &["synchronous_commit=on"])?;
        server.run_sql(TABLE)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let clients = runtime.block_on(async {
            let mut connected = Vec::new();
            for _ in 0..clients {
                connected.push(connect(&server).await.map_err(|error| error.to_string())?);
            }
            Ok::<_, String>(Rc::new(connected))
        })?;
        Ok(Self { server, runtime, clients })
    }

    /// CPU is that of the clients and of the server.
    pub fn run(&self, commits: u64) -> Result<Measured, String> {
        let before = self.server.cpu();
        let clients = Rc::clone(&self.clients);
        let mut measured = self.runtime.block_on(clients::tasks(commits, move |number, key| {
            let clients = Rc::clone(&clients);
            async move {
                let (client, insert) = &clients[number];
                let inserted = client.execute(insert, &[&&key[..], &&VALUE[..]]).await;
                inserted.map(drop).map_err(|error| error.to_string())
            }
        }))?;
        let used = self.server.cpu().saturating_sub(before);
        measured.cpu_us_per_commit += used.as_secs_f64() * 1e6 / commits as f64;
        Ok(measured)
    }
}

async fn connect(server: &Postgres) -> Result<(Client, Statement), tokio_postgres::Error> {
    let (socket, port) = server.socket();
    let mut config = Config::new();
    config.host_path(socket).port(port).user(USER).dbname("postgres");
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    let insert = client.prepare(INSERT).await?;
    Ok((client, insert))
}
