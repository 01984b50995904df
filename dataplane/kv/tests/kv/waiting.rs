//! Commands that wait for a list: order of service, deadlines, and what ends a wait.

use std::time::{Duration, Instant};

use crate::process::{Client, Engine, Value, bulk, encode, ok};

const PATIENCE: Duration = Duration::from_secs(10);

fn pair(key: &str, element: &str) -> Value {
    Value::Array(Some(vec![bulk(key), bulk(element)]))
}

/// Sends a command and returns once the server says that so many wait.
fn wait_with(engine: &Engine, command: &str, waiting: usize) -> Client {
    let mut client = engine.client();
    client.send(&encode(command)).expect("it takes it");
    await_waiting(engine, waiting);
    client
}

fn await_waiting(engine: &Engine, waiting: usize) {
    let mut observer = engine.client();
    let wanted = format!("blocked_clients:{waiting}\r\n");
    let deadline = Instant::now() + PATIENCE;
    while !observer.run("INFO clients").text().contains(&wanted) {
        assert!(Instant::now() < deadline, "never {waiting} clients that wait");
    }
}

#[test]
fn who_came_first_is_served_first_and_only_once() {
    let engine = Engine::start("");
    let mut first = wait_with(&engine, "BLPOP l 0", 1);
    let mut second = wait_with(&engine, "BRPOP other l 0", 2);
    let mut pusher = engine.client();
    assert_eq!(pusher.run("RPUSH l a b c"), Value::Integer(3));
    assert_eq!(first.read().expect("a reply"), pair("l", "a"));
    assert_eq!(second.read().expect("a reply"), pair("l", "c"));
    assert_eq!(pusher.run("LRANGE l 0 -1"), Value::Array(Some(vec![bulk("b")])));
    await_waiting(&engine, 0);
}

#[test]
fn a_moved_element_serves_those_who_wait_for_its_destination() {
    let engine = Engine::start("");
    let mut mover = wait_with(&engine, "BLMOVE a b LEFT RIGHT 0", 1);
    let mut popper = wait_with(&engine, "BLMPOP 0 2 x b LEFT COUNT 5", 2);
    assert_eq!(engine.client().run("RPUSH a 1"), Value::Integer(1));
    assert_eq!(mover.read().expect("a reply"), bulk("1"));
    let elements = Value::Array(Some(vec![bulk("1")]));
    assert_eq!(popper.read().expect("a reply"), Value::Array(Some(vec![bulk("b"), elements])));
}

#[test]
fn a_transaction_serves_when_it_is_over_and_does_not_wait_itself() {
    let engine = Engine::start("");
    let mut waiter = wait_with(&engine, "BLPOP l 0", 1);
    let mut client = engine.client();
    for command in ["MULTI", "RPUSH l a", "DEL l", "RPUSH l b", "BLPOP empty 0"] {
        client.run(command);
    }
    let Value::Array(Some(replies)) = client.run("EXEC") else { panic!("it ran") };
    assert_eq!(replies[3], Value::Array(None));
    assert_eq!(waiter.read().expect("a reply"), pair("l", "b"));
}

#[test]
fn a_wait_ends_by_its_deadline_by_request_or_with_its_connection() {
    let engine = Engine::start("");
    assert_eq!(engine.client().run("BLPOP l 0.05"), Value::Array(None));
    assert_eq!(engine.client().run("BLMOVE l m LEFT LEFT 0.05"), Value::Array(None));
    let mut client = engine.client();
    let Value::Integer(id) = client.run("CLIENT ID") else { panic!("an id") };
    client.send(&[encode("BLPOP l 0"), encode("PING")].concat()).expect("it takes it");
    await_waiting(&engine, 1);
    let mut other = engine.client();
    assert!(other.run("CLIENT LIST").text().contains(" flags=bU "));
    assert_eq!(other.run(&format!("CLIENT UNBLOCK {id} ERROR")), Value::Integer(1));
    assert_eq!(other.run(&format!("CLIENT UNBLOCK {id}")), Value::Integer(0));
    let unblocked = Value::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".into());
    assert_eq!(client.read().expect("a reply"), unblocked);
    assert_eq!(client.read().expect("a reply"), Value::Status("PONG".into()));
    drop(wait_with(&engine, "BLPOP l 0", 1));
    await_waiting(&engine, 0);
    assert_eq!(other.run("RPUSH l a"), Value::Integer(1));
    assert_eq!(other.run("LLEN l"), Value::Integer(1), "the dead took nothing");
}

#[test]
fn a_key_of_another_type_is_an_error_at_once_and_no_reason_to_wake_later() {
    let engine = Engine::start("");
    let mut client = engine.client();
    assert_eq!(client.run("SET s x"), ok());
    let Value::Error(error) = client.run("BLPOP s 0") else { panic!("an error") };
    assert!(error.starts_with("WRONGTYPE"), "{error}");
    let mut waiter = wait_with(&engine, "BLPOP l 0", 1);
    assert_eq!(client.run("SADD l x"), Value::Integer(1));
    assert_eq!(client.run("DEL l"), Value::Integer(1));
    assert_eq!(client.run("RPUSH other a"), Value::Integer(1));
    assert_eq!(client.run("RENAME other l"), ok());
    assert_eq!(waiter.read().expect("a reply"), pair("l", "a"));
}

#[test]
fn what_was_served_is_durable_before_it_is_answered() {
    let engine = Engine::start("");
    let mut waiter = wait_with(&engine, "BLPOP l 0", 1);
    assert_eq!(engine.client().run("RPUSH l a b"), Value::Integer(2));
    assert_eq!(waiter.read().expect("a reply"), pair("l", "a"));
    let engine = Engine::start_in(engine.kill());
    assert_eq!(engine.client().run("LRANGE l 0 -1"), Value::Array(Some(vec![bulk("b")])));
}
