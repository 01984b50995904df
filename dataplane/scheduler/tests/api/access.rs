//! Who is let in, and what is too much.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::YEARLY;
use crate::harness::{Call, PATIENCE, Stage, config};

#[test]
fn with_a_token_nothing_is_told_to_those_who_do_not_show_it() {
    let stage = Stage::with(&config(), Some("a-long-token"));
    for path in ["/v1/jobs", "/v1/status", "/v1/openapi.json", "/v1/nothing", "/nothing"] {
        let bare = Call::new(stage.address, "GET", path);
        let refused = bare.send();
        refused.refused(401, "Unauthorized");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
        let wrong = Call::new(stage.address, "GET", path).header("Authorization", "Bearer other");
        wrong.send().refused(401, "Unauthorized");
    }
    assert_eq!(Call::new(stage.address, "GET", "/healthz").send().status, 200);
    stage.get("/v1/jobs").is(200);
    // Without Dkron's routes, its header is nothing.
    let of_dkron = Call::new(stage.address, "GET", "/v1/jobs");
    of_dkron.header("X-Dkron-Token", "a-long-token").send().refused(401, "Unauthorized");
}

#[test]
fn without_a_token_pages_and_names_of_others_are_not_served() {
    let stage = Stage::new();
    stage.get("/v1/jobs").is(200);
    let call = || stage.call("GET", "/v1/jobs");
    call().header("Host", "evil.example:8080").send().refused(403, "Forbidden");
    call().header("Origin", "http://evil.example").send().refused(403, "Forbidden");
    call().header("Origin", "null").send().refused(403, "Forbidden");
    call().header("Origin", &format!("http://{}", stage.address)).send().is(200);
    call().header("Host", "localhost").send().is(200);
}

#[test]
fn what_is_not_there_is_a_problem_too() {
    let stage = Stage::new();
    stage.get("/v2/jobs").refused(404, "NoSuchRoute");
    stage.post("/v1/status", "{}").refused(405, "NoSuchMethod");
    let problem = stage.get("/v1/jobs/none").refused(404, "NoSuchJob");
    assert_eq!(
        (&problem["job"], &problem["detail"]),
        (&"none".into(), &"there is no job none".into())
    );
    stage.get("/v1/jobs/%ff").refused(400, "MalformedRequest");
    stage.get("/v1/jobs?limit=many").refused(400, "MalformedRequest");
    stage.get("/v1/jobs?limti=3").refused(400, "MalformedRequest");
    let answer = stage.get("/v1/jobs");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let stage = Stage::new();
    let call = stage.call("PUT", "/v1/jobs/a").json("{").length((1 << 20) + 1);
    call.send().refused(413, "TooLarge");
    let call = stage.call("POST", "/v1/jobs").ndjson("").length((16 << 20) + 1);
    call.send().refused(413, "TooLarge");
    // One that does not say how long it is, is read up to there.
    let mut stream = TcpStream::connect(stage.address).unwrap();
    let head = "PUT /v1/jobs/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = vec![b' '; 64 << 10];
    for _ in 0..17 {
        if stream.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).is_err() {
            break;
        }
        _ = stream.write_all(&chunk);
        _ = stream.write_all(b"\r\n");
    }
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 413");
    assert_eq!(stage.put("/v1/jobs/a", YEARLY).status, 201);
}

#[test]
#[ignore = "it takes half a minute"]
fn a_peer_that_says_nothing_or_little_is_let_go() {
    let stage = Stage::new();
    let patience = Some(2 * PATIENCE);
    let mut silent = TcpStream::connect(stage.address).unwrap();
    let mut slow = TcpStream::connect(stage.address).unwrap();
    slow.write_all(b"GET /v1/jobs HTTP/1.1\r\nHost: loc").unwrap();
    // One that was answered may ask again, but not for ever.
    let mut idle = TcpStream::connect(stage.address).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for stream in [&mut silent, &mut slow, &mut idle] {
        stream.set_read_timeout(patience).unwrap();
        let mut bytes = vec![];
        stream.read_to_end(&mut bytes).unwrap();
    }
    stage.get("/v1/jobs").is(200);
}
