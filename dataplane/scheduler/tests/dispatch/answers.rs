//! What answers mean, what requests look like, and how much of an answer is read.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use orrery_scheduler::dispatch::{Action, Dispatcher, HttpAction, Options, SuccessCodes, Target};
use orrery_scheduler::run::Outcome;

use super::rig::{self, Rig, ad_hoc, http, named, note, succeeded};
use super::server::{Server, Then, answer, wait_for_close};

#[test]
fn a_call_that_is_answered_well_succeeds_with_what_was_said() {
    let server = Server::saying(200, "7 rows\n");
    let rig = Rig::new(vec![]);
    assert_eq!(rig.outcome(http(1, ad_hoc(&server.uri("/run?a=b")))), succeeded("7 rows"));
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/run?a=b"));
    assert_eq!(request.body, b"{\"job\":1}");
    for (name, value) in [
        ("idempotency-key", "job-1"),
        ("x-orrery-schedule", "job"),
        ("x-orrery-nominal", "2026-01-01T00:00:00Z"),
        ("x-orrery-attempt", "1"),
        ("content-length", "9"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert!(request.header("host").is_some_and(|host| host.starts_with("127.0.0.1:")));
    assert!(request.header("traceparent").is_some_and(|parent| parent.len() == 55));
    assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("orrery-sched")));
}

#[test]
fn headers_of_the_user_are_sent_unless_the_engine_sets_them() {
    let server = Server::saying(200, "");
    let rig = Rig::new(vec![]);
    let mut headers = HeaderMap::new();
    headers.insert("x-mine", HeaderValue::from_static("1"));
    for name in ["host", "content-length", "transfer-encoding", "idempotency-key", "x-orrery-by"] {
        headers.insert(name, HeaderValue::from_static("forged"));
    }
    let action = HttpAction { headers, method: Method::PUT, ..ad_hoc(&server.uri("/")) };
    assert_eq!(rig.outcome(http(1, action)), succeeded(""));
    let request = server.requests().remove(0);
    assert_eq!(request.method, "PUT");
    assert_eq!(request.header("x-mine"), Some("1"));
    assert!(request.headers.iter().all(|(_, value)| value != "forged"), "{:?}", request.headers);
}

#[test]
fn each_class_of_answers_has_its_outcome() {
    let server = Server::start(|request, stream| {
        let status = request.path[1..].parse().expect("a status");
        answer(stream, status, &[("location", "http://127.0.0.1:1/trap")], "why")
    });
    // 999 and 600 have no meaning at all; 304 and 204 have no body.
    let cases = [
        (200, "succeeded"),
        (201, "succeeded"),
        (202, "succeeded"),
        (299, "succeeded"),
        (301, "refused"),
        (302, "refused"),
        (307, "refused"),
        (308, "refused"),
        (400, "refused"),
        (401, "refused"),
        (403, "refused"),
        (404, "refused"),
        (410, "refused"),
        (408, "failed"),
        (425, "failed"),
        (429, "failed"),
        (500, "failed"),
        (503, "failed"),
        (600, "refused"),
        (999, "refused"),
    ];
    let rig = Rig::new(vec![]);
    for (status, expected) in cases {
        let outcome = rig.outcome(http(status, ad_hoc(&server.uri(&format!("/{status}")))));
        let kind = match &outcome {
            Outcome::Succeeded { note } => {
                assert_eq!(note, "why");
                "succeeded"
            }
            Outcome::Failed { note } | Outcome::Refused { note } => {
                assert!(note.contains(&status.to_string()), "{note}");
                if matches!(outcome, Outcome::Failed { .. }) { "failed" } else { "refused" }
            }
            other => panic!("{status}: {other:?}"),
        };
        assert_eq!(kind, expected, "{status}");
    }
    assert_eq!(server.requests().len(), cases.len(), "no redirection was followed");
    let outcome = rig.wait_for(rig::run(302));
    assert!(note(&outcome).contains("not followed to http://127.0.0.1:1/trap"), "{outcome:?}");
}

#[test]
fn codes_that_an_action_names_are_the_only_good_ones() {
    let server = Server::saying(404, "");
    let success: SuccessCodes = "404".parse().expect("a code");
    let rig = Rig::new(vec![]);
    let action = HttpAction { success, ..ad_hoc(&server.uri("/")) };
    assert_eq!(rig.outcome(http(1, action)), succeeded(""));
}

