//! Engines on disk by name.

use std::path::Path;
use std::sync::Arc;

use orrery_store::suite::{SHARD, TENANT};
use orrery_store::{Epoch, FjallStores, Options, Store, Stores, SystemClock};

/// An engine on disk, as a child is told of it.
#[derive(Clone, Copy, Debug)]
pub enum Engine {
    Fjall,
    #[cfg(feature = "redb")]
    Redb,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Self::Fjall => "fjall",
            #[cfg(feature = "redb")]
            Self::Redb => "redb",
        }
    }

    pub fn named(name: &str) -> Self {
        match name {
            "fjall" => Self::Fjall,
            #[cfg(feature = "redb")]
            "redb" => Self::Redb,
            other => panic!("no engine {other}"),
        }
    }

    pub fn open(self, folder: &Path, epoch: u64) -> Arc<dyn Store> {
        let (options, clock) = (Options::default(), Arc::new(SystemClock));
        let stores: Box<dyn Stores> = match self {
            Self::Fjall => Box::new(FjallStores::new(folder, options, clock)),
            #[cfg(feature = "redb")]
            Self::Redb => Box::new(orrery_store::RedbStores::new(folder, options, clock)),
        };
        stores.open(TENANT, SHARD, Epoch(epoch)).unwrap()
    }
}
