//! One-shots.

use serde_json::json;

use crate::harness::Stage;

const ACTION: &str = r#""action": {"http": {"url": "http://127.0.0.1:9/run"}}"#;

#[test]
fn a_one_shot_has_one_moment_and_gets_a_name() {
    let stage = Stage::new();
    let made = stage.post("/v1/once", &format!(r#"{{"delaySeconds": 3600, {ACTION}}}"#)).is(201);
    let name = made["name"].as_str().unwrap();
    assert!(name.starts_with("once-") && name.len() == 37, "{name}");
    let job = stage.get(&format!("/v1/jobs/{name}")).is(200);
    assert_eq!(job["nextTimes"], json!([made["at"]]));
    let named =
        format!(r#"{{"name": "mine", "at": "2150-01-01T00:00:00Z", "priority": 7, {ACTION}}}"#);
    assert_eq!(stage.post("/v1/once", &named).is(201)["at"], "2150-01-01T00:00:00Z");
    assert_eq!(stage.post("/v1/once", &named).is(200)["result"], "same");
    assert_eq!(stage.get("/v1/jobs/mine").is(200)["spec"]["priority"], 7);
    let moved = named.replace("2150", "2151");
    assert_eq!(stage.post("/v1/once", &moved).is(200)["result"], "changed");
}

#[test]
fn the_same_idempotency_key_makes_one_job() {
    let stage = Stage::new();
    let post = |delay: u32, key: &str| {
        let body = format!(r#"{{"delaySeconds": {delay}, {ACTION}}}"#);
        stage.call("POST", "/v1/once").header("Idempotency-Key", key).json(&body).send()
    };
    let made = post(100, "order-7").is(201);
    let again = post(200, "order-7").is(200);
    assert_eq!((&again["name"], &again["result"]), (&made["name"], &json!("same")));
    assert_ne!(post(100, "order-8").is(201)["name"], made["name"]);
    assert_eq!(stage.get("/v1/jobs").is(200)["total"], 2);
    post(100, &"k".repeat(256)).refused(400, "MalformedRequest");
}

#[test]
fn a_one_shot_without_a_moment_to_come_is_refused() {
    let stage = Stage::new();
    let refused = |fields: &str, reason: &str| {
        stage.post("/v1/once", &format!("{{{fields}}}")).refused(422, reason);
    };
    refused(ACTION, "InvalidSpec");
    refused(
        &format!(r#""at": "2150-01-01T00:00:00Z", "delaySeconds": 1, {ACTION}"#),
        "InvalidSpec",
    );
    refused(&format!(r#""at": "2001-01-01T00:00:00Z", {ACTION}"#), "NeverFires");
    refused(&format!(r#""at": "tomorrow", {ACTION}"#), "InvalidSpec");
    refused(&format!(r#""delaySeconds": -1, {ACTION}"#), "InvalidSpec");
    refused(&format!(r#""delaySeconds": 1, "cron": "* * * * *", {ACTION}"#), "InvalidSpec");
    refused(r#""delaySeconds": 1"#, "InvalidSpec");
}
