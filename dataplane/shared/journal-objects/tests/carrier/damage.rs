//! Goal: damage is `Corrupt`, or it concerns nothing that counts; never a shorter history. Method: of a
//! journal with everything in it, each object in turn is removed, cut, or has bits flipped, and what a
//! reader and the next owner make of it is compared with what they made of it before.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use orrery_journal::carrier::{Carrier, CarrierError};

use crate::machine::{History, Machine, client, owner, recover};

/// A journal with two owners, snapshots, a trimmed beginning and records behind all of it. With `late`,
/// what is removed below the floor is partly there again.
fn journal() -> Vec<(Path, Bytes)> {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut first = Machine::begin(client(&objects), 1).unwrap();
    for number in 0..5 {
        first.append(&[&format!("1/{number}")]).unwrap();
    }
    first.save(2).unwrap();
    let before = content(&objects);
    first.trim(2).unwrap();
    let mut second = Machine::begin(client(&objects), 2).unwrap();
    for number in 0..5 {
        second.append(&[&format!("2/{number}"), &format!("2/{number}/b")]).unwrap();
    }
    second.save(6).unwrap();
    second.save(9).unwrap();
    second.trim(7).unwrap();
    // Nothing but the log itself tells of these.
    for number in 5..12 {
        second.append(&[&format!("2/{number}")]).unwrap();
    }
    let mut all = content(&objects);
    // A put that came late: of a slot that was trimmed.
    let stray =
        before.into_iter().find(|(path, _)| path.as_ref().ends_with("log/00000000000000000003"));
    all.extend(stray);
    all
}

fn content(objects: &Arc<dyn ObjectStore>) -> Vec<(Path, Bytes)> {
    let get = |path: Path| {
        let content = futures::executor::block_on(async {
            objects.get(&path).await.unwrap().bytes().await.unwrap()
        });
        (path, content)
    };
    let listed = futures::executor::block_on(objects.list(None).collect::<Vec<_>>());
    listed.into_iter().map(|meta| get(meta.unwrap().location)).collect()
}

fn store(all: &[(Path, Bytes)]) -> Arc<dyn ObjectStore> {
    let objects = InMemory::new();
    for (path, content) in all {
        futures::executor::block_on(objects.put(path, content.clone().into())).unwrap();
    }
    Arc::new(objects)
}

/// What somebody reads who begins with it, as a reader and as an owner.
fn read(all: &[(Path, Bytes)]) -> Result<History, CarrierError> {
    let objects = store(all);
    let history = recover(&client(&objects))?;
    let owned = Machine::begin(client(&store(all)), 3)?;
    assert_eq!(owned.history, history, "reader and owner agree");
    Ok(history)
}

/// Every way in which one object is damaged here.
fn damaged(content: &Bytes) -> Vec<Bytes> {
    let length = content.len();
    let mut ways: Vec<Bytes> =
        [0, 1, length / 2, length - 1].iter().map(|end| content.slice(..*end)).collect();
    let bits = (0..length.min(256)).map(|byte| byte * 8 + byte % 8).chain([length * 8 - 1]);
    ways.extend(bits.map(|bit| {
        let mut bytes = content.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes.into()
    }));
    let longer = [content.as_ref(), b"x"].concat();
    ways.push(longer.into());
    ways
}

fn with(all: &[(Path, Bytes)], index: usize, content: Option<Bytes>) -> Vec<(Path, Bytes)> {
    let mut all = all.to_vec();
    match content {
        Some(content) => all[index].1 = content,
        None => drop(all.remove(index)),
    }
    all
}

#[test]
fn damage_is_noticed_or_concerns_nothing() {
    let all = journal();
    let truth = read(&all).unwrap();
    assert_eq!(truth.last(), 22);
    let newest =
        all.iter().map(|(path, _)| path).filter(|path| path.as_ref().starts_with("log/")).max();
    let (mut noticed, mut without) = (0, 0);
    for (index, (path, content)) in all.iter().enumerate() {
        // The very last object of the log may be missing because it was never put: nothing tells.
        let is_last = Some(path) == newest;
        let removed = (!is_last).then_some(None);
        for way in damaged(content).into_iter().map(Some).chain(removed) {
            let what = way.as_ref().map(Bytes::len);
            match read(&with(&all, index, way)) {
                Ok(history) => {
                    assert_eq!(history, truth, "{path}, {what:?} bytes");
                    without += 1;
                }
                Err(CarrierError::Corrupt { .. }) => noticed += 1,
                Err(error) => panic!("{path}, {what:?} bytes: {error}"),
            }
        }
    }
    println!("{noticed} damages noticed, {without} of what does not count");
    assert!(noticed > 0 && without > 0);
}

#[test]
fn every_object_behind_the_newest_snapshot_is_needed() {
    // The snapshot is at 9; the records 10 and 11 are in slot 10.
    const NEEDED: &str = "log/00000000000000000010";
    let all = journal();
    let names =
        || all.iter().map(|(path, _)| path.as_ref()).filter(|name| name.starts_with("log/"));
    let newest = names().max().unwrap();
    let mut needed = 0;
    for (index, (path, _)) in all.iter().enumerate() {
        let name = path.as_ref();
        if (NEEDED..newest).contains(&name) {
            // The next owner would notice as well; but so must who only reads.
            let read = recover(&client(&store(&with(&all, index, None))));
            assert!(matches!(read, Err(CarrierError::Corrupt { .. })), "{name}: {read:?}");
            needed += 1;
        }
    }
    assert_eq!(needed, 9);
}

#[test]
fn an_owner_that_is_missing_in_the_chain_is_noticed_by_what_it_wrote() {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let mut first = Machine::begin(client(&objects), 1).unwrap();
    first.append(&["1"]).unwrap();
    let mut second = Machine::begin(client(&objects), 2).unwrap();
    second.append(&["2"]).unwrap();
    let newest = "control/00000000000000000002".into();
    futures::executor::block_on(objects.delete(&newest)).unwrap();
    let looked = client(&objects).look();
    assert!(matches!(looked, Err(CarrierError::Corrupt { .. })), "{looked:?}");
    let taken = client(&objects).take_over(owner(3));
    assert!(matches!(taken, Err(CarrierError::Corrupt { .. })), "{taken:?}");
}
