//! Stores on servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orrery_pg::suite::Server;
use orrery_store::suite::{Fixture, SHARD, TENANT};
use orrery_store::{Epoch, ManualClock, Options, Store, StoreError, Stores as _, SystemClock};
use orrery_store_pg::{Address, Config, Host, PgStores};

/// Names that no other store of this process has.
static NEXT: AtomicU64 = AtomicU64::new(0);

pub fn fresh_name() -> String {
    format!("store/{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub fn config(server: &Server, name: &str) -> Config {
    let name = name.to_owned();
    Config { address: server.address(), password: None, name, needs_replication: false }
}

/// Makes stores on the server that tests share. `None` if this machine has none.
pub fn make() -> Option<impl Fn(Options) -> Fixture> {
    let server = Server::shared()?;
    Some(move |options| {
        let clock = Arc::new(ManualClock::default());
        let stores = PgStores::new(config(&server, &fresh_name()), options, clock.clone()).unwrap();
        Fixture { stores: Box::new(stores), clock, held: Box::new(Arc::clone(&server)) }
    })
}

/// One process, as far as a server can tell.
#[derive(Debug)]
pub struct Process(PgStores);

impl Process {
    pub fn new(config: Config) -> Self {
        Self(PgStores::new(config, Options::default(), Arc::new(SystemClock)).unwrap())
    }

    /// One that reaches the server at another host.
    pub fn through(host: Host, server: &Server, name: &str) -> Self {
        Self::at(vec![host], server, name)
    }

    /// One that uses whichever host takes writes.
    pub fn at(hosts: Vec<Host>, server: &Server, name: &str) -> Self {
        let config = config(server, name);
        let address = Address { hosts, ..config.address };
        Self::new(Config { address, ..config })
    }

    pub fn try_open(&self, epoch: u64) -> Result<Arc<dyn Store>, StoreError> {
        self.0.open(TENANT, SHARD, Epoch(epoch))
    }

    pub fn open(&self, epoch: u64) -> Arc<dyn Store> {
        self.try_open(epoch).unwrap()
    }
}
