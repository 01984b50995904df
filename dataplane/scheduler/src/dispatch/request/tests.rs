use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::dispatch::{Action, SuccessCodes, TargetName};
use crate::run::RunId;

fn action(headers: &[(&str, &str)]) -> HttpAction {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        map.append(name, value.parse().expect("a value"));
    }
    HttpAction {
        target: TargetName::named("t"),
        method: Method::POST,
        uri: Uri::from_static("http://host/run"),
        headers: map,
        body: Bytes::from_static(b"{}"),
        status_uri: None,
        success: SuccessCodes::default(),
        timeout: Duration::from_secs(1),
    }
}

fn call(attempt: u32) -> Call {
    Call {
        run: RunId { partition: 1, number: 7 },
        attempt,
        key: "billing.1767225600".into(),
        job: "facturación".into(),
        tenant: "a".into(),
        priority: 5,
        nominal: 1_767_225_600,
        planned_ms: 0,
        expires_ms: None,
        is_resumed: false,
        action: Arc::new(Action::Sink),
    }
}

#[test]
fn every_request_says_what_it_is() {
    let request = run(&call(2), &action(&[]), &Credentials::default(), 0);
    let headers = request.headers();
    assert_eq!(headers["idempotency-key"], "billing.1767225600");
    assert_eq!(headers["x-orrery-schedule"], "facturaci%C3%B3n");
    assert_eq!(headers["x-orrery-nominal"], "2026-01-01T00:00:00Z");
    assert_eq!(headers["x-orrery-attempt"], "2");
    assert!(headers["user-agent"].to_str().is_ok_and(|agent| agent.starts_with("orrery-")));
    assert!(!headers.contains_key("webhook-signature"));
}

#[test]
fn a_user_cannot_set_what_the_engine_or_the_connection_sets() {
    let own = ["Idempotency-Key", "X-Orrery-Attempt", "traceparent", "User-Agent", "webhook-id"];
    let wire = ["Host", "Content-Length", "Connection", "Transfer-Encoding", "TE", "Upgrade"];
    let mut headers = vec![("X-Mine", "1"), ("X-Mine", "2"), ("Authorization", "theirs")];
    headers.extend(own.iter().chain(&wire).map(|name| (*name, "forged")));
    let mut credentials = Credentials::default();
    let value = HeaderValue::from_static("ours");
    credentials.auth = Some((header::AUTHORIZATION, value));
    let request = run(&call(1), &action(&headers), &credentials, 0);
    assert!(request.headers().values().all(|value| value != "forged"));
    assert_eq!(request.headers().get_all("x-mine").iter().count(), 2);
    assert_eq!(request.headers().get_all("authorization").iter().count(), 1);
    assert_eq!(request.headers()["authorization"], "ours");
}

#[test]
fn attempts_of_a_run_are_spans_of_one_trace() {
    let parent = |attempt| {
        let value = traceparent(&call(attempt));
        value.to_str().expect("a text").split('-').map(str::to_owned).collect::<Vec<_>>()
    };
    let (one, two) = (parent(1), parent(2));
    assert_eq!(
        (one[0].as_str(), one[1].len(), one[2].len(), one[3].as_str()),
        ("00", 32, 16, "01")
    );
    assert_eq!(one[1], two[1]);
    assert_ne!(one[2], two[2]);
}

#[test]
fn credentials_go_to_their_own_server_only() {
    let credentials = Credentials {
        auth: Some((header::AUTHORIZATION, HeaderValue::from_static("ours"))),
        keys: sign::key("k").into_iter().collect(),
    };
    for (uri, is_theirs) in [("http://host/s", true), ("http://host:81/s", false)] {
        let request = ask(&call(1), &action(&[]), &uri.parse().expect("a URI"), &credentials, 9);
        assert_eq!(request.headers().contains_key("authorization"), is_theirs, "{uri}");
        assert_eq!(request.headers().contains_key("webhook-signature"), is_theirs, "{uri}");
        assert!(request.headers().contains_key("idempotency-key"));
    }
}

#[test]
fn ids_of_signatures_have_no_dots() {
    let credentials = Credentials { auth: None, keys: sign::key("k").into_iter().collect() };
    let request = run(&call(1), &action(&[]), &credentials, 1_767_225_601);
    assert_eq!(request.headers()["webhook-id"], "billing%2E1767225600");
    assert_eq!(request.headers()["webhook-timestamp"], "1767225601");
}
