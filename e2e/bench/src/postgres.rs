//! PostgreSQL of the package as a peer: a connection for each client, all on one thread, and a transaction
//! for each row.

use std::path::Path;
use std::rc::Rc;

use orrery_e2e_tests::postgres::{Postgres, USER};
use tokio::runtime::Runtime;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::measured::Measured;
use crate::tasks::tasks;

/// Starts a server with these settings in a new folder. The folder above is for its owner alone, and the
/// server has a user of its own.
pub fn start(
    folder: &Path,
    start: fn(&Path) -> Result<Postgres, String>,
) -> Result<Postgres, String> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir(folder).map_err(|error| error.to_string())?;
    let above = folder.parent().ok_or("a folder has one above it")?;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(above, open).map_err(|error| error.to_string())?;
    start(folder)
}

/// How a client reaches a server: by its socket.
pub fn config(server: &Postgres) -> Config {
    let (socket, port) = server.socket();
    let mut config = Config::new();
    config.host_path(socket).port(port).user(USER).dbname("postgres");
    config
}

/// Connections, each with the statement that all of them carry out.
pub struct Peer {
    runtime: Runtime,
    clients: Rc<Vec<(Client, Statement)>>,
}

impl Peer {
    /// Makes the table, and connects so many clients.
    pub fn connect(
        config: &Config,
        clients: usize,
        table: &str,
        insert: &str,
    ) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let connect = async {
            let mut connected = Vec::new();
            for number in 0..clients {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                if number == 0 {
                    client.batch_execute(table).await?;
                }
                let insert = client.prepare(insert).await?;
                connected.push((client, insert));
            }
            Ok(connected)
        };
        let connected = runtime.block_on(connect);
        let connected = connected.map_err(|error: tokio_postgres::Error| error.to_string())?;
        Ok(Self { runtime, clients: Rc::new(connected) })
    }

    /// Inserts so many rows, whose values `row` gives.
    pub fn run<const N: usize>(
        &self,
        rows: u64,
        row: impl Fn() -> [Vec<u8>; N] + Clone + 'static,
    ) -> Result<Measured, String> {
        let clients = Rc::clone(&self.clients);
        self.runtime.block_on(tasks(rows, self.clients.len(), move |number| {
            let (clients, row) = (Rc::clone(&clients), row());
            async move {
                let (client, insert) = &clients[number];
                let values = row.each_ref().map(|value| value as &(dyn ToSql + Sync));
                let inserted = client.execute(insert, &values).await;
                inserted.map(drop).map_err(|error| error.to_string())
            }
        }))
    }
}
