//! Checkpoints: what is saved comes back whole, or not at all.

use super::{Fixture, Make, SHARD, TENANT, all, bytes, get, keys, put, write};
use crate::{Commit, Epoch, Options, ShardId, StoreError, Version, Write};

/// A store with rows, one of them expired at 100, outbox rows and a receipt; its checkpoint, and the
/// commit of the receipt.
fn saved(fixture: &Fixture) -> (Vec<u8>, Commit) {
    let store = fixture.open(1);
    let value = "v".repeat(100_000);
    for round in 0..30 {
        write(&store, vec![put(&format!("key-{round:02}"), &value)]);
    }
    write(&store, vec![Write::PutUntil(bytes("t"), bytes("1"), 100), put("gone", "1")]);
    write(&store, vec![Write::Delete(bytes("gone"))]);
    let add = Commit {
        writes: vec![Write::Add(bytes("n"), 1)],
        idempotency: Some([1; 16]),
        ..Commit::default()
    };
    store.commit(add.clone()).wait().unwrap();
    let snapshot = store.snapshot().unwrap();
    write(&store, vec![put("later", "1")]);
    let mut checkpoint = Vec::new();
    fixture.clock.set(100);
    snapshot.save(&mut checkpoint).unwrap();
    (checkpoint, add)
}

pub fn a_checkpoint_restores_everything(make: Make<'_>) {
    let fixture = make(Options::default());
    let (checkpoint, add) = saved(&fixture);
    let other = ShardId(SHARD.0 + 1);
    let restore =
        |shard, epoch| fixture.stores.restore(TENANT, shard, Epoch(epoch), &mut &checkpoint[..]);
    let restored = restore(other, 4).unwrap();
    assert_eq!(restored.durable(), Version(33));
    assert_eq!(restored.snapshot().unwrap().version(), Version(33));
    assert_eq!(keys(all(&restored)).len(), 31, "30 rows and the number; one row has expired");
    assert_eq!(restored.commit(add.clone()).wait(), Ok(Version(33)), "receipts come along");
    assert_eq!(write(&restored, vec![put("a", "1")]), Version(34));
    drop(restored);
    let again = restore(other, 4).map(drop);
    assert!(matches!(again, Err(StoreError::Invalid { .. })), "it has rows: {again:?}");
    let restored = fixture.stores.open(TENANT, other, Epoch(4)).unwrap();
    assert_eq!(restored.commit(add).wait(), Ok(Version(33)));
    let before = fixture.open(1).snapshot().unwrap().scan(b"", b"key-99", false, 99).unwrap();
    let mut found = restored.snapshot().unwrap().scan(b"", b"key-99", false, 99).unwrap();
    assert_eq!(found.remove(0), (bytes("a"), bytes("1")));
    assert_eq!(found, before);
    // Expired rows are hidden, not lost.
    assert_eq!(get(&restored, "t"), None);
    fixture.clock.set(0);
    assert_eq!(get(&restored, "t"), Some(bytes("1")));
}

pub fn a_checkpoint_that_is_not_whole_is_refused(make: Make<'_>) {
    let fixture = make(Options::default());
    let (checkpoint, _) = saved(&fixture);
    let mut damaged = checkpoint.clone();
    damaged[checkpoint.len() / 2] ^= 1;
    let tails = [&checkpoint[..0], &checkpoint[..checkpoint.len() - 1], &damaged[..]];
    for (number, mut tail) in tails.into_iter().enumerate() {
        let shard = ShardId(SHARD.0 + 1 + number as u32);
        let refused = fixture.stores.restore(TENANT, shard, Epoch(1), &mut tail).map(drop);
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{number}: {refused:?}");
        // The first is refused before anything is loaded.
        if number > 0 {
            let opened = fixture.stores.open(TENANT, shard, Epoch(1)).map(drop);
            assert!(matches!(opened, Err(StoreError::Corrupt { .. })), "{number}: {opened:?}");
        }
    }
}
