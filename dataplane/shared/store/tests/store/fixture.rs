//! Engines on disk to test.

use std::path::Path;
use std::sync::Arc;

use orrery_store::suite::Fixture;
use orrery_store::{FjallStores, ManualClock, Options};
use tempfile::TempDir;

/// fjall in a folder.
pub fn fjall_in(folder: &Path, options: Options) -> Fixture {
    let clock = Arc::new(ManualClock::default());
    let stores = Box::new(FjallStores::new(folder, options, clock.clone()));
    Fixture { stores, clock, held: Box::new(()) }
}

/// fjall in a folder of its own.
pub fn fjall(options: Options) -> Fixture {
    let folder = TempDir::new().unwrap();
    let fixture = fjall_in(folder.path(), options);
    Fixture { held: Box::new(folder), ..fixture }
}

/// redb in a folder of its own.
#[cfg(feature = "redb")]
pub fn redb(options: Options) -> Fixture {
    let folder = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::default());
    let stores = Box::new(orrery_store::RedbStores::new(folder.path(), options, clock.clone()));
    Fixture { stores, clock, held: Box::new(folder) }
}
