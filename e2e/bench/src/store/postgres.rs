//! The second peer: PostgreSQL of the package with its defaults, by its socket.

use std::path::Path;

use orrery_e2e_tests::postgres::Postgres;

use super::clients::{VALUE, fresh_key};
use crate::measured::Measured;
use crate::postgres;

const TABLE: &str = "CREATE TABLE kv (k bytea PRIMARY KEY, v bytea NOT NULL)";
const INSERT: &str = "INSERT INTO kv VALUES ($1, $2)";

pub struct Peer {
    server: Postgres,
    clients: postgres::Peer,
}

impl Peer {
    /// Starts a server and connects so many clients to it.
    pub fn start(folder: &Path, clients: usize) -> Result<Self, String> {
        let server = postgres::start(folder, |folder| {
            Postgres::start_with(folder, &["synchronous_commit=on"])
        })?;
        let config = postgres::config(&server);
        let clients = postgres::Peer::connect(&config, clients, TABLE, INSERT)?;
        Ok(Self { server, clients })
    }

    /// CPU is that of the clients and of the server.
    pub fn run(&self, commits: u64) -> Result<Measured, String> {
        let before = self.server.cpu();
        let row = || [fresh_key().to_vec(), VALUE.to_vec()];
        let mut measured = self.clients.run(commits, row)?;
        let used = self.server.cpu().saturating_sub(before);
        measured.cpu_us += used.as_secs_f64() * 1e6 / commits as f64;
        Ok(measured)
    }
}
