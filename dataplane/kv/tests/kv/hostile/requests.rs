//! Requests that are malformed, cut short or odd, against what Redis 7.0 answers.

use std::net::Shutdown;
use std::process::{Child, Command, Stdio};

use super::{assert_others_are_served, memory_kib};
use crate::process::{Client, Engine, Value, bulk, ok};

/// What is sent before the sending half is shut, and everything that is answered.
fn exchanges() -> Vec<(Vec<u8>, &'static str)> {
    let broken: [(&[u8], &str); 30] = [
        // Counts.
        (b"*x\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*2147483648\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*9223372036854775807\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*99999999999999999999\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*-9223372036854775809\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*+1\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1048576\r\n", ""),
        (b"\r\n*0\r\n*-1\r\n*-2147483648\r\nPING\r\n", "+PONG\r\n"),
        // Lengths.
        (b"*1\r\n$-1\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$1073741824\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$99999999999999999999\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'\r\n"),
        (b"*1\r\n\r\n", "-ERR Protocol error: expected '$', got ' '\r\n"),
        (b"*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'\r\n"),
        (b"*1\r\n$0\r\n\r\n", "-ERR unknown command '', with args beginning with: \r\n"),
        (b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n", "+PONG\r\n+PONG\r\n"),
        (b"*2\r\n$4\r\nECHO\r\n$3\r\na\0b\r\n", "$3\r\na\0b\r\n"),
        // Inline.
        (b"SET \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"SET 'a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"ECHO \"a\"b\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"ECHO \"a\\x00\\\"b\"\r\n", "$4\r\na\0\"b\r\n"),
        (b"ECHO a\0b\r\nPING\r\n", ""),
        (b"PI\0NG\r\n", ""),
        (b"  ping \t \r\n\n\n echo x\n", "+PONG\r\n$1\r\nx\r\n"),
        // What came before is answered, what comes behind is not.
        (
            b"*1\r\n$4\r\nPING\r\n*x\r\n*1\r\n$4\r\nPING\r\n",
            "+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n",
        ),
        (b"SET k 1\r\nQUIT\r\nSET k 2\r\n", "+OK\r\n+OK\r\n"),
        // Cut short: nothing is run and nothing is said.
        (b"*3\r\n$3\r\nSET\r\n$3\r\ncut\r\n$10\r\nabc", ""),
        (b"EXISTS cut\r\nPING", ":0\r\n"),
    ];
    let long = "1".repeat(70_000);
    let mut all: Vec<_> = broken.map(|(input, output)| (input.to_vec(), output)).into();
    all.extend([
        (format!("*{long}").into(), "-ERR Protocol error: too big mbulk count string\r\n"),
        (format!("*1\r\n${long}").into(), "-ERR Protocol error: too big bulk count string\r\n"),
        (long.clone().into(), "-ERR Protocol error: too big inline request\r\n"),
        (format!("a\0\r\n{long}").into(), "-ERR Protocol error: too big inline request\r\n"),
    ]);
    all
}

fn answer(client: &mut Client, input: &[u8]) -> String {
    // It may be closed before all is sent.
    let _ = client.send(input);
    let _ = client.stream().shutdown(Shutdown::Write);
    client.read_to_end()
}

fn shown(input: &[u8]) -> String {
    input[..input.len().min(60)].escape_ascii().to_string()
}

#[test]
fn broken_requests_get_the_error_of_redis_and_the_end() {
    let engine = Engine::start("");
    for (input, expected) in exchanges() {
        assert_eq!(answer(&mut engine.client(), &input), expected, "{}", shown(&input));
        assert_others_are_served(&engine);
    }
}

/// A real Redis that ends with the test.
struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_redis_gives_the_same_answers() {
    if Command::new("redis-server").arg("--version").output().is_err() {
        eprintln!("not run: redis-server is not installed");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("redis.sock");
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
    command.arg(&socket).arg("--dir").arg(folder.path()).stdout(Stdio::null());
    let _redis = Redis(command.spawn().expect("it starts"));
    for (input, expected) in exchanges() {
        assert_eq!(answer(&mut Client::connect(&socket), &input), expected, "{}", shown(&input));
    }
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
fn what_is_announced_and_never_sent_takes_no_memory() {
    let engine = Engine::start("");
    let mut admin = engine.client();
    assert_eq!(admin.run("CONFIG SET proto-max-bulk-len 1gb"), ok());
    let before = memory_kib(&engine, "VmHWM");
    let mut silent: Vec<_> = (0..100).map(|_| engine.client()).collect();
    for pair in silent.chunks_mut(2) {
        pair[0].send(b"*2\r\n$3\r\nGET\r\n$1073741824\r\nabc").expect("it takes it");
        pair[1].send(b"*1048576\r\n$4\r\nMSET\r\n").expect("it takes it");
        assert_eq!(admin.run("SET a 1"), ok());
    }
    assert_others_are_served(&engine);
    let grown = memory_kib(&engine, "VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for announcements");
}

#[test]
fn lengths_beyond_four_gigabytes_are_refused_whatever_is_configured() {
    let engine = Engine::start("");
    let mut admin = engine.client();
    assert_eq!(admin.run("CONFIG SET proto-max-bulk-len 100gb"), ok());
    assert_eq!(admin.run("CONFIG SET client-query-buffer-limit 100gb"), ok());
    for length in [1u64 << 32, (1 << 32) + 4, 1 << 36] {
        let input = format!("*2\r\n$4\r\nECHO\r\n${length}\r\nabcd\r\n");
        let answered = answer(&mut engine.client(), input.as_bytes());
        assert_eq!(answered, "-ERR Protocol error: invalid bulk length\r\n", "{length}");
    }
    assert_others_are_served(&engine);
}

#[test]
fn a_client_that_sends_byte_by_byte_is_understood_and_holds_up_nobody() {
    let engine = Engine::start("");
    let (mut slow, mut other) = (engine.client(), engine.client());
    let requests = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12\r\nfirst\r\nthing\r\n\
        GET k\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nn\r\nEXEC\r\n*-1\r\n*1\r\n$4\r\nPING\r\n";
    for byte in requests {
        slow.send(&[*byte]).expect("it takes it");
        // When this is answered, the byte before it was read: it came by itself.
        assert_eq!(other.run("PING"), Value::Status("PONG".into()));
    }
    slow.stream().shutdown(Shutdown::Write).expect("connected");
    assert_eq!(
        slow.read_to_end(),
        "+OK\r\n$12\r\nfirst\r\nthing\r\n+OK\r\n+QUEUED\r\n*1\r\n:1\r\n+PONG\r\n"
    );
    assert_others_are_served(&engine);
}
