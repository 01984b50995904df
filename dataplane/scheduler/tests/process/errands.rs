//! Runs that the operator carries out: told as errands, once and under one key, whatever is killed.

use std::time::Duration;

use orrery_operand::v1::{Errand, SettleRequest, Standing};
use serde_json::{Value, json};

use super::engine::{Engine, now, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// A job that is due once, now.
fn once(more: &Value) -> Vec<(String, Value)> {
    let at = jiff::Timestamp::from_second(now()).expect("a time").to_string();
    vec![("report".to_owned(), spec(&json!({ "at": at }), more))]
}

fn spec(when: &Value, more: &Value) -> Value {
    let mut spec = json!({"when": when, "action": {"kubernetesJob": {"jobTemplate": {}}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

fn settle(errand: &Errand, standing: Standing) -> SettleRequest {
    SettleRequest {
        key: errand.key.clone(),
        attempt: errand.attempt,
        standing: standing.into(),
        message: "said so".to_owned(),
    }
}

/// The errands that are open, as a new stream tells them.
fn open(engine: &Engine) -> Vec<Errand> {
    let client = engine.client();
    engine.block_on(async {
        let mut stream = client.errands().await.expect("it tells");
        let mut all = Vec::new();
        loop {
            let message = stream.next().await.expect("it goes on");
            all.extend(message.errands);
            if message.complete {
                return all;
            }
        }
    })
}

fn one(engine: &Engine) -> Errand {
    until(PATIENCE, "an errand is open", || open(engine).len() == 1);
    open(engine).remove(0)
}

fn last_result(engine: &Engine, jobs: &[(String, Value)]) -> Value {
    let answer = engine.declare(jobs);
    assert!(answer.results[0].accepted, "{answer:?}");
    let state: Value = serde_json::from_slice(&answer.results[0].state).expect("a state");
    state["lastRun"]["result"].clone()
}

#[test]
fn an_errand_outlives_kill_9_under_its_key_and_says_that_it_was_begun() {
    let mut engine = Engine::new(2, "object: {namespace: shop, name: default}\n");
    engine.start();
    let jobs = once(&json!({}));
    engine.declare(&jobs);
    let told = one(&engine);
    assert_eq!((told.namespace.as_str(), told.name.as_str()), ("shop", "report"));
    assert_eq!((told.attempt, told.started, told.cancel), (1, false, false));
    assert!(told.key.starts_with("shop_default_"), "{told:?}");
    for _ in 0..2 {
        engine.kill();
        engine.start();
        assert_eq!(one(&engine), told, "nobody settled it, so nothing of it changed");
    }
    engine.settle(settle(&told, Standing::Started));
    assert_eq!(last_result(&engine, &jobs), "Running");
    engine.kill();
    engine.start();
    let begun = one(&engine);
    assert_eq!(begun, Errand { started: true, ..told.clone() });
    engine.settle(settle(&told, Standing::Succeeded));
    engine.settle(settle(&told, Standing::Succeeded));
    assert!(open(&engine).is_empty());
    assert_eq!(last_result(&engine, &jobs), "Succeeded");
    engine.kill();
    engine.start();
    assert!(open(&engine).is_empty(), "settled for good");
    engine.settle(settle(&told, Standing::Failed));
    assert_eq!(last_result(&engine, &jobs), "Succeeded", "the first word counts");
}

#[test]
fn a_failed_errand_is_tried_again_as_another_one_and_a_refused_one_is_not() {
    let mut engine = Engine::new(1, "");
    engine.start();
    let retry = json!({"retry": {"maxAttempts": 3, "backoffSeconds": 0}});
    let jobs = once(&retry);
    engine.declare(&jobs);
    let first = one(&engine);
    engine.settle(settle(&first, Standing::Failed));
    until(PATIENCE, "the second attempt is open", || open(&engine).iter().any(|e| e.attempt == 2));
    let second = one(&engine);
    assert_eq!((second.key.as_str(), second.attempt), (first.key.as_str(), 2));
    // A word about an attempt that is over is no word about the next.
    engine.settle(settle(&first, Standing::Succeeded));
    assert_eq!(one(&engine), second);
    engine.settle(settle(&second, Standing::Refused));
    assert!(open(&engine).is_empty());
    assert_eq!(last_result(&engine, &jobs), "Refused");
}

#[test]
fn a_run_that_another_takes_the_place_of_is_taken_back_until_somebody_says_that_it_is_over() {
    let mut engine = Engine::new(1, "");
    engine.start();
    let jobs = vec![(
        "report".to_owned(),
        spec(&json!({"every": "1s"}), &json!({"concurrency": "Replace"})),
    )];
    engine.declare(&jobs);
    until(PATIENCE, "two are told", || open(&engine).len() >= 2);
    let all = open(&engine);
    let kept: Vec<&Errand> = all.iter().filter(|errand| !errand.cancel).collect();
    assert_eq!(kept.len(), 1, "{all:?}");
    let taken_back = all.iter().find(|errand| errand.cancel).expect("the first");
    engine.settle(settle(taken_back, Standing::Cancelled));
    assert!(!open(&engine).iter().any(|errand| errand.key == taken_back.key));
    engine.stop();
}

#[test]
fn an_end_in_order_waits_for_no_errand_and_a_key_of_another_engine_settles_nothing() {
    let mut engine = Engine::new(1, "");
    engine.start();
    engine.declare(&once(&json!({})));
    let told = one(&engine);
    let other = Errand { key: format!("x{}", told.key), ..told.clone() };
    engine.settle(settle(&other, Standing::Succeeded));
    let nonsense = Errand { key: "nonsense".to_owned(), ..told.clone() };
    engine.settle(settle(&nonsense, Standing::Succeeded));
    assert_eq!(one(&engine), told);
    engine.stop();
    engine.start();
    assert_eq!(one(&engine), told);
}
