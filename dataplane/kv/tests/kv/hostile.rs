//! Clients that break the protocol or do not play fair. Others must not notice.

use std::io::Write;
use std::net::Shutdown;

use crate::process::{Engine, Value, bulk, encode, ok};

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn broken_requests_get_the_error_of_redis_and_the_end() {
    let engine = Engine::start("");
    for (input, expected) in [
        (&b"*x\r\n"[..], "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*3000000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"),
        (b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (
            b"*1\r\n$4\r\nPING\r\n*x\r\n",
            "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n",
        ),
    ] {
        let mut client = engine.client();
        client.send(input).expect("it takes it");
        assert_eq!(client.read_to_end(), expected);
    }
    assert_eq!(engine.client().run("SET a 1"), ok());
}

#[test]
fn empty_requests_and_inline_commands_are_understood() {
    let engine = Engine::start("");
    let mut client = engine.client();
    client.send(b"\r\n*0\r\n*-1\r\nSET a \"x y\"\r\nGET a\r\n").expect("it takes it");
    assert_eq!(client.read().expect("a reply"), ok());
    assert_eq!(client.read().expect("a reply"), bulk("x y"));
}

#[test]
fn an_announced_gigabyte_takes_no_memory() {
    let engine = Engine::start("");
    let before = resident_kib(engine.pid());
    let mut silent: Vec<_> = (0..50).map(|_| engine.client()).collect();
    for client in &mut silent {
        client.send(b"*2\r\n$3\r\nGET\r\n$536870912\r\nabc").expect("it takes it");
    }
    assert_eq!(engine.client().run("SET a 1"), ok());
    let grown = resident_kib(engine.pid()).saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for announcements");
}

#[test]
fn a_client_that_shuts_its_half_still_gets_its_replies() {
    let engine = Engine::start("");
    let mut client = engine.client();
    let mut requests = encode("SET a 1");
    requests.extend(encode("GET a"));
    client.send(&requests).expect("it takes it");
    client.stream().shutdown(Shutdown::Write).expect("connected");
    assert_eq!(client.read_to_end(), "+OK\r\n$1\r\n1\r\n");
}

#[test]
fn a_client_that_never_reads_is_held_to_its_limit() {
    let engine = Engine::start("");
    let mut admin = engine.client();
    assert_eq!(admin.run("CONFIG SET client-output-buffer-limit normal").text(), {
        "ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - \
         Wrong number of arguments in buffer limit configuration."
    });
    admin
        .send(b"*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$26\r\nclient-output-buffer-limit\r\n$20\r\nnormal 1000000 0 0  \r\n")
        .expect("sent");
    assert_eq!(admin.read().expect("a reply"), ok());
    let value = "v".repeat(100_000);
    assert_eq!(admin.run(&format!("SET big {value}")), ok());
    let mut greedy = engine.client();
    let request = encode("GET big").repeat(1000);
    // It is cut off while it still sends, or at once after.
    let _ = greedy.stream().write_all(&request);
    let received = greedy.read_to_end().len();
    assert!(received < 100_000 * 1000, "{received} bytes got through");
    let stats = admin.run("INFO stats").text();
    assert!(stats.contains("client_output_buffer_limit_disconnections:1"), "{stats}");
    assert_eq!(admin.run("PING"), Value::Status("PONG".into()));
}

#[test]
fn a_thousand_idle_connections_are_cheap() {
    let engine = Engine::start("");
    let mut first = engine.client();
    first.run("PING");
    let before = resident_kib(engine.pid());
    let mut idle: Vec<_> = (0..900).map(|_| engine.client()).collect();
    for client in &mut idle {
        assert_eq!(client.run("PING"), Value::Status("PONG".into()));
    }
    let grown = resident_kib(engine.pid()).saturating_sub(before);
    assert!(grown < 900 * 8, "{grown} KiB for 900 connections");
    assert!(first.run("INFO clients").text().contains("connected_clients:901"));
}
