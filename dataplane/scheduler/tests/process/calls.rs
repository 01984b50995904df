//! Methods called by gRPC by a process that is killed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use serde_json::json;

use super::engine::{Engine, now};
use crate::dispatch::grpc::billing::{Billing, Receipt, Reflection};

const PATIENCE: Duration = Duration::from_secs(30);

/// The process is killed while the target works on a call; the next one calls again, under the same key
/// and with the same message.
#[test]
fn a_call_whose_answer_was_lost_is_made_again_under_its_key() {
    let (entered, enter) = mpsc::sync_channel(10);
    let is_open = Arc::<AtomicBool>::default();
    let gate = Arc::clone(&is_open);
    let billing = Billing::start(Reflection::V1, move |_| {
        entered.send(()).expect("somebody waits");
        // Whoever called is killed meanwhile.
        while !gate.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Receipt { number: "R-7".to_owned() })
    });
    let port = billing.address.port();
    let targets = format!("targets: [{{name: billing, host: 127.0.0.1, port: {port}}}]\n");
    let mut engine = Engine::new(1, &targets);
    engine.start();
    let at = jiff::Timestamp::from_second(now()).expect("a time").to_string();
    let body = r#"{"customer": "c-1"}"#;
    let grpc = json!({"target": "billing", "method": "shop.Billing/Charge", "body": body});
    let job = ("charge".to_owned(), json!({"when": {"at": at}, "action": {"grpc": grpc}}));
    let answer = engine.declare(&[job]);
    assert!(answer.results.iter().all(|result| result.accepted), "{answer:?}");
    enter.recv_timeout(PATIENCE).expect("it was called");
    engine.kill();
    is_open.store(true, Ordering::Release);
    engine.start();
    enter.recv_timeout(PATIENCE).expect("it was called again");
    let runs = || engine.get("/v1/jobs/charge/runs").1;
    let until = std::time::Instant::now() + PATIENCE;
    while !runs().contains("Succeeded") {
        assert!(std::time::Instant::now() < until, "{}", runs());
        std::thread::sleep(Duration::from_millis(20));
    }
    let seen = billing.seen();
    let keys: Vec<&str> = seen.iter().map(|seen| seen.header("idempotency-key")).collect();
    assert_eq!((keys.len(), keys[0]), (2, keys[1]));
    assert!(seen.iter().all(|seen| seen.charge.customer == "c-1"), "{seen:?}");
    engine.stop();
}
