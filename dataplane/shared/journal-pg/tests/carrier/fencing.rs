//! Owners that slept: what they asked for arrives after another took over.

use std::thread;
use std::time::{Duration, Instant};

use orrery_journal::carrier::Saved;
use orrery_journal::{Carrier, CarrierError, Position};
use orrery_journal_pg::PgCarrier;
use orrery_pg::suite::Proxy;

use crate::history::{again, group, owner, records};
use crate::server::{Server, options};

/// Goal: what was on its way when another took over is not taken when it arrives.
#[test]
fn an_append_that_arrives_after_a_take_over_changes_nothing() {
    let Some(server) = Server::shared() else { return };
    let proxy = Proxy::to(server.port, 3);
    let (old, new) =
        (PgCarrier::open(options(vec![proxy.host()], "late")).unwrap(), server.carrier("late"));
    old.prepare().unwrap();
    old.take_over(owner(1)).unwrap();
    old.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
    proxy.hold(true);
    thread::scope(|scope| {
        let late = scope.spawn(|| old.append(owner(1), &group(1, 2, &[b"late"])));
        let found = new.take_over(owner(2)).unwrap();
        assert_eq!(found.last, Position(1));
        new.append(owner(2), &group(2, 2, &[b"b"])).unwrap();
        proxy.hold(false);
        let refused = late.join().unwrap();
        assert!(
            matches!(refused, Err(CarrierError::Fenced { held }) if held.0 == 2),
            "{refused:?}"
        );
    });
    assert_eq!(records(&new), [(1, b"a".to_vec()), (2, b"b".to_vec())]);
}

/// Goal: what a client gave up is not taken later on, when the same owner has long asked again,
/// written on, saved a snapshot and trimmed what it replaces.
#[test]
fn an_append_that_was_given_up_is_not_taken_twice() {
    let Some(server) = Server::shared() else { return };
    let proxy = Proxy::to(server.port, 4);
    let through = PgCarrier::open(options(vec![proxy.host()], "twice")).unwrap();
    let direct = server.carrier("twice");
    through.prepare().unwrap();
    through.take_over(owner(1)).unwrap();
    through.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
    proxy.hold(true);
    let given_up = through.append(owner(1), &group(1, 2, &[b"b"]));
    assert!(matches!(given_up, Err(CarrierError::Unavailable { .. })), "{given_up:?}");
    for (first, body) in [(2, b"b"), (3, b"c"), (4, b"d")] {
        direct.append(owner(1), &group(1, first, &[body])).unwrap();
    }
    let saved = Saved { at: Position(4), epoch: owner(1).epoch, bytes: 1 };
    direct.save(owner(1), saved, &mut b"s".as_slice()).unwrap();
    direct.trim(owner(1), Position(4)).unwrap();
    let before = direct.look().unwrap();
    proxy.hold(false);
    proxy.await_end();
    assert_eq!(direct.look().unwrap(), before);
    assert_eq!(direct.read(Position(3), 1 << 20).unwrap(), [group(1, 4, &[b"d"])]);
    direct.append(owner(1), &group(1, 5, &[b"e"])).unwrap();
}

/// Goal: an append of the old owner that is already in the server when another takes over is either
/// seen by that one or refused.
#[test]
fn an_append_in_the_server_precedes_a_take_over_or_fails() {
    let Some(server) = Server::shared() else { return };
    let (old, new) = (server.carrier("inside"), server.carrier("inside"));
    old.prepare().unwrap();
    let mut last = 0;
    for epoch in (1..40).step_by(2) {
        last = old.take_over(owner(epoch)).unwrap().last.0;
        let group = group(epoch, last + 1, &[b"x"]);
        let (taken, found) = thread::scope(|scope| {
            let taken = scope.spawn(|| old.append(owner(epoch), &group));
            let found = new.take_over(owner(epoch + 1)).unwrap();
            (taken.join().unwrap(), found)
        });
        match taken {
            Ok(()) => assert_eq!(found.last.0, last + 1, "it is seen"),
            Err(CarrierError::Fenced { .. }) => assert_eq!(found.last.0, last, "it is not there"),
            Err(error) => panic!("{error}"),
        }
        last = found.last.0;
    }
    assert_eq!(records(&new).len() as u64, last);
}

