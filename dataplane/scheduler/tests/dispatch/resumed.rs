//! Runs of an earlier process, and runs that go on after their request was answered.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orrery_scheduler::dispatch::{HttpAction, Target, TargetName};
use orrery_scheduler::run::{Call, Outcome};

use super::rig::{Rig, ad_hoc, http, note, now_ms, run, succeeded, wait_until};
use super::server::{Request, Server, Then, answer, wait_for_close};

/// An action of a server with a place to ask.
fn with_status(server: &Server) -> HttpAction {
    let status_uri = server.uri("/status").parse().ok();
    HttpAction { status_uri, ..ad_hoc(&server.uri("/run")) }
}

fn resumed(number: u64, action: HttpAction) -> Call {
    Call { is_resumed: true, attempt: 2, ..http(number, action) }
}

fn paths(server: &Server) -> Vec<(String, String)> {
    server.requests().into_iter().map(|Request { method, path, .. }| (method, path)).collect()
}

fn of(method: &str, path: &str) -> (String, String) {
    (method.to_owned(), path.to_owned())
}

/// Answers each question about the run with the next of these, and then with the last one.
fn saying(answers: &'static [(u16, &'static str)]) -> Server {
    let asked = AtomicUsize::new(0);
    Server::start(move |request, stream| {
        if request.path == "/run" {
            return answer(stream, 202, &[], "accepted");
        }
        let index = asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1);
        let (status, body) = answers[index];
        answer(stream, status, &[], body)
    })
}

