//! The ledger, line by line, and the proof.

use super::{YEARLY, line};
use crate::harness::Stage;

const ALL: &str = "from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z";

#[test]
fn entries_of_a_range_are_lines() {
    let stage = Stage::new();
    let lines: Vec<String> = (0..40).map(|n| line(&format!("job-{n}"))).collect();
    stage.call("POST", "/v1/jobs").ndjson(lines.join("\n")).send();
    for n in 0..40 {
        stage.post(&format!("/v1/jobs/job-{n}/run"), "").is(202);
    }
    let launched = || {
        let lines = stage.get(&format!("/v1/ledger?{ALL}")).lines();
        lines.iter().filter(|line| line["entry"] == "Launched").count()
    };
    assert_eq!(launched(), 40);
    let past = stage.get("/v1/ledger?from=2020-01-01T00:00:00Z&to=2021-01-01T00:00:00Z");
    assert_eq!((past.status, past.lines().len()), (200, 0));
    stage.get("/v1/ledger").refused(400, "MalformedRequest");
    stage.get(&format!("/v1/ledger?job=job-1&{ALL}")).refused(400, "MalformedRequest");
    stage.get("/v1/ledger?job=none").refused(404, "NoSuchJob");
    let backwards = "/v1/ledger?from=2021-01-01T00:00:00Z&to=2020-01-01T00:00:00Z";
    stage.get(backwards).refused(422, "InvalidSpec");
    stage.get("/v1/ledger?from=now&to=then").refused(422, "InvalidSpec");
}

#[test]
fn what_was_launched_is_verified() {
    let stage = Stage::new();
    let every = r#"{"spec": {"when": {"every": "1s"},
        "action": {"http": {"url": "http://127.0.0.1:9/run"}}}}"#;
    stage.put("/v1/jobs/a", every).is(201);
    stage.put("/v1/jobs/b", YEARLY).is(201);
    let range = r#"{"from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}"#;
    let verify = || stage.post("/v1/verify", range).is(200);
    stage.until("some were launched", || verify()["launched"].as_u64() >= Some(2));
    let verdict = verify();
    assert_eq!((&verdict["isClean"], &verdict["missed"]), (&true.into(), &0.into()), "{verdict}");
    assert_eq!((&verdict["duplicated"], &verdict["jobs"]), (&0.into(), &2.into()));
    stage.post("/v1/verify", r#"{"from": "2027-01-01T00:00:00Z"}"#).refused(422, "InvalidSpec");
    let backwards = r#"{"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}"#;
    stage.post("/v1/verify", backwards).refused(422, "InvalidSpec");
}
