//! What a server, a user or a layout must be like.

use orrery_kit::secrets::Secret;
use orrery_pg::suite::Server;
use orrery_store::suite::{get, put, write};
use orrery_store::{Commit, Options, StoreError, Write};
use orrery_store_pg::{Config, KEY_BYTES_MAX};

use crate::fixture::{Process, config, fresh_name, make};

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable { reason }) => reason,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[test]
fn the_longest_keys_are_kept_and_longer_ones_refused() {
    let Some(make) = make() else { return };
    let fixture = make(Options::default());
    assert_eq!(fixture.stores.options().key_bytes_max, KEY_BYTES_MAX);
    let store = fixture.open(1);
    // Nothing that an index could compress.
    let random = |length: usize| -> Vec<u8> {
        let mut state = 7_u64;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect()
    };
    let longest = random(KEY_BYTES_MAX);
    write(&store, vec![Write::Put(longest.clone().into(), "v".into())]);
    let found = store.snapshot().unwrap().get(&[&longest]).unwrap();
    assert_eq!(found[0].as_deref(), Some(&b"v"[..]));
    let longer = vec![Write::Put(random(KEY_BYTES_MAX + 1).into(), "v".into())];
    let refused = store.commit(Commit { writes: longer, ..Commit::default() }).wait();
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })), "{refused:?}");
}

/// Goal: values far larger than a page of reading come back, in both directions.
#[test]
fn large_values_are_read_in_pages() {
    let Some(make) = make() else { return };
    let store = make(Options::default()).open(1);
    let value = "v".repeat(3 << 20);
    for key in ["a", "b", "c", "d"] {
        write(&store, vec![put(key, &value)]);
    }
    for reverse in [false, true] {
        let found = store.snapshot().unwrap().scan(b"", b"", reverse, 9).unwrap();
        assert!(found.len() == 4 && found.iter().all(|(_, found)| found == value.as_bytes()));
        assert_eq!(found[0].0, if reverse { "d" } else { "a" });
    }
}

#[test]
fn a_server_that_does_not_sync_is_refused() {
    let Some(server) = Server::start(&["fsync=off"]) else { return };
    let reason = unavailable(Process::new(config(&server, "unsafe")).try_open(1));
    assert!(reason.contains("fsync") && reason.contains("set it to on"), "{reason}");
}

#[test]
fn replication_that_is_demanded_must_be_there() {
    let Some(server) = Server::shared() else { return };
    let demanding = Config { needs_replication: true, ..config(&server, &fresh_name()) };
    let reason = unavailable(Process::new(demanding).try_open(1));
    assert!(reason.contains("synchronous_standby_names"), "{reason}");
}

/// Goal: a user with a password (SCRAM) is let in with it, and not with another.
#[test]
fn a_password_is_asked_for() {
    let Some(server) = Server::start(&[]) else { return };
    server.sql_there(
        "CREATE ROLE careful LOGIN PASSWORD 'right'; GRANT CREATE ON DATABASE orrery TO careful",
    );
    let access = "host all careful 127.0.0.1/32 scram-sha-256\nhost all all 127.0.0.1/32 trust\n\
        local all all trust\n";
    std::fs::write(server.data().join("pg_hba.conf"), access).unwrap();
    server.sql("SELECT pg_reload_conf()");
    let process = |password: &str| {
        let mut config = config(&server, "careful");
        config.address.user = "careful".to_owned();
        Process::new(Config { password: Some(Secret::new(password)), ..config })
    };
    server.await_sql("SELECT count(*) FROM pg_hba_file_rules WHERE auth_method LIKE 'scram%'", "1");
    let reason = unavailable(process("wrong").try_open(1));
    assert!(reason.contains("password") && !reason.contains("wrong"), "{reason}");
    let store = process("right").open(1);
    write(&store, vec![put("a", "1")]);
    assert!(get(&store, "a").is_some());
}
