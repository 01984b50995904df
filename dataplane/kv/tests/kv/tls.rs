//! TLS as clients meet it: certificates made here, a real process, `redis-cli` and rustls.

#[path = "tls/authority.rs"]
pub(crate) mod authority;
#[path = "tls/client.rs"]
pub(crate) mod client;
#[path = "tls/hostile.rs"]
mod hostile;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::authority::Authority;
use self::client::TlsClient;
use crate::process::{Engine, ok};

const DEADLINE: Duration = Duration::from_mins(1);

/// An engine with a certificate of `authority`; `mutual`: it asks clients for one as well.
fn start(authority: &Authority, mutual: bool) -> Engine {
    let folder = Engine::prepare("");
    std::fs::create_dir(folder.path().join("tls")).expect("writable");
    authority.server("localhost").write(&folder.path().join("tls"));
    if mutual {
        std::fs::write(folder.path().join("tls/ca.crt"), authority.pem()).expect("writable");
    }
    Engine::start_in(folder)
}

/// The port of the TCP listener, as the Unix socket tells it.
fn port(engine: &Engine) -> u16 {
    info(engine, "tcp_port").parse().expect("a port")
}

/// A field of INFO.
fn info(engine: &Engine, field: &str) -> String {
    let text = engine.client().run("INFO").text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_else(|| panic!("no {field} in {text}")).to_owned()
}

fn wait_until(mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < DEADLINE, "it does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn redis_cli(port: u16, folder: &Path, more: &[&str]) -> String {
    let output = Command::new("redis-cli")
        .args(["-h", "localhost", "-p", &port.to_string(), "--tls", "--cacert"])
        .arg(folder.join("authority.pem"))
        .args(more)
        .output()
        .expect("redis-cli is there");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn redis_cli_talks_over_tls_and_the_unix_socket_stays_plain() {
    let authority = Authority::new("one");
    let engine = start(&authority, false);
    let port = port(&engine);
    std::fs::write(engine.folder.path().join("authority.pem"), authority.pem()).expect("writable");
    let folder = engine.folder.path().to_owned();
    assert_eq!(redis_cli(port, &folder, &["SET", "k", "v"]).trim(), "OK");
    assert_eq!(engine.client().run("GET k").text(), "v");
    let other = Authority::new("other");
    std::fs::write(folder.join("authority.pem"), other.pem()).expect("writable");
    let refused = redis_cli(port, &folder, &["PING"]);
    assert!(refused.contains("certificate verify failed"), "{refused}");
    assert_eq!(info(&engine, "tls_enabled"), "1");
    assert!(info(&engine, "tls_handshake_failures").parse::<u64>().expect("a number") >= 1);
    let expiry: i64 = info(&engine, "tls_certificate_expiry").parse().expect("a number");
    assert_eq!(expiry, authority::END_S);
}

#[test]
fn a_client_certificate_of_the_authority_is_needed_where_there_is_one() {
    let authority = Authority::new("one");
    let engine = start(&authority, true);
    let port = port(&engine);
    let trusted = authority.server("client");
    let mut client = TlsClient::connect(port, &authority, Some(&trusted)).expect("it is trusted");
    assert_eq!(client.run("SET k v"), ok());
    let without = TlsClient::connect(port, &authority, None).and_then(|mut c| c.try_run("PING"));
    let error = without.expect_err("it has no certificate").to_string();
    assert!(error.contains("CertificateRequired"), "{error}");
    let stranger = Authority::new("other").server("client");
    let strange = TlsClient::connect(port, &authority, Some(&stranger));
    strange.and_then(|mut c| c.try_run("PING")).expect_err("another authority's certificate");
    let late = authority.expired("client");
    let expired = TlsClient::connect(port, &authority, Some(&late));
    let error = expired.and_then(|mut c| c.try_run("PING")).expect_err("it has ended").to_string();
    assert!(error.contains("CertificateExpired"), "{error}");
    assert_eq!(client.run("PING").text(), "PONG", "others do not notice");
}

#[test]
fn large_pipelines_and_large_values_arrive_whole() {
    let authority = Authority::new("one");
    let engine = start(&authority, false);
    let mut client = TlsClient::connect(port(&engine), &authority, None).expect("it connects");
    // Not a multiple of a record, nor of a buffer, and not readable in one turn.
    let value = "0123456789abcde".repeat(200_001);
    assert_eq!(client.run(&format!("SET large {value}")), ok());
    assert_eq!(client.run("GET large").text(), value);
    let small: Vec<String> = (0..20_000).map(|n| format!("ECHO message-{n}")).collect();
    client.send_all(&small);
    for n in 0..20_000 {
        assert_eq!(client.read().expect("a reply").text(), format!("message-{n}"));
    }
    client.send_all(&vec!["GET large".to_owned(); 20]);
    for _ in 0..20 {
        assert_eq!(client.read().expect("a reply").text().len(), value.len());
    }
}

#[test]
fn a_new_certificate_is_taken_over_under_load_without_a_failed_request() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let engine = start(&old, false);
    let port = port(&engine);
    let both = Arc::new(Authority::both(&old, &new));
    let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (stop, requests, both) = (stop.clone(), requests.clone(), both.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // Two keep their connection for long, two make new ones all the time.
                    let mut client = TlsClient::connect(port, &both, None).expect("a connection");
                    for _ in 0..if number < 2 { 10_000 } else { 5 } {
                        assert_eq!(client.run("PING").text(), "PONG");
                        requests.fetch_add(1, Ordering::Relaxed);
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    wait_until(|| requests.load(Ordering::Relaxed) > 100);
    let tls = engine.folder.path().join("tls");
    // Half of a pair is there for a moment, and is not used.
    new.server("localhost").write(&tls);
    wait_until(|| TlsClient::connect(port, &new, None).is_ok());
    TlsClient::connect(port, &old, None).expect_err("the old certificate is gone");
    let seen = requests.load(Ordering::Relaxed);
    wait_until(|| requests.load(Ordering::Relaxed) > seen + 100);
    // What cannot be used is not taken over, and the one before stays.
    std::fs::write(tls.join("tls.crt"), "no certificate").expect("writable");
    wait_until(|| info(&engine, "tls_certificates_unusable") != "0");
    TlsClient::connect(port, &new, None).expect("the last good one is in use");
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.join().expect("no request failed");
    }
}
