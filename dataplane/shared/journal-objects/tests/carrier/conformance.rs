//! The suite that every carrier must pass, over each kind of store, and what a call costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use orrery_blob::{Access, Address, Store};
use orrery_journal::carrier::suite::{self, Open, SHARD};
use orrery_journal::carrier::{Carrier, CarrierError};
use orrery_journal_objects::ObjectCarrier;

use crate::machine::{again, group, owner, recover};
use crate::minio::Bucket;

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
            let carrier = ObjectCarrier::in_store(SHARD, &store, LIMIT).expect("it is open");
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
    let Some(bucket) = Bucket::start() else { return };
    let number = AtomicU32::new(0);
    run("bucket", &|| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        at(Bucket::address(&format!("suite/{number}")), bucket.access())
    });
}

#[test]
fn a_bucket_whose_server_is_killed_has_everything_when_it_is_back() {
    let Some(mut bucket) = Bucket::start() else { return };
    let open = at(Bucket::address("killed"), bucket.access());
    let carrier = open();
    again(|| carrier.take_over(owner(1))).unwrap();
    for round in 0..3 {
        let first = round * 10 + 1;
        for position in first..first + 9 {
            again(|| carrier.append(owner(1), &group(1, position, &["a"]))).unwrap();
        }
        bucket.server.kill();
        let last = group(1, first + 9, &["b"]);
        let refused = carrier.append(owner(1), &last);
        assert!(refused.as_ref().is_err_and(CarrierError::is_passing), "{refused:?}");
        bucket.server.again().unwrap();
        again(|| carrier.append(owner(1), &last)).unwrap();
    }
    assert_eq!(recover(&*open()).unwrap().last(), 30);
}
