//! Rows that somebody changed behind our back are noticed, never given as records.

use std::io::Read as _;

use orrery_journal::carrier::Saved;
use orrery_journal::{Carrier, CarrierError, Position};

use crate::history::{group, owner};
use crate::server::Server;

/// A journal with groups 1, 2..=3 and 4 and a snapshot of two pieces.
fn journal(server: &Server, name: &str) -> impl Carrier {
    let carrier = server.carrier(name);
    carrier.prepare().unwrap();
    carrier.take_over(owner(1)).unwrap();
    carrier.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
    carrier.append(owner(1), &group(1, 2, &[b"b", b"c"])).unwrap();
    carrier.append(owner(1), &group(1, 4, &[&vec![7; 100_000]])).unwrap();
    let content = vec![3; (1 << 20) + 5];
    let saved = Saved { at: Position(4), epoch: owner(1).epoch, bytes: content.len() as u64 };
    carrier.save(owner(1), saved, &mut content.as_slice()).unwrap();
    carrier
}

/// Changes the rows of a table that belong to a journal.
fn change(server: &Server, name: &str, change: &str, rows: &str) {
    let ours = "journal = (SELECT id FROM orrery.journals WHERE name = '";
    server.sql_there(&format!("{change} WHERE {ours}{name}') AND {rows}"));
}

#[test]
fn a_group_that_was_changed_is_corrupt() {
    let Some(server) = Server::shared() else { return };
    for (name, what, rows, position) in [
        (
            "bit",
            "UPDATE orrery.groups SET bytes = set_bit(bytes, 500, 1 - get_bit(bytes, 500))",
            "first = 2",
            2,
        ),
        ("cut", "UPDATE orrery.groups SET bytes = substr(bytes, 1, 60)", "first = 1", 1),
        ("last", "UPDATE orrery.groups SET last = 9", "first = 4", 4),
        ("gone", "DELETE FROM orrery.groups", "first = 2", 2),
        ("first", "DELETE FROM orrery.groups", "first = 1", 1),
    ] {
        let carrier = journal(&server, name);
        change(&server, name, what, rows);
        match carrier.read(Position(0), 1 << 20) {
            Err(CarrierError::Corrupt { position: found, .. }) => assert_eq!(found.0, position),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_snapshot_that_was_changed_is_not_read_to_its_end() {
    let Some(server) = Server::shared() else { return };
    for (name, what) in [
        ("piece bit", "UPDATE orrery.pieces SET bytes = set_bit(bytes, 9, 1 - get_bit(bytes, 9))"),
        ("piece cut", "UPDATE orrery.pieces SET bytes = substr(bytes, 1, 3)"),
        ("piece gone", "DELETE FROM orrery.pieces"),
        ("piece moved", "UPDATE orrery.pieces SET number = 5"),
    ] {
        let carrier = journal(&server, name);
        let mut whole = vec![];
        carrier.load(Position(4)).unwrap().read_to_end(&mut whole).unwrap();
        assert_eq!(whole.len(), (1 << 20) + 5);
        let ours = "SELECT s.id FROM orrery.snapshots s JOIN orrery.journals j ON j.id = s.journal";
        let rows = format!("number = 1 AND snapshot IN ({ours} WHERE j.name = '{name}')");
        server.sql_there(&format!("{what} WHERE {rows}"));
        let read = carrier.load(Position(4)).unwrap().read_to_end(&mut vec![]);
        let said = read.expect_err(name).to_string();
        assert!(said.contains("the snapshot at 4"), "{name}: {said}");
    }
}

#[test]
fn groups_that_are_missing_at_the_end_are_noticed_if_a_snapshot_knows_them() {
    let Some(server) = Server::shared() else { return };
    let carrier = journal(&server, "end");
    change(&server, "end", "DELETE FROM orrery.groups", "first = 4");
    let found = carrier.look();
    assert!(
        matches!(found, Err(CarrierError::Corrupt { position, .. }) if position.0 == 4),
        "{found:?}"
    );
}
