//! The suite that every carrier must pass, over each kind of store, and what a call costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use orrery_blob::{Access, Address, Store};
use orrery_journal::Carrier;
use orrery_journal::carrier::suite::{self, Open, SHARD};
use orrery_journal_objects::ObjectCarrier;

use crate::minio::Minio;

const LIMIT: Duration = Duration::from_secs(10);

fn run(kind: &str, fresh: &dyn Fn() -> Box<Open>) {
    suite::run(fresh, &|case| println!("{kind}: {case}"));
}

fn at(address: Address, access: Access) -> Box<Open> {
    Box::new(move || {
        let carrier = ObjectCarrier::open(SHARD, &address, &access).expect("it can be opened");
        Arc::new(carrier) as Arc<dyn Carrier>
    })
}

#[test]
fn a_store_in_memory_carries_a_journal() {
    run("memory", &|| {
        let store = Store::memory();
        Box::new(move || {
            let carrier = ObjectCarrier::with_limit(SHARD, &store, LIMIT).expect("it is open");
            Arc::new(carrier) as Arc<dyn Carrier>
        })
    });
}

#[test]
fn a_folder_carries_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let number = AtomicU32::new(0);
    run("folder", &|| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let address = Address::Folder(folder.path().join(number.to_string()));
        at(address, Access::default())
    });
}

#[test]
fn a_bucket_carries_a_journal() {
    let Some(minio) = Minio::start() else { return };
    let number = AtomicU32::new(0);
    run("bucket", &|| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        at(Minio::address(&format!("suite/{number}")), minio.access())
    });
}
