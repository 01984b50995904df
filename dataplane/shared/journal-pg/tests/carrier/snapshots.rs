//! Snapshots and trims while answers are lost, and what is left of the old ones.

use std::io::Read as _;

use orrery_journal::carrier::Saved;
use orrery_journal::{Carrier, CarrierError, Position};
use orrery_journal_pg::PgCarrier;
use orrery_pg::suite::Proxy;

use crate::history::{again, group, owner};
use crate::server::{Server, options};

fn pattern(seed: u64, bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|index| (index.wrapping_mul(31) / 7 + seed) as u8).collect()
}

fn content(carrier: &dyn Carrier, at: u64) -> Vec<u8> {
    let mut bytes = vec![];
    again(|| carrier.load(Position(at))).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Goal: a snapshot that is said to be saved is whole and the newest, whatever was asked for twice,
/// and nothing of those it replaces stays for ever.
#[test]
fn snapshots_are_whole_and_old_ones_go_also_when_answers_are_lost() {
    let Some(server) = Server::shared() else { return };
    let proxy = Proxy::to(server.port, 5);
    let carrier = PgCarrier::open(options(vec![proxy.host()], "saves")).unwrap();
    let direct = server.carrier("saves");
    direct.prepare().unwrap();
    again(|| carrier.take_over(owner(1))).unwrap();
    proxy.lose(40);
    for at in 1..=8 {
        again(|| carrier.append(owner(1), &group(1, at, &[b"a"]))).unwrap();
        let bytes = pattern(at, (2 << 20) + at as usize);
        let saved = Saved { at: Position(at), epoch: owner(1).epoch, bytes: bytes.len() as u64 };
        again(|| carrier.save(owner(1), saved, &mut bytes.as_slice())).unwrap();
        again(|| carrier.trim(owner(1), Position(at))).unwrap();
        let found = direct.look().unwrap();
        assert_eq!((found.snapshot, found.oldest), (Some(saved), Position(at)));
        assert!(content(&direct, at) == bytes);
    }
    proxy.lose(0);
    assert!(content(&direct, 7) == pattern(7, (2 << 20) + 7), "the one before is kept");
    let missing = direct.load(Position(6)).map(drop);
    assert!(matches!(missing, Err(CarrierError::NoSnapshot { .. })), "{missing:?}");
    // Whatever broke off is gone after the next trim that is left alone.
    direct.trim(owner(1), Position(8)).unwrap();
    let ours = "WHERE journal = (SELECT id FROM orrery.journals WHERE name = 'saves')";
    let count = |what: &str| server.sql_there(&format!("SELECT count(*) FROM {what}"));
    let marked = format!("orrery.snapshots {ours} AND state = 2");
    let pieces =
        format!("orrery.pieces WHERE snapshot IN (SELECT id FROM orrery.snapshots {ours})");
    assert_eq!((count(&marked), count(&pieces)), ("0".to_owned(), "6".to_owned()));
    assert_eq!(count(&format!("orrery.groups {ours}")), "1");
}

/// Goal: an owner that took over meanwhile keeps the snapshot of the one before from counting.
#[test]
fn a_snapshot_of_an_owner_that_lost_the_journal_does_not_count() {
    struct TakenOver<'a>(&'a [u8], &'a dyn Carrier);
    impl std::io::Read for TakenOver<'_> {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            if self.0.len() == 1 << 20 {
                self.1.take_over(owner(2)).map_err(std::io::Error::other)?;
            }
            let upto = self.0.len().min(1 << 19).min(into.len());
            self.0.read(&mut into[..upto])
        }
    }
    let Some(server) = Server::shared() else { return };
    let (old, new) = (server.carrier("lost save"), server.carrier("lost save"));
    old.prepare().unwrap();
    old.take_over(owner(1)).unwrap();
    old.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
    let bytes = pattern(1, 3 << 20);
    let saved = Saved { at: Position(1), epoch: owner(1).epoch, bytes: bytes.len() as u64 };
    let refused = old.save(owner(1), saved, &mut TakenOver(&bytes, &new));
    assert!(matches!(refused, Err(CarrierError::Fenced { held }) if held.0 == 2), "{refused:?}");
    assert_eq!(new.look().unwrap().snapshot, None);
    new.save(owner(2), saved, &mut bytes.as_slice()).unwrap();
    assert!(content(&new, 1) == bytes);
}

/// Goal: a trim removes more groups than fit one batch, and never the newest one.
#[test]
fn many_groups_are_trimmed_in_batches() {
    let Some(server) = Server::shared() else { return };
    let carrier = server.carrier("batches");
    carrier.prepare().unwrap();
    carrier.take_over(owner(1)).unwrap();
    carrier.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
    // As appended one by one, at once.
    let copy = "INSERT INTO orrery.groups SELECT journal, n, n, epoch, bytes
        FROM orrery.groups, generate_series(2, 3000) n
        WHERE journal = (SELECT id FROM orrery.journals WHERE name = 'batches')";
    server.sql_there(copy);
    carrier.append(owner(1), &group(1, 3001, &[b"b"])).unwrap();
    carrier.trim(owner(1), Position(1000)).unwrap();
    let found = carrier.look().unwrap();
    assert_eq!((found.oldest, found.last), (Position(1001), Position(3001)));
    carrier.trim(owner(1), Position(u64::MAX)).unwrap();
    let found = carrier.look().unwrap();
    assert_eq!((found.oldest, found.last), (Position(3001), Position(3001)));
    let rows = "SELECT count(*) FROM orrery.groups
        WHERE journal = (SELECT id FROM orrery.journals WHERE name = 'batches')";
    assert_eq!(server.sql_there(rows), "1");
    carrier.append(owner(1), &group(1, 3002, &[b"c"])).unwrap();
}