#[test]
fn connections_are_kept_for_the_next_call() {
    let server = Server::saying(200, "ok");
    let rig = Rig::new(vec![]);
    for number in 0..20 {
        assert_eq!(rig.outcome(http(number, ad_hoc(&server.uri("/")))), succeeded("ok"));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn a_connection_that_the_server_wants_closed_is_not_used_again() {
    let server = Server::start(|_, stream| {
        answer(stream, 200, &[("connection", "close")], "ok");
        Then::Close
    });
    let rig = Rig::new(vec![]);
    for number in 0..50 {
        assert_eq!(rig.outcome(http(number, ad_hoc(&server.uri("/")))), succeeded("ok"));
    }
    assert_eq!(server.connections(), 50);
}

#[test]
fn of_a_huge_or_endless_answer_only_the_beginning_is_read() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let server = Server::start(move |request, stream| {
        let head = if request.path == "/endless" {
            "transfer-encoding: chunked\r\n\r\n"
        } else {
            "content-length: 1000000000000\r\n\r\n"
        };
        write!(stream, "HTTP/1.1 200 OK\r\n{head}").expect("the head is read");
        let chunk = format!("400\r\n{}\r\n", "x".repeat(1_024));
        let piece = if request.path == "/endless" { chunk } else { "x".repeat(1_024) };
        while stream.write_all(piece.as_bytes()).is_ok() {
            counter.fetch_add(1_024, Ordering::SeqCst);
        }
        Then::Close
    });
    let rig = Rig::new(vec![]);
    for (number, path) in ["/huge", "/endless"].into_iter().enumerate() {
        let outcome = rig.outcome(http(number as u64, ad_hoc(&server.uri(path))));
        assert_eq!(outcome, succeeded(&"x".repeat(256)));
    }
    // The handlers end only when the connections are closed.
    rig::wait_until(|| server.at_work() == 0);
    assert!(sent.load(Ordering::SeqCst) < 64 << 20, "buffers of sockets, and not more");
}

#[test]
fn control_characters_of_answers_are_escaped() {
    let server = Server::saying(500, "a\u{1b}[31m\nb");
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc(&server.uri("/"))));
    assert_eq!(note(&outcome), "500 Internal Server Error: a\\u{1b}[31m\\nb");
}

#[test]
fn heads_of_answers_are_bounded() {
    let server = Server::start(|_, stream| {
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n");
        while write!(stream, "x-more: {}\r\n", "y".repeat(1_000)).is_ok() {}
        Then::Close
    });
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc(&server.uri("/"))));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    rig::wait_until(|| server.at_work() == 0);
}

#[test]
fn what_does_not_speak_http_fails() {
    let server = Server::start(|_, stream| {
        let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n");
        wait_for_close(stream);
        Then::Close
    });
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc(&server.uri("/"))));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
}

#[test]
fn the_sink_succeeds_at_once() {
    let rig = Rig::new(vec![]);
    let sink = Arc::new(Action::Sink);
    rig.dispatcher.hand_over((0..10_000).map(|n| rig::call(n, Arc::clone(&sink))).collect());
    let outcomes = rig.wait_for_count(10_000);
    assert!(outcomes.iter().all(|(_, attempt, o)| *attempt == 1 && *o == succeeded("")));
    assert_eq!(rig.dispatcher.sunk(), 10_000);
    assert_eq!(rig.dispatcher.room(), Options::default().calls_max);
}

#[test]
fn a_target_that_is_not_named_or_not_its_own_address_is_refused() {
    let server = Server::saying(200, "");
    let origin = "http://127.0.0.1:1/".parse().ok();
    let rig = Rig::new(vec![Target { origin, ..Target::new("t") }]);
    let outcome = rig.outcome(http(1, named("unknown", &server.uri("/"))));
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    let outcome = rig.outcome(http(2, named("t", &server.uri("/"))));
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn targets_that_cannot_be_told_apart_do_not_start() {
    let targets = vec![Target::new("t"), Target::new("t")];
    Dispatcher::start(Options::default(), targets, |_, _, _| {}).expect_err("the same name twice");
    let ca_pem = Some("no certificate".to_owned());
    let targets = vec![Target { ca_pem, ..Target::new("t") }];
    Dispatcher::start(Options::default(), targets, |_, _, _| {}).expect_err("no authority");
}

#[test]
fn the_timeout_of_the_action_holds_and_not_that_of_the_target() {
    let server = Server::start(|request, stream| {
        if request.path == "/slow" {
            std::thread::sleep(Duration::from_millis(200));
            return answer(stream, 200, &[], "slow");
        }
        wait_for_close(stream);
        Then::Close
    });
    let rig = Rig::new(vec![Target { timeout: Duration::from_millis(1), ..Target::new("t") }]);
    assert_eq!(rig.outcome(http(1, named("t", &server.uri("/slow")))), succeeded("slow"));
    let timeout = Duration::from_secs(2);
    let outcome = rig.outcome(http(2, HttpAction { timeout, ..ad_hoc(&server.uri("/")) }));
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
}
