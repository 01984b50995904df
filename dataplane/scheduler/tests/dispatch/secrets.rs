//! Credentials and signatures, verified as the target would.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orrery_scheduler::dispatch::{Auth, HttpAction, SigningKey, Target};
use orrery_scheduler::run::{Call, Outcome};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::rig::{Rig, http, named, note, succeeded, wait_until};
use super::server::{Request, Server, answer};

pub(super) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("writable");
    }
    folder
}

fn with_auth(folder: &TempDir) -> Target {
    Target { auth: Some(Auth { folder: folder.path().into() }), ..Target::new("t") }
}

fn with_signing(folder: &TempDir) -> Target {
    let signing = Some(SigningKey { folder: folder.path().into() });
    Target { signing, ..Target::new("t") }
}

/// HMAC by its definition (RFC 2104), with nothing of what the engine uses.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64, "no longer key in these tests");
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

/// Whether one of the signatures of a request is by this key, and its time is now.
fn is_signed(request: &Request, key: &[u8]) -> bool {
    let header = |name: &str| request.header(name).expect("it is signed").to_owned();
    is_signed_by(header, &request.body, key)
}

/// The same for headers and a body.
pub(super) fn is_signed_by(header: impl Fn(&str) -> String, body: &[u8], key: &[u8]) -> bool {
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let now = super::rig::now_ms() / 1_000;
    let age = now - time.parse::<i64>().expect("a number");
    assert!((0..300).contains(&age), "{age} s old");
    let mut message = format!("{id}.{time}.").into_bytes();
    message.extend_from_slice(body);
    let expected = format!("v1,{}", STANDARD.encode(hmac_sha256(key, &message)));
    header("webhook-signature").split(' ').any(|signature| signature == expected)
}

#[test]
fn requests_have_what_the_target_knows_the_engine_by() {
    for (files, name, value) in [
        (&[("token", "t0ken\n")][..], "authorization", "Bearer t0ken"),
        (&[("username", "a"), ("password", "b c")][..], "authorization", "Basic YTpiIGM="),
        (&[("header", "X-Api-Key"), ("value", "k")][..], "x-api-key", "k"),
    ] {
        let folder = folder(files);
        let server = Server::saying(200, "");
        let rig = Rig::new(vec![with_auth(&folder)]);
        let mut action = named("t", &server.uri("/"));
        let forged = http::HeaderValue::from_static("forged");
        action.headers.insert(http::header::AUTHORIZATION, forged.clone());
        action.headers.insert("x-api-key", forged);
        assert_eq!(rig.outcome(http(1, action)), succeeded(""));
        assert_eq!(server.requests()[0].header(name), Some(value));
    }
}

#[test]
fn a_secret_that_changes_is_read_again() {
    let folder = folder(&[("token", "old")]);
    let server = Server::start(|request, stream| {
        let is_new = request.header("authorization") == Some("Bearer new");
        answer(stream, 200, &[], if is_new { "new" } else { "old" })
    });
    let rig = Rig::new(vec![with_auth(&folder)]);
    assert_eq!(rig.outcome(http(0, named("t", &server.uri("/")))), succeeded("old"));
    // As a mounted Secret: exchanged as a whole.
    std::fs::write(folder.path().join("fresh"), "new").expect("writable");
    std::fs::rename(folder.path().join("fresh"), folder.path().join("token")).expect("same folder");
    let mut number = 0;
    wait_until(|| {
        number += 1;
        rig.outcome(http(number, named("t", &server.uri("/")))) == succeeded("new")
    });
}

#[test]
fn without_its_secret_a_target_is_not_called() {
    let folder = folder(&[]);
    let server = Server::saying(200, "");
    let rig = Rig::new(vec![with_auth(&folder)]);
    let late = Call { expires_ms: Some(i64::MAX), ..http(1, named("t", &server.uri("/"))) };
    let outcome = rig.outcome(late);
    assert!(matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    assert!(note(&outcome).contains("failed to find token"), "{outcome:?}");
    assert_eq!(server.requests().len(), 0);
    assert_eq!(rig.figures("t").in_flight, 0);
}

#[test]
fn signatures_are_those_of_the_specification() {
    let encoded = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let key = STANDARD.decode(&encoded[6..]).expect("base64");
    for (secret, key) in [(encoded, &key[..]), ("a plain text", &b"a plain text"[..])] {
        let folder = folder(&[("secret", secret)]);
        let server = Server::saying(200, "");
        let rig = Rig::new(vec![with_signing(&folder)]);
        assert_eq!(rig.outcome(http(1, named("t", &server.uri("/")))), succeeded(""));
        let request = server.requests().remove(0);
        assert!(is_signed(&request, key));
        assert!(!is_signed(&request, b"another key"));
        assert_eq!(request.header("webhook-id"), request.header("idempotency-key"));
        let mut forged = request;
        forged.body.push(b' ');
        assert!(!is_signed(&forged, key));
    }
}

#[test]
fn while_a_key_is_changed_both_sign() {
    let folder = folder(&[("secret", "new"), ("previous", "old")]);
    let server = Server::saying(200, "");
    let rig = Rig::new(vec![with_signing(&folder)]);
    assert_eq!(rig.outcome(http(1, named("t", &server.uri("/")))), succeeded(""));
    let request = server.requests().remove(0);
    assert!(is_signed(&request, b"new") && is_signed(&request, b"old"));
}

#[test]
fn nothing_shows_a_secret() {
    let folder = folder(&[("token", "hunter2")]);
    let target = with_auth(&folder);
    assert!(!format!("{target:?}").contains("hunter2"));
    let mut action: HttpAction = named("t", "http://127.0.0.1:1/?key=hunter2");
    action.headers.insert("x-api-key", http::HeaderValue::from_static("hunter2"));
    action.body = "hunter2".into();
    assert!(!format!("{:?}", http(1, action)).contains("hunter2"));
    let rig = Rig::new(vec![target]);
    let outcome = rig.outcome(http(1, named("t", "http://127.0.0.1:1/?key=hunter2")));
    assert!(!format!("{outcome:?} {:?}", rig.dispatcher).contains("hunter2"), "{outcome:?}");
}
