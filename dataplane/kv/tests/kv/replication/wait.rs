//! WAIT: as a real `redis-server` with a replica answers it, and what may happen while a client waits.

use std::time::{Duration, Instant};

use super::group::{PATIENCE, eventually, fence, lead, standby, wait_in_sync};
use crate::process::{Client, Engine, Value, encode, ok};
use crate::replica::Redis;

const NO_LEASE: (u32, u32, u32) = (1, 0, 0);

/// Blocked clients, as INFO counts them.
fn blocked(engine: &Engine) -> String {
    let info = engine.client().run("INFO clients").text();
    let line = info.lines().find(|line| line.starts_with("blocked_clients:"));
    line.expect("it is counted").to_owned()
}

fn begin(client: &mut Client, line: &str) {
    client.send(&encode(line)).expect("it takes it");
}

/// Each line with its reply; those that must wait find everything confirmed, or a timeout.
fn talk(client: &mut Client) -> Vec<(&'static str, Value)> {
    let lines = [
        "SET a 1",
        "WAIT 1 30000",
        "WAIT 1 0",
        "GET a",
        "WAIT 1 0",
        "WAIT 2 3000",
        "WAIT 01 1",
        "WAIT x 1",
        "WAIT 1 x",
        "WAIT 1 1.5",
        "WAIT 1 -1",
        "WAIT x -1",
        "WAIT 9223372036854775808 1",
        "WAIT 1",
        "WAIT 1 1 1",
        "COMMAND INFO WAIT",
    ];
    lines.map(|line| (line, client.run(line))).to_vec()
}

/// What returns at once, whatever it counts: a Redis counts its own questions as writes.
fn talk_at_once(client: &mut Client) {
    for number in [-1, 0] {
        assert!(matches!(client.run(&format!("WAIT {number} 0")), Value::Integer(0..=1)));
    }
    assert_eq!(client.run("MULTI"), ok());
    client.run("SET b 1");
    client.run("WAIT 5 0");
    let Value::Array(Some(replies)) = client.run("EXEC") else { panic!("no replies") };
    assert_eq!(replies[0], ok());
    assert!(matches!(replies[1], Value::Integer(0..=1)), "{replies:?}");
    assert_eq!(client.run("WAIT 1 30000"), Value::Integer(1));
}

#[test]
fn it_is_that_of_redis() {
    let (Some(source), Some(replica)) = (Redis::serve(&[]), Redis::serve(&[])) else { return };
    let address = source.address().replace(':', " ");
    assert_eq!(replica.client().run(&format!("REPLICAOF {address}")), ok());
    eventually("the replica is there", || {
        let mut client = source.client();
        client.run("SET x 1");
        (client.run("WAIT 1 100") == Value::Integer(1)).then_some(())
    });
    let expected = talk(&mut source.client());
    talk_at_once(&mut source.client());
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    assert_eq!(talk(&mut primary.client()), expected);
    talk_at_once(&mut primary.client());
    let refused = replica.client().run("WAIT 0 0").text();
    assert_eq!(follower.client().run("WAIT 0 0").text(), refused);
}

#[test]
fn a_client_that_waits_is_answered_when_the_follower_is_back() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    let mut client = primary.client();
    assert_eq!(client.run("WAIT 1 0"), Value::Integer(1));
    follower.signal("STOP");
    assert_eq!(client.run("SET a 1"), ok());
    let began = Instant::now();
    assert_eq!(client.run("WAIT 1 300"), Value::Integer(0));
    // It counts from the beginning of a turn, which may be a little before the client asked.
    assert!(began.elapsed() >= Duration::from_millis(200));
    // Who wrote nothing waits for nothing.
    assert_eq!(primary.client().run("WAIT 0 0"), Value::Integer(1));
    begin(&mut client, "WAIT 1 0");
    eventually("it waits", || (blocked(&primary) == "blocked_clients:1").then_some(()));
    eventually("it is cut off", || {
        let info = primary.client().run("INFO replication").text();
        info.contains("connected_slaves:0").then_some(())
    });
    follower.signal("CONT");
    assert_eq!(client.read().expect("a reply"), Value::Integer(1));
    assert_eq!(blocked(&primary), "blocked_clients:0");
    wait_in_sync(&primary, &follower);
    assert_eq!(follower.client().run("GET a").text(), "1");
}

#[test]
fn a_client_that_goes_away_or_is_unblocked_waits_no_more() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    let mut client = primary.client();
    begin(&mut client, "WAIT 2 0");
    eventually("it waits", || (blocked(&primary) == "blocked_clients:1").then_some(()));
    drop(client);
    eventually("it is forgotten", || (blocked(&primary) == "blocked_clients:0").then_some(()));
    let mut client = primary.client();
    assert_eq!(client.run("WAIT 1 0"), Value::Integer(1));
    let id = client.run("CLIENT ID").text();
    for (how, expected) in [("TIMEOUT", Some(1)), ("ERROR", None)] {
        begin(&mut client, "WAIT 2 0");
        eventually("it waits", || (blocked(&primary) == "blocked_clients:1").then_some(()));
        let unblocked = primary.client().run(&format!("CLIENT UNBLOCK {id} {how}"));
        assert_eq!(unblocked, Value::Integer(1));
        let reply = client.read().expect("a reply");
        match expected {
            Some(count) => assert_eq!(reply, Value::Integer(count)),
            None => assert!(reply.text().starts_with("UNBLOCKED "), "{reply:?}"),
        }
    }
}

#[test]
fn a_primary_that_is_fenced_says_so_to_those_who_wait() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    let mut client = primary.client();
    assert_eq!(client.run("SET a 1"), ok());
    begin(&mut client, "WAIT 2 0");
    eventually("it waits", || (blocked(&primary) == "blocked_clients:1").then_some(()));
    fence(&primary, 2);
    assert!(client.read().expect("a reply").text().starts_with("UNBLOCKED "));
    assert!(client.run("WAIT 0 0").text().starts_with("ERR WAIT cannot be used"));
}

#[test]
fn a_redis_server_that_follows_is_asked_and_counts() {
    let Some(redis) = Redis::serve(&[]) else { return };
    let engine = Engine::start("");
    let mut client = engine.client();
    assert_eq!(client.run("SET before 1"), ok());
    assert_eq!(client.run("WAIT 1 10"), Value::Integer(0));
    let port = engine.port;
    assert_eq!(redis.client().run(&format!("REPLICAOF 127.0.0.1 {port}")), ok());
    assert_eq!(client.run(&format!("WAIT 1 {}", PATIENCE.as_millis())), Value::Integer(1));
    for number in 0..20 {
        assert_eq!(client.run(&format!("SET key {number}")), ok());
        assert_eq!(client.run("WAIT 1 30000"), Value::Integer(1));
        assert_eq!(redis.client().run("GET key").text(), number.to_string());
    }
}
