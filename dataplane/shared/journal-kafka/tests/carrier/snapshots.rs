//! Snapshots and trims while answers are lost.

use std::io::Read as _;

use orrery_journal::carrier::Saved;
use orrery_journal::{Carrier, CarrierError, Position};

use crate::broker::shared;
use crate::history::{again, group, owner};

fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|index| (index.wrapping_mul(31) / 7 + seed) as u8).collect()
}

fn content(carrier: &dyn Carrier, at: u64) -> Vec<u8> {
    let mut bytes = vec![];
    again(|| carrier.load(Position(at))).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Goal: a snapshot that is said to be saved is whole and the newest, whatever was asked for twice.
#[test]
fn snapshots_are_whole_also_when_answers_are_lost() {
    let Some((world, _guard)) = shared() else { return };
    let (carrier, direct) = (world.lossy("saves"), world.carrier("saves"));
    again(|| direct.prepare()).unwrap();
    again(|| carrier.take_over(owner(1))).unwrap();
    world.proxy.lose(20);
    for at in 1..=5 {
        again(|| carrier.append(owner(1), &group(1, at, &[b"a"]))).unwrap();
        let bytes = pattern(at, (2 << 20) + at as usize);
        let saved = Saved { at: Position(at), epoch: owner(1).epoch, bytes: bytes.len() as u64 };
        again(|| carrier.save(owner(1), saved, &mut bytes.as_slice())).unwrap();
        again(|| carrier.trim(owner(1), Position(at - 1))).unwrap();
        let found = again(|| direct.look()).unwrap();
        assert_eq!((found.snapshot, found.oldest), (Some(saved), Position(at)));
        assert!(content(&direct, at) == bytes);
    }
    world.proxy.lose(0);
    assert!(content(&direct, 4) == pattern(4, (2 << 20) + 4), "the one before is kept");
    let missing = again(|| direct.load(Position(3))).map(drop);
    assert!(matches!(missing, Err(CarrierError::NoSnapshot { .. })), "{missing:?}");
}

/// Goal: an owner that took over meanwhile keeps the snapshot of the one before from counting.
#[test]
fn a_snapshot_of_an_owner_that_lost_the_journal_does_not_count() {
    struct TakenOver<'a>(&'a [u8], Option<&'a dyn Carrier>);
    impl std::io::Read for TakenOver<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if let Some(other) = self.1.take_if(|_| self.0.len() <= 1 << 20) {
                again(|| other.take_over(owner(2))).map_err(std::io::Error::other)?;
            }
            let upto = self.0.len().min(1 << 19).min(into.len());
            self.0.read(&mut into[..upto])
        }
    }
    let Some((world, _guard)) = shared() else { return };
    let (old, new) = (world.carrier("lost-save"), world.carrier("lost-save"));
    again(|| old.prepare()).unwrap();
    again(|| old.take_over(owner(1))).unwrap();
    again(|| old.append(owner(1), &group(1, 1, &[b"a"]))).unwrap();
    let bytes = vec![5; 2 << 20];
    let saved = Saved { at: Position(1), epoch: owner(1).epoch, bytes: bytes.len() as u64 };
    let refused = old.save(owner(1), saved, &mut TakenOver(&bytes, Some(&new)));
    assert!(matches!(refused, Err(CarrierError::Fenced { held }) if held.0 == 2), "{refused:?}");
    assert_eq!(again(|| new.look()).unwrap().snapshot, None);
    again(|| new.save(owner(2), saved, &mut bytes.as_slice())).unwrap();
    assert!(content(&new, 1) == bytes);
}

/// Goal: where a position lies is found in a log of many groups, from any client.
#[test]
fn records_in_the_middle_are_found_by_who_has_seen_nothing() {
    let Some((world, _guard)) = shared() else { return };
    let carrier = world.carrier("middle");
    again(|| carrier.prepare()).unwrap();
    again(|| carrier.take_over(owner(1))).unwrap();
    let large = vec![1; 2 << 20];
    for first in (1..=120).step_by(2) {
        let body: &[u8] = if first == 61 { &large } else { b"a" };
        again(|| carrier.append(owner(1), &group(1, first, &[body, b"b"]))).unwrap();
    }
    for after in [0, 1, 37, 59, 60, 61, 62, 80, 118, 119] {
        let groups = again(|| world.carrier("middle").read(Position(after), 1)).unwrap();
        let found = (groups[0].first().0, groups[0].last().0);
        assert!(found.0 <= after + 1 && after < found.1 && groups.len() == 1, "{after}: {found:?}");
    }
    let saved = Saved { at: Position(120), epoch: owner(1).epoch, bytes: 1 };
    again(|| carrier.save(owner(1), saved, &mut b"s".as_slice())).unwrap();
    let late = world.carrier("middle");
    again(|| late.trim(owner(1), Position(62))).unwrap();
    assert_eq!(again(|| carrier.look()).unwrap().oldest, Position(63));
    let trimmed = again(|| late.read(Position(61), 1));
    assert!(matches!(trimmed, Err(CarrierError::Trimmed { .. })), "{trimmed:?}");
    assert_eq!(again(|| late.read(Position(62), 1)).unwrap()[0].first(), Position(63));
}
