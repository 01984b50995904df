//! Peers that send anything but a handshake, or one that never ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::authority::Authority;
use super::client::{self, TlsClient};
use super::{DEADLINE, info, port, start, wait_until};

fn connect(port: u16) -> TcpStream {
    let socket = TcpStream::connect(("127.0.0.1", port)).expect("it accepts");
    socket.set_read_timeout(Some(DEADLINE)).expect("a socket");
    socket
}

/// Reads until the engine ends the connection.
fn read_to_end(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = vec![];
    // A reset is an end as well.
    let _ = socket.read_to_end(&mut bytes);
    bytes
}

#[test]
fn garbage_is_closed_and_answered_with_an_alert_at_most() {
    let authority = Authority::new("one");
    let engine = start(&authority, false);
    let port = port(&engine);
    let plain = b"*1\r\n$4\r\nPING\r\n".to_vec();
    let endless_record = [&[22, 3, 1, 0xff, 0xff][..], &vec![0; 70_000]].concat();
    let huge_message = [&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff][..], &vec![0; 16_380]].concat();
    let early_data = [23, 3, 3, 0, 5, 1, 2, 3, 4, 5].to_vec();
    for garbage in [plain, endless_record, huge_message, early_data, vec![0; 100_000]] {
        let mut socket = connect(port);
        // It may be closed before it has taken everything.
        let _ = socket.write_all(&garbage);
        let answer = read_to_end(&mut socket);
        assert!(answer.len() < 100, "{} bytes", answer.len());
    }
    assert_eq!(info(&engine, "tls_handshake_failures"), "5");
    assert_eq!(info(&engine, "tls_handshakes_in_progress"), "0");
    TlsClient::connect(port, &authority, None).expect("others are served").run("PING");
}

#[test]
fn a_handshake_that_never_ends_is_closed_after_a_bound() {
    let authority = Authority::new("one");
    let engine = start(&authority, false);
    let port = port(&engine);
    let silent: Vec<TcpStream> = (0..50).map(|_| connect(port)).collect();
    let mut slow = connect(port);
    slow.write_all(&[22, 3, 1]).expect("it is sent");
    wait_until(|| info(&engine, "tls_handshakes_in_progress") == "51");
    TlsClient::connect(port, &authority, None).expect("others are served").run("PING");
    for mut socket in silent {
        read_to_end(&mut socket);
    }
    read_to_end(&mut slow);
    assert_eq!(info(&engine, "tls_handshake_failures"), "51");
    assert_eq!(info(&engine, "tls_handshakes_in_progress"), "0");
}

#[test]
fn a_thousand_handshakes_at_once_all_succeed_and_others_are_served_meanwhile() {
    const THREADS: usize = 50;
    const EACH: usize = 20;
    let authority = Authority::new("one");
    let engine = start(&authority, false);
    let port = port(&engine);
    let config = client::config(&authority, None);
    let handshakes: Vec<_> = (0..THREADS)
        .map(|_| {
            let config = config.clone();
            std::thread::spawn(move || {
                let halves: Vec<_> = (0..EACH)
                    .map(|_| TlsClient::begin(port, config.clone()).expect("it accepts"))
                    .collect();
                let mut clients: Vec<TlsClient> = halves
                    .into_iter()
                    .map(|(session, socket)| {
                        TlsClient::finish(session, socket).expect("a connection")
                    })
                    .collect();
                for client in &mut clients {
                    assert_eq!(client.run("PING").text(), "PONG");
                }
                clients
            })
        })
        .collect();
    let mut other = engine.client();
    while !handshakes.iter().all(std::thread::JoinHandle::is_finished) {
        assert_eq!(other.run("PING").text(), "PONG");
    }
    let clients: Vec<_> =
        handshakes.into_iter().map(|h| h.join().expect("all went well")).collect();
    assert_eq!(info(&engine, "tls_handshakes"), (THREADS * EACH).to_string());
    assert_eq!(info(&engine, "tls_handshake_failures"), "0");
    drop(clients);
    wait_until(|| info(&engine, "connected_clients") == "2");
}