/// Goal: a connection that the server has closed meanwhile costs the caller nothing.
#[test]
fn connections_that_died_unnoticed_are_made_again() {
    let Some(server) = Server::shared() else { return };
    let carrier = server.carrier("again");
    carrier.prepare().unwrap();
    carrier.take_over(owner(1)).unwrap();
    for first in 1..5 {
        carrier.append(owner(1), &group(1, first, &[b"a"])).unwrap();
        let end = "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity \
            WHERE application_name = 'orrery' AND query LIKE '%orrery.groups%'";
        assert_eq!(server.sql(end), "t");
    }
    assert_eq!(again(|| carrier.look()).unwrap().last, Position(4));
}

/// Goal: readers do not wait for a writer that waits.
#[test]
fn a_reader_does_not_wait_behind_a_writer() {
    let Some(server) = Server::shared() else { return };
    let carrier = server.carrier("beside");
    carrier.prepare().unwrap();
    carrier.take_over(owner(1)).unwrap();
    carrier.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
    thread::scope(|scope| {
        let lock = scope.spawn(|| {
            server.sql_there(
                "BEGIN; SELECT id FROM orrery.journals WHERE name = 'beside' FOR UPDATE;
                 SELECT pg_sleep(2); COMMIT",
            )
        });
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)%' \
            AND wait_event = 'PgSleep'";
        server.await_sql(waits, "1");
        let writer = scope.spawn(|| carrier.append(owner(1), &group(1, 2, &[b"b"])));
        let started = Instant::now();
        assert_eq!(carrier.look().unwrap().last, Position(1));
        assert_eq!(carrier.read(Position(0), 1 << 20).unwrap().len(), 1);
        assert!(started.elapsed() < Duration::from_secs(2) && !lock.is_finished());
        writer.join().unwrap().unwrap();
        lock.join().unwrap();
    });
}

/// Goal: an append that waited for the row of the journal goes by what the row says by then, and by
/// what was inserted meanwhile.
#[test]
fn an_append_that_waited_goes_by_what_was_decided_meanwhile() {
    let Some(server) = Server::shared() else { return };
    let owned = "UPDATE orrery.journals SET epoch = 9 WHERE name = ";
    let trimmed = "UPDATE orrery.journals SET trimmed = 2 WHERE name = ";
    let same = "INSERT INTO orrery.groups SELECT id, 2, 2, 1, decode('%', 'hex')
        FROM orrery.journals WHERE name = ";
    let asked = group(1, 2, &[b"b"]);
    let hex = asked.bytes().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let other = "INSERT INTO orrery.groups SELECT id, 2, 3, 1, 'other' FROM orrery.journals
        WHERE name = ";
    let after = |name: &str, decision: &str| {
        let carrier = server.carrier(name);
        carrier.prepare().unwrap();
        carrier.take_over(owner(1)).unwrap();
        carrier.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
        thread::scope(|scope| {
            let decided = scope.spawn(|| {
                server.sql_there(&format!(
                    "BEGIN; SELECT id FROM orrery.journals WHERE name = '{name}' FOR NO KEY UPDATE;
                     SELECT pg_sleep(1); {decision}'{name}'; COMMIT"
                ))
            });
            let sleeps = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%name = ''{name}'' FOR NO%' \
                 AND wait_event = 'PgSleep'"
            );
            server.await_sql(&sleeps, "1");
            let result = carrier.append(owner(1), &asked);
            decided.join().unwrap();
            result
        })
    };
    let refused = after("waited owner", owned);
    assert!(matches!(refused, Err(CarrierError::Fenced { held }) if held.0 == 9), "{refused:?}");
    after("waited same", &same.replace('%', &hex)).unwrap();
    let refused = after("waited other", other);
    assert!(
        matches!(refused, Err(CarrierError::OutOfPlace { last, .. }) if last.0 == 3),
        "{refused:?}"
    );
    // A trimmed position is never ahead of the last group; here nothing but that is looked at.
    let refused = after("waited trim", trimmed);
    assert!(matches!(refused, Err(CarrierError::Corrupt { .. })), "{refused:?}");
}
