//! Clients that want more than they take, or keep what they do not use.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use super::{assert_others_are_served, memory_kib};
use crate::process::{Client, Engine, Value, bulk, encode, ok};

const PATIENCE: Duration = Duration::from_mins(1);

fn wait_for(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < PATIENCE, "{what} in time");
        thread::sleep(Duration::from_millis(5));
    }
}

fn set(client: &mut Client, setting: &str, value: &str) {
    let words = ["CONFIG", "SET", setting, value];
    let words = words.map(|word| format!("${}\r\n{word}\r\n", word.len()));
    client.send(format!("*4\r\n{}", words.concat()).as_bytes()).expect("sent");
    assert_eq!(client.read().expect("a reply"), ok());
}

#[test]
fn all_replies_of_a_huge_pipeline_arrive_although_the_client_shut_its_half() {
    const COMMANDS: usize = 100_000;
    let engine = Engine::start("");
    let mut client = engine.client();
    let mut sender = client.stream().try_clone().expect("a socket");
    let sending = thread::spawn(move || {
        let requests = [encode("INCR a"), encode("PING")].concat().repeat(COMMANDS / 2);
        sender.write_all(&requests).expect("it takes all");
        sender.shutdown(Shutdown::Write).expect("connected");
    });
    let mut other = engine.client();
    while !sending.is_finished() {
        assert_eq!(other.run("SET b 1"), ok());
    }
    sending.join().expect("all is sent");
    let expected = (1..=COMMANDS / 2).map(|number| format!(":{number}\r\n+PONG\r\n"));
    assert!(client.read_to_end() == expected.collect::<String>(), "not all and in order");
    assert_others_are_served(&engine);
}

#[test]
fn a_client_that_never_reads_is_held_to_its_limit() {
    let engine = Engine::start("");
    let mut admin = engine.client();
    assert_eq!(admin.run("CONFIG SET client-output-buffer-limit normal").text(), {
        "ERR CONFIG SET failed (possibly related to argument 'client-output-buffer-limit') - \
         Wrong number of arguments in buffer limit configuration."
    });
    set(&mut admin, "client-output-buffer-limit", "normal 1000000 0 0");
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
    assert_others_are_served(&engine);
}

#[test]
fn a_client_that_never_reads_costs_bounded_memory_and_is_closed_in_the_end() {
    // Output is held back from 64 MiB on; a buffer that grows to that has no more than twice.
    const BOUND_KIB: u64 = 160 * 1024;
    let engine = Engine::start("");
    let mut admin = engine.client();
    assert_eq!(admin.run(&format!("SET big {}", "v".repeat(1 << 20))), ok());
    let (before, highest) = (memory_kib(&engine, "VmRSS"), memory_kib(&engine, "VmHWM"));
    let mut greedy = engine.client();
    let requests = [encode("SET written 1"), encode("GET big")].concat();
    greedy.send(&requests.repeat(1000)).expect("it takes it");
    let mut served = 0;
    wait_for("it is closed", || {
        served += 1;
        assert_eq!(admin.run("INCR served"), Value::Integer(served));
        admin.run("INFO stats").text().contains("client_output_buffer_limit_disconnections:1")
    });
    let grown = memory_kib(&engine, "VmHWM").saturating_sub(highest);
    assert!(grown < BOUND_KIB, "{grown} KiB for a client that never reads");
    let clients = admin.run("INFO memory").text();
    assert!(clients.contains("mem_clients_normal:0\r\n"), "its output is still counted: {clients}");
    wait_for("its memory is free again", || memory_kib(&engine, "VmRSS") < before + 16 * 1024);
    assert_others_are_served(&engine);
}

/// What all connections hold, as `CLIENT LIST` says.
fn clients_bytes(client: &mut Client) -> usize {
    let list = client.run("CLIENT LIST").text();
    let totals = list.split_whitespace().filter_map(|word| word.strip_prefix("tot-mem="));
    totals.map(|bytes| bytes.parse::<usize>().expect("a number")).sum()
}

#[test]
fn a_client_that_stops_in_the_middle_of_a_request_keeps_no_more_than_it_sent() {
    const CLIENTS: usize = 500;
    /// Itself, and room in its buffer.
    const BYTES_MAX: usize = 6 * 1024;
    let engine = Engine::start("");
    let mut admin = engine.client();
    // The rest of a request, many whole ones, and again the beginning of one.
    let (beginning, rest) = ("*2\r\n$4\r\nECHO", "\r\n$1\r\nx\r\n");
    let whole = format!("{beginning}{rest}").repeat(2500);
    let mut waiting: Vec<_> = (0..CLIENTS).map(|_| engine.client()).collect();
    for client in &mut waiting {
        client.send(beginning.as_bytes()).expect("it takes it");
        assert_eq!(admin.run("PING"), Value::Status("PONG".into()));
        client.send(format!("{rest}{whole}{beginning}").as_bytes()).expect("it takes it");
        for _ in 0..=2500 {
            assert_eq!(client.read().expect("a reply"), bulk("x"));
        }
    }
    // What the allocator keeps of that is not a matter of connections.
    wait_for("what they used is given back", || clients_bytes(&mut admin) < CLIENTS * BYTES_MAX);
    for client in &mut waiting {
        client.send(rest.as_bytes()).expect("it takes it");
        assert_eq!(client.read().expect("a reply"), bulk("x"));
    }
    assert_others_are_served(&engine);
}
