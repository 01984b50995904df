//! Very many connections that do nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{assert_others_are_served, memory_kib};
use crate::process::{Client, Engine, Value, ok};

/// What one should be able to hold.
const CROWD: u64 = 10_000;
/// Files the test needs besides, on either side.
const OTHER_FILES: u64 = 500;
/// Resident memory of the process per idle connection.
const IDLE_BYTES_MAX: u64 = 2048;
const PATIENCE: Duration = Duration::from_mins(1);

/// Lifts this process's limit of open files, which the engine inherits; returns how many
/// connections it is good for.
fn raise_file_limit() -> u64 {
    let wanted = CROWD + OTHER_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    if soft < wanted {
        // Only the privileged can lift the hard limit.
        let lifted = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted));
        lifted.or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard)).expect("up to it");
    }
    let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("there is a limit");
    CROWD.min(soft - OTHER_FILES)
}

fn ping(stream: &mut UnixStream) {
    let mut pong = [0; 7];
    stream.write_all(b"PING\r\n").expect("it takes it");
    stream.read_exact(&mut pong).expect("a reply");
    assert_eq!(&pong, b"+PONG\r\n");
}

#[test]
fn ten_thousand_idle_connections_are_cheap_and_one_more_is_refused() {
    let crowd = raise_file_limit();
    if crowd < CROWD {
        eprintln!("only {crowd} connections: the limit of open files cannot be lifted");
    }
    // One more is the client that looks on.
    let engine = Engine::start(&format!("maxClients: {}\n", crowd + 1));
    let path = engine.folder.path().join("kv.sock");
    let mut first = engine.client();
    let before = memory_kib(&engine, "VmRSS");
    let mut idle: Vec<_> = (0..crowd)
        .map(|_| {
            let mut stream = UnixStream::connect(&path).expect("it accepts");
            ping(&mut stream);
            stream
        })
        .collect();
    assert_eq!(first.run("SET a 1"), ok());
    let each = memory_kib(&engine, "VmRSS").saturating_sub(before) * 1024 / crowd;
    println!("{each} bytes per idle connection, {crowd} connections");
    assert!(each < IDLE_BYTES_MAX, "{each} bytes per idle connection");
    let clients = first.run("INFO clients").text();
    assert!(clients.contains(&format!("connected_clients:{}\r\n", crowd + 1)), "{clients}");

    let refused = "-ERR max number of clients reached\r\n";
    for _ in 0..3 {
        assert_eq!(Client::connect(&path).read_to_end(), refused);
    }
    assert_eq!(first.run("PING"), Value::Status("PONG".into()));
    drop(idle.pop());
    let started = Instant::now();
    while engine.client().try_run("PING").ok() != Some(Value::Status("PONG".into())) {
        assert!(started.elapsed() < PATIENCE, "a place becomes free");
    }
    idle.iter_mut().for_each(ping);
    drop(idle);
    assert_others_are_served(&engine);
}
