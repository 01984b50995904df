//! Servers for journals, and how a journal on them is opened.

use std::ops::Deref;
use std::sync::Arc;

use orrery_journal_pg::{Address, Host, Options, PgCarrier};
pub use orrery_pg::suite::ADMIN;

/// The shard of all journals here; that of the suite.
pub const SHARD: u32 = 7;

#[derive(Debug)]
pub struct Server(Arc<orrery_pg::suite::Server>);

impl Deref for Server {
    type Target = orrery_pg::suite::Server;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Server {
    /// The server that tests share. `None` if this machine has none.
    pub fn shared() -> Option<Arc<Self>> {
        Some(Arc::new(Self(orrery_pg::suite::Server::shared()?)))
    }

    /// A server with settings of its own.
    pub fn start(settings: &[&str]) -> Option<Self> {
        Some(Self(Arc::new(orrery_pg::suite::Server::start(settings)?)))
    }

    /// A server whose commits wait for a standby, and that standby.
    pub fn pair() -> Option<(Self, Self)> {
        let (primary, standby) = orrery_pg::suite::Server::pair()?;
        Some((Self(Arc::new(primary)), Self(Arc::new(standby))))
    }

    /// A carrier of a journal on this server.
    pub fn carrier(&self, journal: &str) -> PgCarrier {
        PgCarrier::open(options(vec![self.host()], journal)).unwrap()
    }
}

/// How a journal on these servers is opened.
pub fn options(hosts: Vec<Host>, journal: &str) -> Options {
    let (database, user) = ("orrery".to_owned(), ADMIN.to_owned());
    Options {
        address: Address { hosts, database, user, tls: None },
        password: None,
        journal: journal.to_owned(),
        shard: SHARD,
        needs_replication: false,
    }
}
