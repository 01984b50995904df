use super::*;
use http::StatusCode;

use super::super::super::answer::Answer;
use super::super::frames::{Frames, framed};

fn uri() -> Uri {
    "http://a/p.S/M".parse().expect("an address")
}

fn answer(trailers: &[(&'static str, &'static str)], messages: usize) -> GrpcAnswer {
    let mut frames = Frames::new(2, 100);
    (0..messages).for_each(|_| frames.take(&framed(b"x")));
    let trailers = trailers
        .iter()
        .map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value)));
    GrpcAnswer { trailers: trailers.collect(), frames, cut: None }
}

fn judged(trailers: &[(&'static str, &'static str)], messages: usize) -> Report {
    answer(trailers, messages).judge(&uri(), |bytes| String::from_utf8_lossy(bytes).into_owned())
}

#[test]
fn each_code_has_its_outcome() {
    for code in ["1", "2", "8", "10", "13", "14", "17", "99"] {
        let outcome = judged(&[("grpc-status", code)], 0).outcome;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{code}: {outcome:?}");
    }
    for code in ["3", "5", "6", "7", "9", "11", "12", "15", "16"] {
        let outcome = judged(&[("grpc-status", code)], 0).outcome;
        assert!(matches!(outcome, Outcome::Refused { .. }), "{code}: {outcome:?}");
    }
    assert!(matches!(judged(&[("grpc-status", "4")], 0).outcome, Outcome::TimedOut { .. }));
    let succeeded = Outcome::Succeeded { note: "x".to_owned() };
    assert_eq!(judged(&[("grpc-status", "0")], 1).outcome, succeeded);
    let note = "FAILED_PRECONDITION: no \\u{1b}[31m disk ✓".to_owned();
    let said = [("grpc-status", "9"), ("grpc-message", "no %1B[31m disk %E2%9C%93")];
    assert_eq!(judged(&said, 0).outcome, Outcome::Refused { note });
}

#[test]
fn an_answer_that_breaks_the_protocol_is_no_success() {
    for trailers in [&[][..], &[("grpc-status", "")], &[("grpc-status", "OK")]] {
        let outcome = judged(trailers, 1).outcome;
        assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    }
    assert!(matches!(judged(&[("grpc-status", "0")], 0).outcome, Outcome::Refused { .. }));
    let note = "p.S/M is a method that streams: only unary ones are called".to_owned();
    assert_eq!(judged(&[("grpc-status", "0")], 2).outcome, Outcome::Refused { note });
}

#[test]
fn a_pause_is_taken_from_trailers_and_details_and_bounded() {
    let pause = |code, name, value| judged(&[("grpc-status", code), (name, value)], 0).pause;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(pause("14", "grpc-retry-pushback-ms", "3000"), seconds(3));
    assert_eq!(pause("8", "grpc-retry-pushback-ms", "99999999999"), seconds(3600));
    assert_eq!(pause("13", "grpc-retry-pushback-ms", "3000"), None, "it asks for no pause");
    // Status { details: [Any { type_url: ".../google.rpc.RetryInfo", value: { retry_delay: 5 s } }] }
    let info = RetryInfo { retry_delay: Some(prost_types::Duration { seconds: 5, nanos: 0 }) };
    let any = prost_types::Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: info.encode_to_vec(),
    };
    let details = STANDARD_NO_PAD.encode(Status { details: vec![any] }.encode_to_vec());
    assert_eq!(pause("14", "grpc-status-details-bin", details.clone().leak()), seconds(5));
    assert_eq!(pause("14", "grpc-status-details-bin", "AAAA"), None);
    assert_eq!(pause("14", "grpc-status-details-bin", "no base64!"), None);
}

#[test]
fn a_target_that_wants_no_other_attempt_gets_none() {
    for text in ["-1", "soon", ""] {
        let report = judged(&[("grpc-status", "14"), ("grpc-retry-pushback-ms", text)], 0);
        assert!(matches!(report.outcome, Outcome::Refused { .. }), "{text}: {report:?}");
        assert_eq!(report.pause, None);
    }
}

#[test]
fn who_does_not_speak_grpc_is_judged_by_http() {
    let judged = |status: u16| {
        let status = StatusCode::from_u16(status).expect("a status code");
        let (headers, body) = (HeaderMap::new(), b"<html>".to_vec());
        Reply::Other(Answer { status, headers, body }).judge_alone(&uri()).outcome
    };
    for status in [200, 204, 408, 429, 500, 502, 503, 504] {
        assert!(matches!(judged(status), Outcome::Failed { .. }), "{status}");
    }
    for status in [301, 400, 401, 403, 404] {
        assert!(matches!(judged(status), Outcome::Refused { .. }), "{status}");
    }
    let note = "200 OK: <html>, and no answer of gRPC".to_owned();
    assert_eq!(judged(200), Outcome::Failed { note });
}
