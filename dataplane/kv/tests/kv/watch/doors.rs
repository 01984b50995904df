//! Who may watch, and what those cost who only look as if they did.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orrery_operand::client::OperandClient;
use orrery_operand::v1::{DeclaredObject, SyncRequest};

use super::client::{Watcher, ask, status};
use crate::process::{Engine, ok};
use crate::replication::group::{block_on, eventually};

/// `user:password` as a header.
fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn is(answer: &str, code: u16) -> bool {
    answer.starts_with(&format!("HTTP/1.1 {code}"))
}

#[test]
fn users_watch_what_they_may_read() {
    let folder = Engine::prepare("");
    let users = "user default on >secret ~* +@all\n\
        user some on >pw +psync %R~shop:*\n\
        user none on >pw +get ~*\n";
    std::fs::create_dir(folder.path().join("live")).expect("writable");
    std::fs::write(folder.path().join("live/users.acl"), users).expect("writable");
    let engine = Engine::start_in(folder);
    let mut client = engine.client();
    assert_eq!(client.run("AUTH secret"), ok());
    let with = |credentials: &str| {
        status(&engine, "/v1/watch?from=x", &[("Authorization", &basic(credentials))])
    };
    assert!(is(&status(&engine, "/v1/watch", &[]), 401));
    assert!(status(&engine, "/v1/watch", &[]).contains("www-authenticate: Basic"));
    assert!(is(&with("some:pw"), 400), "only what it asks for is wrong");
    let refused =
        |credentials: &str| status(&engine, "/v1/watch", &[("Authorization", &basic(credentials))]);
    assert!(is(&refused("some:wrong"), 401));
    assert!(is(&refused("nobody:pw"), 401));
    assert!(is(&refused("none:pw"), 403));
    assert!(is(&status(&engine, "/v1/watch", &[("Authorization", "Bearer x")]), 401));
    assert!(is(&status(&engine, "/v1/watch", &[("Authorization", "Basic !")]), 401));
    let all = [("Authorization", basic("default:secret"))];
    let all = [(all[0].0, all[0].1.as_str())];
    let mut all = Watcher::with(&engine, "/v1/watch", &all);
    let some = basic("some:pw");
    let mut some = Watcher::with(&engine, "/v1/watch", &[("Authorization", &some)]);
    all.place();
    some.place();
    assert_eq!(client.run("SET hidden 1"), ok());
    assert_eq!(client.run("SET shop:a 1"), ok());
    assert_eq!(all.change().change().key, "hidden");
    assert_eq!(some.change().change().key, "shop:a");
}

#[test]
fn the_changes_of_a_namespace_are_watched_by_its_name() {
    let engine = Engine::start("");
    let set = |name: &str, spec: &str| DeclaredObject {
        namespace: "team".into(),
        name: name.into(),
        generation: 1,
        spec: spec.as_bytes().to_vec(),
        ..DeclaredObject::default()
    };
    let objects = vec![
        set("shop", r#"{"match":{"prefix":"shop:"}}"#),
        set("carts", r#"{"match":{"prefix":"shop:cart:"}}"#),
    ];
    let request = SyncRequest { kind: "KVNamespace".into(), set_hash: "1".into(), objects };
    block_on(async {
        let operator = OperandClient::new(&format!("127.0.0.1:{}", engine.management), None);
        operator.expect("an address").sync(request).await.expect("it is taken");
    });
    let mut shop = Watcher::open(&engine, "/v1/ns/shop/watch");
    let mut carts = Watcher::open(&engine, "/v1/ns/carts/watch");
    shop.place();
    carts.place();
    for key in ["other", "shop:cart:1", "shop:1"] {
        assert_eq!(engine.client().run(&format!("SET {key} 1")), ok());
    }
    assert_eq!(
        shop.change().change().key,
        "shop:1",
        "what has a namespace of its own is not of it"
    );
    assert_eq!(carts.change().change().key, "shop:cart:1");
    assert!(is(&status(&engine, "/v1/ns/nothing/watch", &[]), 404));
}

#[test]
fn what_makes_no_sense_is_refused_and_says_so() {
    let engine = Engine::start("");
    for path in ["/v1/watch?from=1", "/v1/watch?from=", "/v1/watch?form=0", "/v1/watch?database=x"]
    {
        let answer = status(&engine, path, &[]);
        assert!(is(&answer, 400) && answer.contains("\"message\""), "{path}: {answer}");
    }
    assert!(is(&status(&engine, "/v1/watch?database=16", &[]), 404));
    assert!(is(&status(&engine, "/v2/watch", &[]), 404));
    let mut stream = ask(&engine, &format!("/v1/watch?prefix={}", "x".repeat(1 << 20)), &[]);
    let mut text = vec![];
    // It may be cut off while it still sends.
    _ = stream.read_to_end(&mut text);
    assert!(!text.starts_with(b"HTTP/1.1 200"));
    let mut stream = TcpStream::connect(("127.0.0.1", engine.api)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a socket");
    stream.write_all(b"\x16\x03\x01 no HTTP at all\r\n\r\n").expect("it is taken");
    _ = stream.read_to_end(&mut text);
    assert_eq!(engine.client().run("SET a 1"), ok(), "nobody else is disturbed");
}

#[test]
fn there_are_only_so_many_watchers_and_a_place_comes_back() {
    let engine = Engine::start("");
    let mut watchers: Vec<_> = (0..64).map(|_| Watcher::open(&engine, "/v1/watch")).collect();
    assert!(is(&status(&engine, "/v1/watch", &[]), 429));
    drop(watchers.pop());
    eventually("the place comes back", || {
        // Whoever is gone is noticed with the next thing it is sent.
        engine.client().run("SET a 1");
        let mut head = [0; 12];
        ask(&engine, "/v1/watch", &[]).read_exact(&mut head).ok()?;
        (&head == b"HTTP/1.1 200").then_some(())
    });
}

#[test]
fn clients_that_never_read_and_never_ask_hold_up_nobody() {
    let engine = Engine::start("");
    let silent: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(("127.0.0.1", engine.api)).expect("the system accepts"))
        .collect();
    let deaf = ask_when_there_is_room(&engine, silent);
    let mut client = engine.client();
    let value = "v".repeat(1 << 20);
    for number in 0..40 {
        assert_eq!(client.run(&format!("SET k{} {value}", number % 4)), ok());
    }
    let mut watcher = Watcher::open(&engine, "/v1/watch");
    watcher.place();
    assert_eq!(client.run("SET end 1"), ok());
    assert_eq!(watcher.change().change().key, "end");
    drop(deaf);
}

/// Connections that send nothing take all the room there is, and lose it.
fn ask_when_there_is_room(engine: &Engine, silent: Vec<TcpStream>) -> TcpStream {
    let full = ask_once(engine);
    assert!(full.is_none(), "all places are taken");
    let open = eventually("their time is up", || ask_once(engine));
    drop(silent);
    open
}

/// A watcher that does not read on, unless it is closed at once.
fn ask_once(engine: &Engine) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", engine.api)).expect("the system accepts");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
    stream.write_all(b"GET /v1/watch HTTP/1.1\r\nHost: here\r\n\r\n").ok()?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    (&head == b"HTTP/1.1 200").then_some(stream)
}
