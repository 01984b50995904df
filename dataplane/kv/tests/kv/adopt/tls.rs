//! A Redis that only speaks TLS is taken over, and one that cannot be trusted is not.

use std::path::Path;

use super::{catch_up, following, set_secret};
use crate::process::{Engine, bulk, ok};
use crate::replica::Redis;
use crate::replication::group::{content, content_of, eventually, report};
use crate::tls::authority::{Authority, Pair};

/// What a Redis is started with: its certificate, and the authority of its clients.
fn served(pair: &Pair, clients: &Authority) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    pair.write(folder.path());
    std::fs::write(folder.path().join("ca.crt"), clients.pem()).expect("writable");
    folder
}

/// What the engine checks it with, and perhaps shows.
fn trust(folder: &Path, authority: &Authority, shown: Option<&Pair>) {
    let tls = folder.join("adopt-tls");
    std::fs::create_dir_all(&tls).expect("writable");
    std::fs::write(tls.join("ca.crt"), authority.pem()).expect("writable");
    if let Some(pair) = shown {
        pair.write(&tls);
    }
}

/// Waits until the take-over fails, and for this reason.
fn failing(engine: &Engine, why: &str) {
    let mut last = String::new();
    eventually(&format!("it says: {why}"), || {
        let report = report(engine);
        assert!(!report.ready, "nothing was taken over");
        if report.message != last {
            println!("{}: {}", report.reason, report.message);
            last.clone_from(&report.message);
        }
        (report.reason == "AdoptionFailing" && report.message.contains(why)).then_some(())
    });
}

#[test]
fn a_redis_that_only_speaks_tls_is_taken_over() {
    let authority = Authority::new("one");
    let files = served(&authority.server("127.0.0.1"), &authority);
    let Some(redis) = Redis::serve_tls(files.path(), false) else { return };
    let mut client = redis.client();
    for number in 0..2000 {
        let value = "v".repeat(number % 700);
        client.run(&format!("RPUSH list{} {number}{value}", number % 10));
    }
    let folder = following(&redis, &[]);
    trust(folder.path(), &authority, None);
    let engine = Engine::begin_in(folder);
    catch_up(&redis, &engine, 1);
    // What is larger than a record of TLS, and comes behind the image.
    client.run("SELECT 3");
    assert_eq!(client.run(&format!("SET large {}", "x".repeat(1 << 20))), ok());
    catch_up(&redis, &engine, 2);
    assert_eq!(content_of(&mut redis.client()), content(&engine));
    assert_eq!(redis.client().run("WAIT 1 30000").text(), "1");
}

#[test]
fn a_redis_that_cannot_be_trusted_is_not_taken_over_and_the_reason_is_told() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let good = authority.server("redis.example");
    let files = served(&good, &authority);
    let Some(redis) = Redis::serve_tls(files.path(), false) else { return };
    assert_eq!(redis.client().run("SET a 1"), ok());
    let folder = following(&redis, &[]);
    trust(folder.path(), &other, None);
    let engine = Engine::begin_in(folder);
    failing(&engine, "of no authority in ca.crt");
    // New files are read at the next attempt. The name is another one still.
    trust(engine.folder.path(), &authority, None);
    failing(&engine, "has another name");
    std::fs::write(engine.folder.path().join("adopt-tls/ca.crt"), "none").expect("writable");
    failing(&engine, "failed to find a certificate");
    let folder = engine.kill();
    trust(folder.path(), &authority, None);
    std::fs::write(folder.path().join("adopt-name"), "redis.example").expect("writable");
    let engine = Engine::begin_in(folder);
    eventually("it is here", || (engine.client().run("GET a") == bulk("1")).then_some(()));
    drop(redis);

    let files = served(&authority.expired("redis.example"), &authority);
    let Some(expired) = Redis::serve_tls(files.path(), false) else { return };
    let folder = following(&expired, &[]);
    std::fs::write(folder.path().join("adopt-name"), "redis.example").expect("writable");
    trust(folder.path(), &authority, None);
    let engine = Engine::begin_in(folder);
    failing(&engine, "has expired");
    // Nor is it spoken to without TLS.
    let Some(plain) = Redis::serve(&[]) else { return };
    set_secret(engine.folder.path(), &plain.address(), &[]);
    failing(&engine, "may not speak TLS");
}

#[test]
fn a_redis_that_asks_for_a_certificate_gets_one() {
    let (authority, clients) = (Authority::new("one"), Authority::new("clients"));
    let files = served(&authority.server("127.0.0.1"), &clients);
    let Some(redis) = Redis::serve_tls(files.path(), true) else { return };
    assert_eq!(redis.client().run("SET a 1"), ok());
    let folder = following(&redis, &[]);
    trust(folder.path(), &authority, None);
    let engine = Engine::begin_in(folder);
    // Depending on who is faster the reason is its word or the end of the connection.
    failing(&engine, "failed to talk to the source");
    trust(engine.folder.path(), &authority, Some(&clients.server("orrery")));
    eventually("it is here", || (engine.client().run("GET a") == bulk("1")).then_some(()));
}
