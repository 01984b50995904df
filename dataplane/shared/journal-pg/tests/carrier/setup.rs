//! Servers that cannot carry a journal as they are set up, and servers that do not answer.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use orrery_journal::{Carrier, CarrierError};
use orrery_journal_pg::{CALL, Host, OpenError, Options, PgCarrier};

use crate::history::{group, owner};
use crate::server::{Server, options};

/// Says why a call failed as unusable.
fn unusable<T: std::fmt::Debug>(result: Result<T, CarrierError>) -> String {
    match result {
        Err(CarrierError::Unusable { reason }) => reason,
        other => panic!("not unusable: {other:?}"),
    }
}

fn passing<T: std::fmt::Debug>(result: Result<T, CarrierError>) -> String {
    match result {
        Err(CarrierError::Unavailable { reason }) => reason,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[test]
fn a_server_that_does_not_sync_is_refused() {
    for setting in ["fsync", "full_page_writes"] {
        let Some(server) = Server::start(&[&format!("{setting}=off")]) else { return };
        let reason = unusable(server.carrier("unsafe").prepare());
        assert!(reason.contains(setting) && reason.contains("set it to on"), "{reason}");
    }
}

/// Goal: what the database or the user is set to does not make an acknowledgement weaker.
#[test]
fn weak_commits_are_made_strong() {
    let Some(server) = Server::shared() else { return };
    server.sql_there("CREATE ROLE hasty LOGIN; GRANT CREATE ON DATABASE orrery TO hasty");
    server.sql("ALTER ROLE hasty SET synchronous_commit = off");
    server.carrier("weak").prepare().unwrap();
    server.sql_there(
        "GRANT USAGE ON SCHEMA orrery TO hasty;
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA orrery TO hasty",
    );
    let mut as_hasty = options(vec![server.host()], "weak");
    as_hasty.address.user = "hasty".to_owned();
    let carrier = PgCarrier::open(as_hasty).unwrap();
    carrier.prepare().unwrap();
    carrier.take_over(owner(1)).unwrap();
    carrier.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
}

#[test]
fn replication_that_is_demanded_must_be_there() {
    let Some(server) = Server::shared() else { return };
    let demanding = || {
        let options = options(vec![server.host()], "alone");
        PgCarrier::open(Options { needs_replication: true, ..options }).unwrap()
    };
    let reason = unusable(demanding().prepare());
    assert!(reason.contains("synchronous_standby_names"), "{reason}");
    server.carrier("alone").prepare().unwrap();
    // Nor is anything acknowledged where it went away later.
    passing(demanding().take_over(owner(1)));
    server.carrier("alone").take_over(owner(1)).unwrap();
    passing(demanding().append(owner(1), &group(1, 1, &[b"a"])));
    assert_eq!(server.carrier("alone").look().unwrap().last.0, 0);
}

#[test]
fn many_prepare_a_new_database_at_once() {
    let Some(server) = Server::start(&[]) else { return };
    thread::scope(|scope| {
        let tries: Vec<_> =
            (0..8).map(|_| scope.spawn(|| server.carrier("race").prepare())).collect();
        for tried in tries {
            tried.join().unwrap().unwrap();
        }
    });
    assert_eq!(server.sql_there("SELECT count(*), max(version) FROM orrery.layout"), "1|1");
    // On the same server: what a later start must not find.
    let mut other = options(vec![server.host()], "race");
    other.shard += 1;
    let reason = unusable(PgCarrier::open(other).unwrap().prepare());
    assert!(reason.contains("another shard"), "{reason}");
    server.sql_there("ALTER TABLE orrery.groups SET UNLOGGED");
    let reason = unusable(server.carrier("race").prepare());
    assert!(reason.contains("UNLOGGED"), "{reason}");
    server.sql_there("ALTER TABLE orrery.groups SET LOGGED; UPDATE orrery.layout SET version = 2");
    let reason = unusable(server.carrier("race").prepare());
    assert!(reason.contains("layout 2"), "{reason}");
    server.sql("ALTER DATABASE orrery SET default_transaction_read_only = on");
    let reason = passing(server.carrier("race").prepare());
    assert!(reason.contains("read only"), "{reason}");
}

#[test]
fn missing_rights_are_named() {
    let Some(server) = Server::start(&[]) else { return };
    server.sql("CREATE ROLE poor LOGIN; CREATE ROLE owning LOGIN");
    let open = |user: &str| {
        let mut options = options(vec![server.host()], "rights");
        options.address.user = user.to_owned();
        PgCarrier::open(options).unwrap()
    };
    let reason = unusable(open("poor").prepare());
    assert!(reason.contains("grant CREATE"), "{reason}");
    // A schema that somebody has made for it is enough.
    server.sql_there("CREATE SCHEMA orrery AUTHORIZATION owning");
    open("owning").prepare().unwrap();
    open("owning").take_over(owner(1)).unwrap();
    let reason = unusable(open("poor").prepare());
    assert!(reason.contains("permission denied"), "{reason}");
    server.sql_there(
        "GRANT USAGE ON SCHEMA orrery TO poor;
         GRANT SELECT ON ALL TABLES IN SCHEMA orrery TO poor",
    );
    let reason = unusable(open("poor").prepare());
    assert!(reason.contains("grant SELECT, INSERT, UPDATE and DELETE"), "{reason}");
}

/// Goal: a server that warns of something else, here of a collation as after an upgrade of its
/// system, is as good as another.
#[test]
fn warnings_that_are_not_of_replication_do_no_harm() {
    let Some(server) = Server::start(&[]) else { return };
    server.sql("UPDATE pg_database SET datcollversion = 'old' WHERE datname = 'orrery'");
    let carrier = server.carrier("warned");
    carrier.prepare().unwrap();
    carrier.take_over(owner(1)).unwrap();
    carrier.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
    assert!(server.log().contains("collation version"), "it warns");
}

#[test]
fn a_journal_that_was_not_prepared_is_said_to_be_missing() {
    let Some(server) = Server::shared() else { return };
    server.carrier("there").prepare().unwrap();
    let reason = unusable(server.carrier("missing").look());
    assert!(reason.contains("missing"), "{reason}");
    unusable(server.carrier("missing").append(owner(1), &group(1, 1, &[b"a"])));
}

#[test]
fn names_that_cannot_be_are_refused() {
    for name in [String::new(), "a\nb".to_owned(), "a".repeat(1000)] {
        let host = Host { name: "db".to_owned(), port: 5432 };
        let opened = PgCarrier::open(options(vec![host], &name));
        assert!(matches!(opened, Err(OpenError::Name)), "{opened:?}");
    }
}

/// Goal: a server that is not there, one that never answers, and one that falls silent in the middle
/// hold nobody up for longer than they may.
#[test]
fn a_dead_server_is_waited_for_within_bounds() {
    let Some(server) = Server::start(&[]) else { return };
    let bound = CALL + Duration::from_secs(10);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let host = |port| Host { name: "127.0.0.1".to_owned(), port };
    let timed = |carrier: &PgCarrier| {
        let started = Instant::now();
        passing(carrier.look());
        assert!(started.elapsed() < bound, "{:?}", started.elapsed());
    };
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    thread::scope(|scope| {
        scope.spawn(|| timed(&PgCarrier::open(options(vec![host(nobody)], "dead")).unwrap()));
        scope.spawn(|| timed(&PgCarrier::open(options(vec![host(port)], "dead")).unwrap()));
    });
    // Beside one that answers it is no hindrance.
    let both = PgCarrier::open(options(vec![host(port), server.host()], "dead")).unwrap();
    both.prepare().unwrap();
    both.take_over(owner(1)).unwrap();
    let backend = "SELECT pid FROM pg_stat_activity WHERE application_name = 'orrery'";
    let pid: i32 = server.sql(backend).parse().unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, Signal::SIGSTOP).unwrap();
    let started = Instant::now();
    passing(both.append(owner(1), &group(1, 1, &[b"a"])));
    assert!(started.elapsed() < bound, "{:?}", started.elapsed());
    nix::sys::signal::kill(pid, Signal::SIGCONT).unwrap();
    both.append(owner(1), &group(1, 1, &[b"a"])).unwrap();
}
