//! What lies ahead, and how the engine is.

use super::YEARLY;
use crate::harness::Stage;

#[test]
fn launches_to_come_are_foreseen() {
    let stage = Stage::new();
    let minutely = r#"{"spec": {"when": {"cron": "* * * * *"},
        "action": {"http": {"url": "http://127.0.0.1:9/run"}}}}"#;
    for name in ["a", "b", "c"] {
        stage.put(&format!("/v1/jobs/{name}"), minutely).is(201);
    }
    let hour = "from=2100-01-01T00:00:00Z&to=2100-01-01T01:00:00Z";
    let seen = stage.get(&format!("/v1/forecast?{hour}&step=600")).is(200);
    assert_eq!(seen["launches"], serde_json::json!([30, 30, 30, 30, 30, 30]));
    assert_eq!((&seen["most"], &seen["stepSeconds"]), (&30.into(), &600.into()));
    let other = stage.get(&format!("/v1/forecast?{hour}&step=600&target=billing")).is(200);
    assert_eq!(other["most"], 0);
    assert_eq!(stage.get("/v1/forecast").is(200)["launches"].as_array().unwrap().len(), 60);
    stage.get(&format!("/v1/forecast?{hour}&step=0")).refused(422, "InvalidSpec");
    let century = "from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z";
    stage.get(&format!("/v1/forecast?{century}&step=1")).refused(422, "InvalidSpec");
    stage.get("/v1/forecast?from=now").refused(422, "InvalidSpec");
}

#[test]
fn the_next_runs_are_named_in_their_order() {
    let stage = Stage::new();
    stage.put("/v1/jobs/far", YEARLY).is(201);
    let near = r#"{"spec": {"when": {"cron": "0 0 * * *"},
        "action": {"http": {"url": "http://127.0.0.1:9/run"}}}}"#;
    stage.put("/v1/jobs/near", near).is(201);
    let runs = stage.get("/v1/upcoming").is(200)["runs"].clone();
    assert_eq!((&runs[0]["job"], &runs[1]["job"]), (&"near".into(), &"far".into()));
    assert_eq!(runs[0]["target"], "http://127.0.0.1:9");
    assert_eq!(stage.get("/v1/upcoming?limit=1").is(200)["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn the_engine_says_how_it_is() {
    let stage = Stage::new();
    stage.put("/v1/jobs/a", YEARLY).is(201);
    stage.until("it is counted", || stage.get("/v1/status").is(200)["jobs"] == 1);
    let status = stage.get("/v1/status").is(200);
    assert_eq!((&status["ready"], &status["dkronCompat"]), (&true.into(), &false.into()));
    assert_eq!(status["partitions"].as_array().unwrap().len(), 4);
    assert_eq!(status["lateness"]["buckets"].as_array().unwrap().len(), 15);
}
