//! Stores that cannot be used are refused before anything depends on them.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use orrery_blob::{Access, Address};
use orrery_journal::carrier::suite::SHARD;
use orrery_journal::carrier::{Carrier, CarrierError};
use orrery_journal_objects::ObjectCarrier;

use crate::faulty::{Between, Chances, Faulty};
use crate::machine::{again, client, owner};

fn unusable(result: Result<(), CarrierError>) -> String {
    match result {
        Err(CarrierError::Unusable { reason }) => reason,
        other => panic!("it is not refused: {other:?}"),
    }
}

fn objects_of(objects: &dyn ObjectStore) -> usize {
    use futures::StreamExt;
    futures::executor::block_on(objects.list(None).count())
}

fn refused(spoil: impl FnOnce(&mut Between)) {
    let inner = Arc::new(InMemory::new());
    let mut between = Between::new(inner.clone());
    spoil(&mut between);
    let objects: Arc<dyn ObjectStore> = Arc::new(between);
    let reason = unusable(client(&objects).prepare());
    assert!(reason.contains("conditional writes are not conditional"), "{reason}");
    assert_eq!(objects_of(&*inner), 0, "it leaves nothing behind");
}

#[test]
fn a_store_whose_conditions_are_none_is_refused() {
    refused(|between| between.is_unconditional = true);
}

#[test]
fn a_store_that_checks_first_and_writes_then_is_refused() {
    refused(|between| between.is_racy = true);
}

#[test]
fn a_store_that_keeps_its_promises_is_left_empty() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    client(&objects).prepare().unwrap();
    assert_eq!(objects_of(&*objects), 0);
}

#[test]
fn a_store_that_stumbles_is_not_refused() {
    let chances = Chances { refused: 20, unanswered: 20, late: 10, lag: 4 };
    for seed in 0..10 {
        let objects: Arc<dyn ObjectStore> = Arc::new(Faulty::new(seed, chances));
        again(|| client(&objects).prepare()).unwrap_or_else(|error| panic!("{seed}: {error}"));
    }
}

#[test]
fn a_bucket_without_its_secret_and_a_journal_of_another_shard_are_refused() {
    let address: Address = "s3://journals/1".parse().unwrap();
    let opened = ObjectCarrier::open(SHARD, &address, &Access::default());
    assert!(matches!(opened, Err(CarrierError::Unusable { .. })), "{opened:?}");

    let folder = tempfile::tempdir().unwrap();
    let address = Address::Folder(folder.path().join("journal"));
    let open = |shard| ObjectCarrier::open(shard, &address, &Access::default()).unwrap();
    open(SHARD).take_over(owner(1)).unwrap();
    open(SHARD).prepare().unwrap();
    let refused = open(SHARD + 1).prepare();
    assert!(matches!(refused, Err(CarrierError::Corrupt { .. })), "{refused:?}");
    // What is not ours in the folder disturbs nobody.
    std::fs::write(folder.path().join("journal/log/notes.txt"), "text").unwrap();
    open(SHARD).look().unwrap();
}

#[test]
fn a_log_without_control_entries_is_not_an_empty_journal() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    client(&objects).take_over(owner(1)).unwrap();
    let control = "control/00000000000000000001".into();
    futures::executor::block_on(objects.delete(&control)).unwrap();
    let refused = client(&objects).look();
    assert!(matches!(refused, Err(CarrierError::Corrupt { .. })), "{refused:?}");
}