#[test]
fn a_run_that_the_target_knows_is_not_sent_again() {
    for (status, body, expected) in [
        (200, r#"{"state":"succeeded","message":"7 rows"}"#, succeeded("7 rows")),
        (200, r#"{"state":"failed","message":"no"}"#, Outcome::Failed { note: "no".into() }),
        (200, "done", succeeded("done")),
        (204, "", succeeded("")),
        (410, "", Outcome::Failed { note: "410 Gone".into() }),
    ] {
        let server = Server::start(move |_, stream| answer(stream, status, &[], body));
        let rig = Rig::new(vec![]);
        assert_eq!(rig.outcome(resumed(1, with_status(&server))), expected);
        assert_eq!(paths(&server), [of("GET", "/status")]);
        let request = server.requests().remove(0);
        assert_eq!(request.header("idempotency-key"), Some("job-1"));
        assert_eq!(request.header("x-orrery-attempt"), Some("2"));
    }
}

#[test]
fn a_run_that_the_target_does_not_know_is_sent() {
    let server = Server::start(|request, stream| match request.path.as_str() {
        "/status" => answer(stream, 404, &[], ""),
        _ => answer(stream, 200, &[], "ran"),
    });
    let rig = Rig::new(vec![]);
    assert_eq!(rig.outcome(resumed(1, with_status(&server))), succeeded("ran"));
    assert_eq!(paths(&server), [of("GET", "/status"), of("POST", "/run")]);
}

#[test]
fn a_run_that_is_running_is_asked_for_until_it_is_over() {
    let server = saying(&[(200, r#"{"state":"running"}"#), (200, r#"{"state":"succeeded"}"#)]);
    let rig = Rig::new(vec![]);
    assert_eq!(rig.outcome(resumed(1, with_status(&server))), succeeded(""));
    assert_eq!(paths(&server), [of("GET", "/status"), of("GET", "/status")]);
}

#[test]
fn a_target_that_cannot_say_is_asked_again_and_not_sent_to() {
    let server = saying(&[(503, ""), (200, r#"{"state":"succeeded"}"#)]);
    let rig = Rig::new(vec![]);
    assert_eq!(rig.outcome(resumed(1, with_status(&server))), succeeded(""));
    assert_eq!(paths(&server), [of("GET", "/status"), of("GET", "/status")]);
    let server = saying(&[(500, "broken")]);
    let timeout = Duration::from_millis(1_500);
    let outcome = rig.outcome(resumed(2, HttpAction { timeout, ..with_status(&server) }));
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("broken"), "{outcome:?}");
    assert!(paths(&server).iter().all(|(method, _)| method == "GET"));
}

#[test]
fn a_question_without_an_answer_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |_, stream| {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            wait_for_close(stream);
            return Then::Close;
        }
        answer(stream, 200, &[], r#"{"state":"succeeded"}"#)
    });
    let rig = Rig::new(vec![Target { timeout: Duration::from_secs(1), ..Target::new("t") }]);
    let action = HttpAction { target: TargetName::named("t"), ..with_status(&server) };
    assert_eq!(rig.outcome(resumed(1, action)), succeeded(""));
    assert!(paths(&server).iter().all(|(method, _)| method == "GET"));
}

#[test]
fn a_target_that_does_not_let_itself_be_asked_is_refused() {
    for status in [302, 400, 401, 403] {
        let server = Server::start(move |_, stream| answer(stream, status, &[], ""));
        let rig = Rig::new(vec![]);
        let outcome = rig.outcome(resumed(1, with_status(&server)));
        assert!(matches!(outcome, Outcome::Refused { .. }), "{status}: {outcome:?}");
        assert_eq!(paths(&server), [of("GET", "/status")]);
    }
}

#[test]
fn a_run_whose_deadline_is_over_is_asked_for_and_not_sent() {
    let rig = Rig::new(vec![]);
    let late = |number, server: &Server| Call {
        expires_ms: Some(now_ms() - 1),
        ..resumed(number, with_status(server))
    };
    let server = Server::saying(404, "");
    assert_eq!(rig.outcome(late(1, &server)), Outcome::Expired);
    assert_eq!(paths(&server), [of("GET", "/status")]);
    let server = saying(&[(200, r#"{"state":"succeeded"}"#)]);
    assert_eq!(rig.outcome(late(2, &server)), succeeded(""));
    // It may have run, and nobody can tell.
    let server = Server::saying(200, "");
    let late = Call { action: http(3, ad_hoc(&server.uri("/"))).action, ..late(3, &server) };
    let outcome = rig.outcome(late);
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    assert_eq!(server.requests().len(), 0);
}

#[test]
fn without_a_place_to_ask_a_run_is_sent_again_with_its_key() {
    let server = Server::saying(200, "again");
    let rig = Rig::new(vec![]);
    assert_eq!(rig.outcome(resumed(1, ad_hoc(&server.uri("/run")))), succeeded("again"));
    assert_eq!(server.requests()[0].header("idempotency-key"), Some("job-1"));
}

#[test]
fn a_run_that_was_accepted_is_over_when_the_target_says_so() {
    let server = saying(&[(404, ""), (200, r#"{"state":"succeeded","message":"after a while"}"#)]);
    let rig = Rig::new(vec![]);
    assert_eq!(rig.outcome(http(1, with_status(&server))), succeeded("after a while"));
    assert_eq!(paths(&server)[0], of("POST", "/run"));
    assert_eq!(paths(&server).len(), 3);
}

#[test]
fn accepted_is_success_where_there_is_no_place_to_ask() {
    let server = Server::saying(202, "accepted");
    let rig = Rig::new(vec![]);
    assert_eq!(rig.outcome(http(1, ad_hoc(&server.uri("/run")))), succeeded("accepted"));
}

#[test]
fn a_run_that_is_not_over_in_time_is_timed_out() {
    let server = saying(&[(200, r#"{"state":"running"}"#)]);
    let rig = Rig::new(vec![]);
    let timeout = Duration::from_millis(1_500);
    let outcome = rig.outcome(http(1, HttpAction { timeout, ..with_status(&server) }));
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("running"), "{outcome:?}");
    assert_eq!(paths(&server)[0], of("POST", "/run"));
    assert!(paths(&server)[1..].iter().all(|asked| *asked == of("GET", "/status")));
}

#[test]
fn a_run_that_is_asked_for_can_be_cancelled() {
    let server = saying(&[(200, r#"{"state":"running"}"#)]);
    let rig = Rig::new(vec![]);
    rig.dispatcher.hand_over(vec![http(1, with_status(&server))]);
    wait_until(|| !server.requests().is_empty());
    rig.dispatcher.cancel(run(1));
    assert_eq!(rig.wait_for(run(1)), Outcome::Cancelled);
}
