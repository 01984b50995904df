//! Methods that are called by gRPC: a server that is as it should be, and others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use orrery_scheduler::dispatch::{Action, Auth, GrpcAction, SigningKey, Target, TargetName};
use orrery_scheduler::run::{Call, Outcome};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::rig::{DEADLINE, Rig, call, note, run, succeeded, wait_until};
use super::secrets::{folder, is_signed_by};
use super::server::Server;
use billing::{Billing, Receipt, Reflection};

pub(crate) mod billing;
mod hostile;

const BODY: &str = r#"{"customer": "c-1", "amount": {"cents": "1250"}, "labels": {"a": "b"},
    "at": "2027-01-01T07:00:00Z"}"#;

/// A call of a method of `shop.Billing` at the target `t`.
fn action(address: impl std::fmt::Display, method: &str, body: &str) -> GrpcAction {
    GrpcAction {
        target: TargetName::named("t"),
        uri: format!("http://{address}/shop.Billing/{method}").parse().expect("an address"),
        service: "shop.Billing".into(),
        method: method.into(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        timeout: DEADLINE,
    }
}

fn grpc(number: u64, action: GrpcAction) -> Call {
    call(number, Action::Grpc(action))
}

fn rig() -> Rig {
    Rig::new(vec![Target::new("t")])
}

/// What came of one call of a method.
fn called(address: impl std::fmt::Display, method: &str, body: &str) -> Outcome {
    rig().outcome(grpc(1, action(address, method, body)))
}

fn refused(note: &str) -> Outcome {
    Outcome::Refused { note: note.to_owned() }
}

#[test]
fn a_body_becomes_the_message_of_the_method_and_the_answer_a_note() {
    for reflection in [Reflection::V1, Reflection::V1Alpha] {
        let billing = Billing::good(reflection);
        let outcome = called(billing.address, "Charge", BODY);
        assert_eq!(outcome, succeeded(r#"{"number":"R-7"}"#), "{reflection:?}");
        let [seen] = &billing.seen()[..] else { panic!("it was called once") };
        assert_eq!(seen.charge.customer, "c-1");
        assert_eq!(seen.charge.amount.as_ref().map(|money| money.cents), Some(1250));
        assert_eq!(seen.charge.labels["a"], "b");
        assert_eq!(seen.charge.at.as_ref().map(|at| at.seconds), Some(1_798_786_800));
        assert_eq!(seen.header("idempotency-key"), "job-1");
        assert_eq!(seen.header("x-orrery-schedule"), "job");
        assert_eq!(seen.header("x-orrery-nominal"), "2026-01-01T00:00:00Z");
        assert_eq!(seen.header("x-orrery-attempt"), "1");
        assert_eq!(seen.header("traceparent").len(), 55);
        assert_eq!(seen.header("te"), "trailers");
        assert!(seen.header("grpc-timeout").ends_with('m'), "{}", seen.header("grpc-timeout"));
    }
}

#[test]
fn a_target_is_asked_for_its_methods_once() {
    let billing = Billing::good(Reflection::V1);
    let rig = Rig::new(vec![Target { max_in_flight: 20, ..Target::new("t") }]);
    let calls = (0..50).map(|number| grpc(number, action(billing.address, "Charge", BODY)));
    rig.dispatcher.hand_over(calls.collect());
    let outcomes = rig.wait_for_count(50);
    let all = outcomes.iter().all(|(_, _, outcome)| matches!(outcome, Outcome::Succeeded { .. }));
    assert!(all, "{outcomes:?}");
    // For the file of the service, for one that it imports and that is nowhere, and for another.
    assert_eq!((billing.reflected(), billing.seen().len()), (3, 50));
}

#[test]
fn without_reflection_only_what_has_no_fields_is_called() {
    let billing = Billing::good(Reflection::None);
    for body in ["", "{ }"] {
        assert_eq!(called(billing.address, "Charge", body), succeeded(""));
    }
    let outcome = called(billing.address, "Charge", BODY);
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("no server reflection"), "{outcome:?}");
    assert_eq!(billing.seen().len(), 2);
}

#[test]
fn what_cannot_be_called_is_refused_with_its_name_and_not_sent() {
    let billing = Billing::good(Reflection::V1);
    let refusals = [
        ("Watch", BODY, "shop.Billing/Watch is a method that streams: only unary ones are called"),
        ("Burn", BODY, "the service shop.Billing has no method Burn"),
        ("Charge", r#"{"custmer": 1}"#, "the body is no shop.Charge: "),
        ("Charge", r#"{"customer": 1}"#, "the body is no shop.Charge: "),
        ("Charge", r#"{"customer": "a"} b"#, "the body is no shop.Charge: trailing characters"),
        ("Charge", "[1]", "the body is no shop.Charge: "),
    ];
    for (method, body, why) in refusals {
        let outcome = called(billing.address, method, body);
        assert!(matches!(outcome, Outcome::Refused { .. }), "{method} {body}: {outcome:?}");
        assert!(note(&outcome).starts_with(why), "{method} {body}: {outcome:?}");
    }
    let other =
        GrpcAction { service: "shop.Other".into(), ..action(billing.address, "Charge", BODY) };
    let outcome = rig().outcome(grpc(1, other));
    assert_eq!(outcome, refused("the target has no service shop.Other"));
    assert_eq!(billing.seen().len(), 0);
    // Nobody knew that it streams; what it did is known by its answer.
    let streams = "shop.Billing/Watch is a method that streams: only unary ones are called";
    assert_eq!(called(billing.address, "Watch", ""), refused(streams));
    assert_eq!(called(billing.address, "Lost", ""), refused("UNIMPLEMENTED: no such method"));
}

#[test]
fn each_status_has_its_outcome() {
    let next = Arc::<AtomicUsize>::default();
    let told = Arc::clone(&next);
    let billing = Billing::start(Reflection::V1, move |_| {
        let code = Code::from(told.load(Ordering::SeqCst) as i32);
        Err(Status::new(code, "not\ntoday ✓"))
    });
    let rig = rig();
    for (code, name, kind) in [
        (1, "CANCELLED", "Failed"),
        (2, "UNKNOWN", "Failed"),
        (3, "INVALID_ARGUMENT", "Refused"),
        (4, "DEADLINE_EXCEEDED", "TimedOut"),
        (5, "NOT_FOUND", "Refused"),
        (6, "ALREADY_EXISTS", "Refused"),
        (7, "PERMISSION_DENIED", "Refused"),
        (8, "RESOURCE_EXHAUSTED", "Failed"),
        (9, "FAILED_PRECONDITION", "Refused"),
        (10, "ABORTED", "Failed"),
        (11, "OUT_OF_RANGE", "Refused"),
        (12, "UNIMPLEMENTED", "Refused"),
        (13, "INTERNAL", "Failed"),
        (14, "UNAVAILABLE", "Failed"),
        (15, "DATA_LOSS", "Refused"),
        (16, "UNAUTHENTICATED", "Refused"),
    ] {
        next.store(code, Ordering::SeqCst);
        let outcome = rig.outcome(grpc(code as u64, action(billing.address, "Charge", BODY)));
        assert_eq!(note(&outcome), format!("{name}: not\\ntoday ✓"));
        assert!(format!("{outcome:?}").starts_with(kind), "{outcome:?}");
    }
}

#[test]
fn a_target_that_wants_a_pause_gets_it() {
    let count = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&count);
    let billing = Billing::start(Reflection::V1, move |_| {
        if counter.fetch_add(1, Ordering::SeqCst) > 0 {
            return Ok(Receipt::default());
        }
        let mut trailers = MetadataMap::new();
        trailers.insert("grpc-retry-pushback-ms", "3600000".parse().expect("a text"));
        Err(Status::with_metadata(Code::Unavailable, "busy", trailers))
    });
    let rig = rig();
    let outcome = rig.outcome(grpc(1, action(billing.address, "Charge", BODY)));
    assert_eq!(outcome, Outcome::Failed { note: "UNAVAILABLE: busy".to_owned() });
    rig.dispatcher.hand_over(vec![grpc(2, action(billing.address, "Charge", BODY))]);
    wait_until(|| rig.figures("t").throttled_since_ms.is_some());
    assert_eq!((rig.figures("t").queued, count.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn calls_have_credentials_and_are_signed_over_the_message() {
    let auth = folder(&[("token", "t0ken")]);
    let signing = folder(&[("secret", "a-key")]);
    let billing = Billing::good(Reflection::V1);
    let rig = Rig::new(vec![Target {
        auth: Some(Auth { folder: auth.path().into() }),
        signing: Some(SigningKey { folder: signing.path().into() }),
        ..Target::new("t")
    }]);
    rig.outcome(grpc(1, action(billing.address, "Charge", r#"{"customer": "c"}"#)));
    let [seen] = &billing.seen()[..] else { panic!("it was called once") };
    assert_eq!(seen.header("authorization"), "Bearer t0ken");
    // The field 1 with a text of one byte.
    assert!(is_signed_by(|name| seen.header(name).to_owned(), b"\x0a\x01c", b"a-key"));
}

#[test]
fn a_target_that_changes_its_messages_is_asked_again_only_after_a_while() {
    let billing = Billing::start(Reflection::V1, |_| Err(Status::invalid_argument("no")));
    let rig = rig();
    for number in 0..5 {
        rig.outcome(grpc(number, action(billing.address, "Charge", BODY)));
        rig.outcome(grpc(10 + number, action(billing.address, "Charge", r#"{"new": 1}"#)));
    }
    assert_eq!((billing.reflected(), billing.seen().len()), (3, 5));
}

#[test]
fn a_call_of_an_earlier_process_is_made_again_under_its_key() {
    let billing = Billing::good(Reflection::V1);
    let first = grpc(1, action(billing.address, "Charge", BODY));
    rig().outcome(first.clone());
    let again = Call { is_resumed: true, ..first };
    assert_eq!(rig().outcome(again), succeeded(r#"{"number":"R-7"}"#));
    let keys: Vec<String> =
        billing.seen().iter().map(|seen| seen.header("idempotency-key").to_owned()).collect();
    assert_eq!(keys, ["job-1", "job-1"]);
}

#[test]
fn an_address_that_is_not_of_the_target_is_refused() {
    let (own, other) = (Billing::good(Reflection::V1), Billing::good(Reflection::V1));
    let origin = format!("http://{}", own.address).parse().ok();
    let rig = Rig::new(vec![Target { origin, ..Target::new("t") }]);
    let outcome = rig.outcome(grpc(1, action(other.address, "Charge", BODY)));
    assert_eq!(outcome, refused("the address is not one of the target"));
    assert_eq!((other.seen().len(), other.reflected()), (0, 0));
}

#[test]
fn a_call_in_flight_is_cancelled() {
    let (entered, enter) = std::sync::mpsc::channel();
    let entered = std::sync::Mutex::new(entered);
    let billing = Billing::start(Reflection::V1, move |_| {
        entered.lock().expect("whole").send(()).expect("somebody waits");
        Err(Status::unavailable("never mind"))
    });
    // A target that hangs, after one that says what its methods are.
    let silent = hostile::silent();
    let rig = rig();
    rig.outcome(grpc(1, action(billing.address, "Charge", BODY)));
    enter.recv_timeout(DEADLINE).expect("it was called");
    rig.dispatcher.hand_over(vec![grpc(2, action(silent.address, "Charge", ""))]);
    wait_until(|| rig.figures("t").in_flight == 1);
    rig.dispatcher.cancel(run(2));
    assert_eq!(rig.wait_for(run(2)), Outcome::Cancelled);
}

#[test]
fn a_server_of_http_1_is_no_target() {
    let server = Server::saying(200, "hello");
    let address = server.uri("").trim_start_matches("http://").to_owned();
    for body in ["", BODY] {
        let outcome = called(&address, "Charge", body);
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    }
    // Nobody is there.
    let outcome = called("127.0.0.1:1", "Charge", "");
    assert!(note(&outcome).starts_with("failed to connect"), "{outcome:?}");
}

#[test]
fn a_target_that_takes_too_long_is_timed_out() {
    let silent = hostile::silent();
    let timeout = Duration::from_millis(300);
    let call = GrpcAction { timeout, ..action(silent.address, "Charge", "") };
    let outcome = rig().outcome(grpc(1, call));
    assert!(matches!(outcome, Outcome::TimedOut { .. }), "{outcome:?}");
    // Asked for its methods it was not called yet.
    let call = GrpcAction { timeout, ..action(silent.address, "Charge", BODY) };
    let outcome = rig().outcome(grpc(2, call));
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
}
