//! What strangers may try on a replication link, and what a false primary may send.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use orrery_operand::client::OperandClient;

use super::group::{block_on, content, eventually, follow, lead, report, standby, wait_in_sync};
use crate::process::{Engine, encode, ok};

const NO_LEASE: (u32, u32, u32) = (1, 0, 0);

struct Raw(BufReader<TcpStream>);

impl Raw {
    fn connect(engine: &Engine) -> Self {
        let socket = TcpStream::connect(engine.address()).expect("it listens");
        socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
        Self(BufReader::new(socket))
    }

    fn send(&mut self, bytes: &[u8]) {
        // The peer may have closed already: then that is what is to be seen.
        let _ = self.0.get_mut().write_all(bytes);
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(&encode(line));
        let mut reply = String::new();
        self.0.read_line(&mut reply).expect("a reply");
        reply.trim_end().to_owned()
    }

    /// Whether the other side hangs up, whatever it says before.
    fn is_closed(&mut self) -> bool {
        let mut rest = vec![];
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

const PSYNC: &str = "PSYNC orrery-journal-1:1:0 0";

#[test]
fn only_the_token_of_the_group_opens_the_journal() {
    let engine = Engine::begin_in({
        let folder = Engine::prepare("group: true\n");
        let secrets = folder.path().join("secrets");
        std::fs::write(secrets.join("management-token"), "sesame").expect("writable");
        std::fs::write(secrets.join("password"), "hunter2").expect("writable");
        folder
    });
    block_on(async {
        let address = format!("127.0.0.1:{}", engine.management);
        let operator = OperandClient::new(&address, Some("sesame")).expect("an address");
        let end = std::time::Instant::now() + super::group::PATIENCE;
        while operator.promote(0, 1).await.is_err() {
            assert!(std::time::Instant::now() < end, "it is not promoted");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut stranger = Raw::connect(&engine);
    assert!(stranger.ask("REPLCONF capa orrery-journal-1").starts_with("-NOPERM"));
    assert!(stranger.ask(PSYNC).starts_with("-NOPERM"));
    for password in ["hunter2", "sesam", "sesame1", "x"] {
        let line = format!("AUTH orrery-replication {password}");
        assert!(stranger.ask(&line).starts_with("-WRONGPASS"), "{password}");
    }
    assert!(stranger.ask("AUTH sesame").starts_with("-WRONGPASS"), "it is no client's password");
    // A client with the right password may read keys, and not the journal.
    assert_eq!(stranger.ask("AUTH hunter2"), "+OK");
    assert!(stranger.ask(PSYNC).starts_with("-NOPERM"));
    // A follower may replicate, and not read keys.
    let mut follower = Raw::connect(&engine);
    assert_eq!(follower.ask("AUTH orrery-replication sesame"), "+OK");
    for line in ["GET a", "SET a 1", "CONFIG GET *", "INFO", "FLUSHALL", "MULTI", "CLIENT LIST"] {
        assert!(follower.ask(line).starts_with("-NOPERM"), "{line}");
    }
    assert_eq!(follower.ask("PING"), "+PONG");
    assert_eq!(follower.ask("REPLCONF capa orrery-journal-1 name pod-1"), "+OK");
    assert_eq!(follower.ask(PSYNC), "+ORRERY");
}

#[test]
fn nonsense_on_a_link_ends_the_link_and_nothing_else() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary, &follower], 1, NO_LEASE);
    let mut raw = Raw::connect(&primary);
    for line in [
        "PSYNC ? -1",
        "PSYNC orrery-journal-1 0",
        "PSYNC orrery-journal-1:1 0",
        "PSYNC orrery-journal-1:x:y 0",
        "PSYNC orrery-journal-1:1:0 -5",
        "PSYNC orrery-journal-1:1:0 99999999999999999999",
        "REPLCONF name",
        "REPLCONF nosuch 1",
        "REPLCONF name \u{7f}",
    ] {
        let reply = raw.ask(line);
        assert!(reply.starts_with('-'), "{line}: {reply}");
    }
    // Behind a handshake that is right: lengths that cannot be, checksums that are wrong, silence.
    let giant = [&[7_u8][..], &u32::MAX.to_le_bytes(), &[0; 4]].concat();
    let unknown = [&[99_u8][..], &8_u32.to_le_bytes(), &[0; 12]].concat();
    let wrong = [&[7_u8][..], &24_u32.to_le_bytes(), &[1; 28]].concat();
    for garbage in [giant, unknown, wrong, b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![]] {
        let mut raw = Raw::connect(&primary);
        assert_eq!(raw.ask(PSYNC), "+ORRERY");
        raw.send(&garbage);
        assert!(raw.is_closed(), "{garbage:?}");
    }
    // Positions that never were.
    for line in ["PSYNC orrery-journal-1:1:7 12345678", "PSYNC orrery-journal-1:0:1 18446744073709"]
    {
        let mut raw = Raw::connect(&primary);
        assert_eq!(raw.ask(line), "+ORRERY", "it gets a copy");
    }
    assert_eq!(primary.client().run("SET a 1"), ok());
    wait_in_sync(&primary, &follower);
    eventually("the strangers are gone", || (report(&primary).followers.len() == 1).then_some(()));
}

/// Takes one connection and its handshake, then sends `bytes` and whatever follows.
fn false_primary(listener: &TcpListener, bytes: &[u8]) {
    listener.set_nonblocking(true).expect("a socket");
    let socket = eventually("the follower connects", || listener.accept().ok()).0;
    socket.set_nonblocking(false).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let mut from = BufReader::new(socket);
    for answer in ["+PONG\r\n", "+OK\r\n", "+ORRERY\r\n"] {
        let mut line = String::new();
        from.read_line(&mut line).expect("a request");
        let words: usize = line.trim_start_matches('*').trim().parse().expect("a count");
        for _ in 0..words * 2 {
            from.read_line(&mut line).expect("a request");
        }
        // It may have hung up.
        let _ = from.get_mut().write_all(answer.as_bytes());
    }
    let _ = from.get_mut().write_all(bytes);
    let mut rest = vec![];
    // Until the follower has had enough.
    let _ = from.read_to_end(&mut rest);
}

/// A message with a right checksum.
fn message(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&[kind]);
    digest.update(payload);
    let crc = digest.finalize() as u32;
    let length = payload.len() as u32;
    [&[kind][..], &length.to_le_bytes(), &crc.to_le_bytes(), payload].concat()
}

fn numbers(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn record(position: u64, epoch: u64, kind: u8, body: &[u8]) -> Vec<u8> {
    let mut payload = numbers(&[position, epoch, 0]);
    payload.extend([0, 0, 0, 0, kind]);
    payload.extend_from_slice(body);
    message(3, &payload)
}

#[test]
fn a_follower_survives_a_false_primary() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary], 1, NO_LEASE);
    for number in 0..50 {
        assert_eq!(primary.client().run(&format!("SET k{number} v")), ok());
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    block_on(async { super::group::operator(&follower).follow(0, 1, address, false).await })
        .expect("it obeys");
    let start = message(1, &numbers(&[1]));
    let beat = message(2, &numbers(&[1, 1, 1]));
    let copy = |at: u64, target: u64| message(1, &numbers(&[1, at, 1, target, 0, 100]));
    let attacks = [
        vec![],
        b"\0".repeat(1000),
        [vec![3], u32::MAX.to_le_bytes().to_vec(), vec![0; 100]].concat(),
        message(1, &numbers(&[0])),
        [start.clone(), record(7, 1, 1, b"")].concat(),
        [start.clone(), beat.clone(), message(4, b"x")].concat(),
        [copy(5, 5), message(4, b"no image"), message(5, b"")].concat(),
        [copy(5, 9), message(5, b""), record(9, 1, 1, b"")].concat(),
        [copy(0, 9), message(4, b"unasked")].concat(),
        [copy(0, 9), record(1, 1, 1, b"")].concat(),
        [copy(0, 9), message(5, b""), message(5, b"")].concat(),
    ];
    for bytes in &attacks {
        false_primary(&listener, bytes);
        let found = report(&follower);
        assert!(!found.ready, "{bytes:?}");
    }
    drop(listener);
    follow(&follower, 1, &primary).expect("it obeys");
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));
}

#[test]
fn effects_that_cannot_be_are_replaced_by_a_copy() {
    let (primary, follower) = (standby(""), standby(""));
    lead(&[&primary], 1, NO_LEASE);
    assert_eq!(primary.client().run("SET a 1"), ok());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    block_on(async { super::group::operator(&follower).follow(0, 1, address, false).await })
        .expect("it obeys");
    let start = message(1, &numbers(&[1]));
    let beat = message(2, &numbers(&[1, 1, 1]));
    false_primary(&listener, &[start, beat, record(1, 1, 1, &[250, 1, 2])].concat());
    follow(&follower, 1, &primary).expect("it obeys");
    wait_in_sync(&primary, &follower);
    assert_eq!(content(&primary), content(&follower));
}
