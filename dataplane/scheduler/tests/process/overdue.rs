//! Somebody is told of overdue runs, whatever is killed or away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::engine::{Engine, now, until};
use crate::dispatch::server::{Request, Server, Then, answer};

const PATIENCE: Duration = Duration::from_secs(30);

/// An engine with a run that never ends, and tells `hook` that it is overdue.
fn engine(server: &Server) -> Engine {
    let address = server.uri("");
    let port = address.rsplit(':').next().expect("a port");
    let config = format!(
        "object: {{namespace: shop, name: jobs}}\n\
         targets: [{{name: all, host: 127.0.0.1, port: {port}}}]\n\
         overdue: {{target: all, path: /hook}}\n"
    );
    let mut engine = Engine::new(1, &config);
    engine.start();
    let at = jiff::Timestamp::from_second(now()).expect("a time").to_string();
    let http = json!({"target": "all", "path": "/work"});
    let spec = json!({"when": {"at": at}, "finishWithinSeconds": 1, "action": {"http": http}});
    let declared = engine.declare(&[("report".to_owned(), spec)]);
    assert!(declared.results.iter().all(|result| result.accepted), "{declared:?}");
    engine
}

/// What was told, in its order.
fn told(server: &Server) -> Vec<Request> {
    server.requests().into_iter().filter(|request| request.path == "/hook").collect()
}

/// Whether nothing is left to tell.
fn is_forgotten(engine: &Engine) -> bool {
    engine.partitions().iter().all(|(state, _)| state.notices().count() == 0)
}

/// A server that never ends work, and answers the first of those that tell with `first`.
fn server(first: &'static [u16]) -> Server {
    let count = Arc::<AtomicUsize>::default();
    Server::start(move |request, stream| {
        if request.path == "/work" {
            crate::dispatch::server::wait_for_close(stream);
            return Then::Close;
        }
        let number = count.fetch_add(1, Ordering::SeqCst);
        match first.get(number) {
            // It takes it, and never says so.
            Some(0) => {
                crate::dispatch::server::wait_for_close(stream);
                Then::Close
            }
            status => answer(stream, status.copied().unwrap_or(204), &[], ""),
        }
    })
}

#[test]
fn somebody_is_told_of_an_overdue_run_once() {
    let server = server(&[]);
    let mut engine = engine(&server);
    until(PATIENCE, "it was told", || !told(&server).is_empty());
    let request = told(&server).remove(0);
    let body: Value = serde_json::from_slice(&request.body).expect("it is JSON");
    let key = body["runKey"].as_str().expect("a text").to_owned();
    assert_eq!(request.method, "POST");
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("idempotency-key"), Some(&*format!("{key}.overdue")));
    assert_eq!(request.header("x-orrery-schedule"), Some("report"));
    for (field, value) in [
        ("type", json!("schedule.overdue")),
        ("schedule", json!("report")),
        ("namespace", json!("shop")),
        ("finishWithinSeconds", json!(1)),
    ] {
        assert_eq!(body[field], value, "{body}");
    }
    for field in ["nominal", "started"] {
        let moment = body[field].as_str().expect("a text").parse::<jiff::Timestamp>();
        assert!((now() - moment.expect("a moment").as_second()).abs() < 60, "{body}");
    }
    let (_, runs) = engine.get("/v1/jobs/report");
    assert!(runs.contains(&key), "{runs}");
    // Neither another process nor time tells it again. It ends in order: killed, it might not have taken
    // down yet that it was heard.
    engine.stop();
    assert!(is_forgotten(&engine));
    engine.start();
    until(PATIENCE, "its run goes on", || {
        server.requests().iter().filter(|request| request.path == "/work").count() >= 2
    });
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(told(&server).len(), 1);
}

#[test]
fn what_nobody_said_to_have_heard_is_told_again_by_the_next_process() {
    let server = server(&[0]);
    let mut engine = engine(&server);
    until(PATIENCE, "it was told", || told(&server).len() == 1);
    engine.kill();
    engine.start();
    until(PATIENCE, "it was told again", || told(&server).len() == 2);
    let told = told(&server);
    assert_eq!(told[0].header("idempotency-key"), told[1].header("idempotency-key"));
    assert_eq!(told[0].body, told[1].body);
}

#[test]
fn who_is_away_or_refuses_is_told_when_back() {
    let server = server(&[503, 404]);
    let mut engine = engine(&server);
    until(PATIENCE, "it was told", || told(&server).len() == 3);
    let attempts: Vec<_> = told(&server)
        .iter()
        .map(|request| request.header("x-orrery-attempt").map(str::to_owned))
        .collect();
    assert_eq!(attempts, ["1", "2", "3"].map(|attempt| Some(attempt.to_owned())));
    engine.stop();
    assert!(is_forgotten(&engine));
    assert_eq!(told(&server).len(), 3);
}
