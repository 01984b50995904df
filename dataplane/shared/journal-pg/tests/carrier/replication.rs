//! A primary and a standby: what is acknowledged is on both.

use std::sync::atomic::Ordering;
use std::thread;

use nix::sys::signal::Signal;
use orrery_journal::{Carrier as _, CarrierError, Position};
use orrery_journal_pg::{Options, PgCarrier};

use crate::history::{History, again, group, owner};
use crate::server::{Server, options};

/// Goal: the writer goes on at the standby that was promoted, nothing acknowledged is lost, and the
/// old primary is not taken for the new one when it comes back.
#[test]
fn a_writer_goes_on_at_the_standby_that_was_promoted() {
    let Some((primary, standby)) = Server::pair() else { return };
    let open = || {
        let hosts = vec![primary.host(), standby.host()];
        PgCarrier::open(options(hosts, "failover")).unwrap()
    };
    let demanding = Options {
        needs_replication: true,
        ..options(vec![standby.host(), primary.host()], "failover")
    };
    PgCarrier::open(demanding).unwrap().prepare().unwrap();
    let history = History::default();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| history.write(&open(), 50));
        }
        history.await_more(100);
        primary.crash(Signal::SIGKILL);
        standby.promote();
        history.await_more(100);
        history.over.store(true, Ordering::Release);
    });
    history.check(&open());
    // Stale, without a standby, and first in the address.
    primary.begin();
    history.check(&open());
}

/// Goal: a wait for the standby that somebody cancels is no acknowledgement, and what it leaves
/// visible on the primary is not shown to a reader before the standby has it.
#[test]
fn what_only_the_primary_has_is_neither_acknowledged_nor_shown() {
    let Some((primary, standby)) = Server::pair() else { return };
    let (writer, reader) = (primary.carrier("alone"), primary.carrier("alone"));
    writer.prepare().unwrap();
    writer.take_over(owner(1)).unwrap();
    let before = reader.look().unwrap();
    standby.crash(Signal::SIGQUIT);
    let cancel = || {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        primary.await_sql(waits, "1");
        primary.sql(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
        );
    };
    let group = group(1, 1, &[b"a"]);
    thread::scope(|scope| {
        let call = scope.spawn(|| writer.append(owner(1), &group));
        cancel();
        let result = call.join().unwrap();
        assert!(matches!(result, Err(CarrierError::Unavailable { .. })), "{result:?}");
        let rows = primary.sql_there("SELECT count(*) FROM orrery.groups WHERE first = 1");
        assert_eq!(rows, "1", "it is on the primary");
        // Found when asked again, and still not acknowledged.
        let call = scope.spawn(|| writer.append(owner(1), &group));
        cancel();
        let result = call.join().unwrap();
        assert!(matches!(result, Err(CarrierError::Unavailable { .. })), "{result:?}");
        let call = scope.spawn(|| reader.look());
        cancel();
        let result = call.join().unwrap();
        assert!(matches!(result, Err(CarrierError::Unavailable { .. })), "{result:?}");
        let call = scope.spawn(|| reader.read(Position(0), 1 << 20));
        cancel();
        let result = call.join().unwrap();
        assert!(matches!(result, Err(CarrierError::Unavailable { .. })), "{result:?}");
    });
    standby.begin();
    again(|| writer.append(owner(1), &group)).unwrap();
    let shown = again(|| reader.look()).unwrap();
    assert_eq!((before.last, shown.last), (Position(0), Position(1)));
    assert_eq!(again(|| reader.read(Position(0), 1 << 20)).unwrap(), [group]);
}
