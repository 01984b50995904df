//! What somebody changed behind our back is noticed, never given as records.

use std::io::Read as _;

use orrery_journal::carrier::Saved;
use orrery_journal::{Carrier, CarrierError, Position};
use orrery_journal_kafka::{KafkaCarrier, Options};

use crate::broker::{World, options, shared};
use crate::history::{again, group, owner};

/// A journal with groups 1, 2..=3 and 4 and a snapshot of two pieces.
fn journal(world: &World, name: &str) -> KafkaCarrier {
    let carrier = world.carrier(name);
    again(|| carrier.prepare()).unwrap();
    again(|| carrier.take_over(owner(1))).unwrap();
    again(|| carrier.append(owner(1), &group(1, 1, &[b"a"]))).unwrap();
    again(|| carrier.append(owner(1), &group(1, 2, &[b"b", b"c"]))).unwrap();
    again(|| carrier.append(owner(1), &group(1, 4, &[&vec![7; 100_000]]))).unwrap();
    let content = vec![3; (1 << 20) + 5];
    let saved = Saved { at: Position(4), epoch: owner(1).epoch, bytes: content.len() as u64 };
    again(|| carrier.save(owner(1), saved, &mut content.as_slice())).unwrap();
    carrier
}

/// Offsets: 0 the take-over, 1 the first group, 2 the second one, 3 the third one.
#[test]
fn records_that_were_removed_are_missed() {
    let Some((world, _guard)) = shared() else { return };
    journal(&world, "removed");
    world.remove_before("orrery.removed", 2);
    let found = again(|| world.carrier("removed").read(Position(0), 1 << 20));
    assert!(
        matches!(found, Err(CarrierError::Corrupt { position, .. }) if position.0 == 1),
        "{found:?}"
    );
    world.remove_before("orrery.removed", -1);
    let found = again(|| world.carrier("removed").look());
    assert!(matches!(found, Err(CarrierError::Corrupt { .. })), "{found:?}");
}

#[test]
fn a_snapshot_whose_pieces_are_gone_is_not_read() {
    let Some((world, _guard)) = shared() else { return };
    let carrier = journal(&world, "pieces");
    let mut whole = vec![];
    carrier.load(Position(4)).unwrap().read_to_end(&mut whole).unwrap();
    assert_eq!(whole.len(), (1 << 20) + 5);
    world.remove_before("orrery.pieces_snapshots", 1);
    let read = carrier.load(Position(4)).unwrap().read_to_end(&mut vec![]);
    let said = read.expect_err("a piece is missing").to_string();
    assert!(said.contains("the snapshot at 4"), "{said}");
}

#[test]
fn a_topic_of_another_shard_is_refused() {
    let Some((world, _guard)) = shared() else { return };
    journal(&world, "shard");
    let other = Options { shard: 8, ..options(world.broker.host(), "shard") };
    let found = again(|| KafkaCarrier::open(other.clone()).unwrap().look());
    assert!(matches!(found, Err(CarrierError::Unusable { .. })), "{found:?}");
}

#[test]
fn a_topic_that_would_forget_is_refused_until_it_is_set_right() {
    let Some((world, _guard)) = shared() else { return };
    let carrier = world.carrier("forgets");
    again(|| carrier.prepare()).unwrap();
    for (key, wrong, right) in [
        ("retention.ms", "1000000", "-1"),
        ("unclean.leader.election.enable", "true", "false"),
        ("min.insync.replicas", "2", "1"),
    ] {
        world.set("orrery.forgets", key, wrong);
        match again(|| carrier.prepare()) {
            Err(CarrierError::Unusable { reason }) => assert!(reason.contains(key), "{reason}"),
            other => panic!("{key}: {other:?}"),
        }
        world.set("orrery.forgets", key, right);
    }
    again(|| carrier.prepare()).unwrap();
}
