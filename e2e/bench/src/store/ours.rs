//! Our side: the store as a data plane opens it.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use orrery_store::{
    Commit, Epoch, FjallStores, Options, ShardId, Store, Stores as _, SystemClock, TenantId,
    Ticket, Write,
};

use super::CLIENTS;
use super::clients::{Key, VALUE, fresh_key};
use crate::measured::Measured;
use crate::tasks::tasks;

pub struct Ours {
    store: Arc<dyn Store>,
}

fn put(store: &dyn Store, key: &Key) -> Ticket {
    let write = Write::Put(Bytes::copy_from_slice(key), Bytes::from_static(&VALUE));
    store.commit(Commit { writes: vec![write], ..Commit::default() })
}

impl Ours {
    pub fn open(folder: &Path) -> Result<Self, String> {
        let stores = FjallStores::new(folder, Options::default(), Arc::new(SystemClock));
        let opened = stores.open(TenantId(1), ShardId(0), Epoch(1));
        Ok(Self { store: opened.map_err(|error| error.to_string())? })
    }

    pub fn commit(&self, key: &Key) -> Result<(), String> {
        put(&*self.store, key).wait().map(drop).map_err(|error| error.to_string())
    }

    /// Clients that are tasks of one thread.
    pub fn run_tasks(&self, commits: u64) -> Result<Measured, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let store = Arc::clone(&self.store);
        runtime.block_on(tasks(commits, CLIENTS, move |_| {
            let ticket = put(&*store, &fresh_key());
            async { ticket.await.map(drop).map_err(|error| error.to_string()) }
        }))
    }
}
