//! Targets that are slow, broken or not there.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use orrery_scheduler::dispatch::{HttpAction, Target};
use orrery_scheduler::run::Outcome;

use super::rig::{Rig, ad_hoc, by_run, http, named, note, succeeded, wait_until};
use super::server::{Server, Then, answer, wait_for_close};

#[test]
fn a_slow_target_delays_no_other() {
    let slow = Server::start(|_, stream| {
        wait_for_close(stream);
        Then::Close
    });
    let fast = Server::saying(200, "");
    let rig = Rig::new(vec![Target { max_in_flight: 8, ..Target::new("slow") }]);
    let mut calls: Vec<_> = (0..1_000).map(|n| http(n, named("slow", &slow.uri("/")))).collect();
    calls.extend((1_000..2_000).map(|n| http(n, ad_hoc(&fast.uri("/")))));
    rig.dispatcher.hand_over(calls);
    let outcomes = rig.wait_for_count(1_000);
    assert!(outcomes.iter().all(|(run, _, o)| run.number >= 1_000 && *o == succeeded("")));
    let figures = rig.figures("slow");
    assert_eq!((figures.queued, figures.in_flight), (992, 8));
}

#[test]
fn a_target_that_is_not_there_fails() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").port()
    };
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc(&format!("http://127.0.0.1:{port}/"))));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(note(&outcome).starts_with("failed to connect"), "{outcome:?}");
}

#[test]
fn a_name_that_does_not_exist_fails_and_is_named() {
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc("http://no-such-host.invalid/")));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("no-such-host.invalid"), "{outcome:?}");
}

#[test]
fn a_connection_that_is_reset_after_sending_fails_and_says_that_it_was_sent() {
    let server = Server::start(|_, _| Then::Reset);
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc(&server.uri("/"))));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("ended without an answer"), "{outcome:?}");
    assert_eq!(server.requests().len(), 1, "it is not sent again here");
}

#[test]
fn a_kept_connection_that_is_reset_after_sending_is_not_sent_again_here() {
    let server = Server::start(|request, stream| {
        if request.path == "/reset" { Then::Reset } else { answer(stream, 200, &[], "") }
    });
    let rig = Rig::new(vec![]);
    assert_eq!(rig.outcome(http(1, ad_hoc(&server.uri("/")))), succeeded(""));
    let outcome = rig.outcome(http(2, ad_hoc(&server.uri("/reset"))));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|request| request.path == "/reset").count(), 1);
    assert_eq!(requests[1].connection, 0, "it went over the kept connection");
}

#[test]
fn an_answer_that_breaks_off_fails() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf");
        Then::Close
    });
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc(&server.uri("/"))));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("broke off"), "{outcome:?}");
}

#[test]
fn a_target_that_does_not_answer_in_time_is_timed_out() {
    let silent = Server::start(|_, stream| {
        wait_for_close(stream);
        Then::Close
    });
    let head = Server::start(|_, stream| {
        drip(stream, "HTTP/1.1 200 OK\r\nx-slow: ");
        Then::Close
    });
    let body = Server::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        drip(stream, "");
        Then::Close
    });
    let rig = Rig::new(vec![]);
    let servers = [silent, head, body];
    let timeout = Duration::from_secs(2);
    let call = |(number, server): (usize, &Server)| {
        http(number as u64, HttpAction { timeout, ..ad_hoc(&server.uri("/")) })
    };
    rig.dispatcher.hand_over(servers.iter().enumerate().map(call).collect());
    for (run, _, outcome) in rig.wait_for_count(3) {
        assert!(matches!(outcome, Outcome::TimedOut { .. }), "{run:?}: {outcome:?}");
    }
    // The connections are closed, so that their handlers end.
    wait_until(|| servers.iter().all(|server| server.at_work() == 0));
}

fn drip(stream: &mut std::net::TcpStream, head: &str) {
    let _ = stream.write_all(head.as_bytes());
    while stream.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_connection_that_is_not_made_in_time_was_not_sent() {
    // Its queue of connections is full and nobody accepts: the next one gets no answer.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&address.into()).expect("a port");
    socket.listen(0).expect("it listens");
    let address = socket.local_addr().expect("bound").as_socket().expect("of IPv4");
    let mut held = Vec::new();
    for _ in 0..8 {
        let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let filler = filler.expect("a socket");
        filler.set_nonblocking(true).expect("settable");
        let _ = filler.connect(&address.into());
        held.push(filler);
    }
    let rig = Rig::new(vec![]);
    let action =
        HttpAction { timeout: Duration::from_millis(200), ..ad_hoc(&format!("http://{address}/")) };
    let outcome = rig.outcome(http(1, action));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("no connection within"), "{outcome:?}");
}

#[test]
fn every_call_has_one_outcome_whatever_its_target_does() {
    let server = Server::start(|request, stream| match request.path.as_bytes()[1] % 5 {
        0 => Then::Reset,
        1 => Then::Close,
        2 => answer(stream, 500, &[], "no"),
        3 => {
            answer(stream, 200, &[], "yes");
            Then::Close
        }
        _ => answer(stream, 200, &[], "yes"),
    });
    let rig = Rig::new(vec![]);
    let path = |number: u64| format!("/{}", char::from(b'a' + (number % 23) as u8));
    let calls = (0..2_000).map(|n| http(n, ad_hoc(&server.uri(&path(n))))).collect();
    rig.dispatcher.hand_over(calls);
    let outcomes = rig.wait_for_count(2_000);
    assert_eq!(by_run(&outcomes).len(), 2_000);
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, _, o)| is(o)).count() as u64;
    wait_until(|| rig.dispatcher.room() == 200_000);
    let origin = server.uri("");
    let counts = rig.figures(&origin).counts;
    assert_eq!(counts.succeeded, count(|o| matches!(o, Outcome::Succeeded { .. })));
    assert_eq!(counts.failed, count(|o| matches!(o, Outcome::Failed { .. })));
    assert_eq!(counts.succeeded + counts.failed, 2_000);
}
