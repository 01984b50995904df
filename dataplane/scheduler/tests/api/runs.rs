//! Runs: begun by hand, for the past, cancelled, and found again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orrery_api::scheduler::{History, SchedulerConfig};

use super::yearly_with;
use crate::dispatch::server::{Server, Then, answer};
use crate::harness::Stage;

#[test]
fn a_history_shows_as_many_runs_as_it_keeps_and_the_proof_has_them_all() {
    let config = SchedulerConfig {
        history: History { keep_runs: 3, ..History::default() },
        ..crate::harness::config()
    };
    let stage = Stage::with(&config, None);
    let (server, url) = target(200);
    let kept = |more: &str| job(&url, r#"{"cron": "0 7 * * *"}"#).replace(r#""action""#, more);
    stage.put("/v1/jobs/a", &kept(r#""action""#)).is(201);
    stage.put("/v1/jobs/b", &kept(r#""history": {"keepRuns": 1}, "action""#)).is(201);
    stage.put("/v1/jobs/c", &kept(r#""history": {"keepRuns": 0}, "action""#)).is(201);
    let bad = kept(r#""history": {"keepRuns": -1}, "action""#);
    stage.put("/v1/jobs/d", &bad).refused(422, "InvalidSpec");
    let range = r#"{"from": "2026-01-01T00:00:00Z", "to": "2026-01-05T23:59:59Z"}"#;
    for name in ["a", "b", "c"] {
        assert_eq!(stage.post(&format!("/v1/jobs/{name}/backfill"), range).is(202)["runs"], 5);
    }
    stage.until("all were called", || server.requests().len() == 15);
    let nominals = |name: &str| {
        let runs = stage.get(&format!("/v1/jobs/{name}/runs")).is(200)["runs"].clone();
        let runs = runs.as_array().unwrap().iter();
        runs.map(|run| run["nominal"].as_str().unwrap()[..10].to_owned()).collect::<Vec<_>>()
    };
    stage.until("all are over", || nominals("c").is_empty());
    stage.until("the newest are shown", || {
        nominals("a") == ["2026-01-05", "2026-01-04", "2026-01-03"]
    });
    assert_eq!(nominals("b"), ["2026-01-05"]);
    let launched = |name: &str| {
        let lines = stage.get(&format!("/v1/ledger?job={name}")).lines();
        lines.iter().filter(|line| line["entry"] == "Launched").count()
    };
    assert_eq!((launched("a"), launched("b"), launched("c")), (5, 5, 5));
}

#[test]
fn failed_runs_are_shown_beside_those_that_succeeded_after_them() {
    let stage = Stage::new();
    let fails = Arc::new(AtomicBool::new(true));
    let server = Server::start({
        let fails = Arc::clone(&fails);
        move |_, stream| {
            answer(stream, if fails.load(Ordering::Acquire) { 500 } else { 200 }, &[], "")
        }
    });
    let history = r#""history": {"keepRuns": 2, "keepFailedRuns": 1}, "action""#;
    let body = job(&server.uri("/"), r#"{"cron": "0 7 1 1 *"}"#).replace(r#""action""#, history);
    stage.put("/v1/jobs/a", &body).is(201);
    let results = || {
        let runs = stage.get("/v1/jobs/a/runs").is(200)["runs"].clone();
        let runs = runs.as_array().unwrap().iter();
        runs.map(|run| run["result"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let run = |wanted: &str| {
        stage.post("/v1/jobs/a/run", "").is(202);
        let is_over = || stage.get("/v1/jobs/a").is(200)["running"] == serde_json::json!([]);
        stage.until("it is over", is_over);
        assert_eq!(results()[0], wanted);
    };
    run("Failed");
    run("Failed");
    fails.store(false, Ordering::Release);
    (0..3).for_each(|_| run("Succeeded"));
    assert_eq!(results(), ["Succeeded", "Succeeded", "Failed"]);
}

/// A target that answers with this status.
fn target(status: u16) -> (Server, String) {
    let server = Server::saying(status, "");
    let url = server.uri("/run");
    (server, url)
}

fn job(url: &str, when: &str) -> String {
    format!(r#"{{"spec": {{"when": {when}, "action": {{"http": {{"url": "{url}"}}}}}}}}"#)
}

#[test]
fn a_run_begun_by_hand_is_told_of_when_it_is_over() {
    let stage = Stage::new();
    let (_server, url) = target(200);
    stage.put("/v1/jobs/a", &job(&url, r#"{"cron": "0 7 1 1 *"}"#)).is(201);
    let run = stage.post("/v1/jobs/a/run", "").is(202)["run"].as_str().unwrap().to_owned();
    let runs = || stage.get("/v1/jobs/a/runs").is(200)["runs"].clone();
    stage.until("it succeeded", || runs()[0]["result"] == "Succeeded");
    let runs = runs();
    assert_eq!((&runs[0]["key"], &runs[0]["cause"]), (&run.clone().into(), &"Manual".into()));
    assert_eq!(stage.get("/v1/jobs/a").is(200)["lastRun"]["result"], "Succeeded");
    let lines = stage.get("/v1/ledger?job=a").lines();
    assert_eq!((&lines[0]["entry"], &lines[1]["entry"]), (&"Ended".into(), &"Launched".into()));
    assert_eq!(lines[0]["run"], run);
    stage.post(&format!("/v1/runs/{run}/cancel"), "").refused(404, "NoSuchRun");
    stage.get("/v1/jobs/b/runs").refused(404, "NoSuchJob");
}

#[test]
fn runs_that_failed_are_listed() {
    let stage = Stage::new();
    let (_server, url) = target(500);
    stage.put("/v1/jobs/a", &job(&url, r#"{"cron": "0 7 1 1 *"}"#)).is(201);
    stage.post("/v1/jobs/a/run", "").is(202);
    let failed = || stage.get("/v1/runs?state=failed").is(200)["runs"].clone();
    stage.until("it failed", || failed()[0]["result"] == "Failed");
    assert_eq!(failed()[0]["job"], "a");
    assert_eq!(stage.get("/v1/jobs?state=failing").is(200)["total"], 1);
    assert_eq!(stage.get("/v1/runs?state=late").is(200)["runs"].as_array().unwrap().len(), 0);
    stage.get("/v1/runs").refused(400, "MalformedRequest");
}

#[test]
fn the_past_is_made_up_for_when_asked() {
    let stage = Stage::new();
    let (server, url) = target(200);
    stage.put("/v1/jobs/a", &job(&url, r#"{"cron": "0 7 * * *"}"#)).is(201);
    let range = r#"{"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T23:59:59Z"}"#;
    assert_eq!(stage.post("/v1/jobs/a/backfill", range).is(202)["runs"], 3);
    stage.until("all were called", || server.requests().len() == 3);
    let runs = stage.get("/v1/jobs/a/runs?limit=2").is(200)["runs"].clone();
    assert_eq!(runs.as_array().unwrap().len(), 2);
    assert_eq!(
        (&runs[0]["nominal"], &runs[0]["cause"]),
        (&"2026-01-03T07:00:00Z".into(), &"Backfill".into())
    );
    let backwards = r#"{"from": "2026-01-03T00:00:00Z", "to": "2026-01-01T00:00:00Z"}"#;
    stage.post("/v1/jobs/a/backfill", backwards).refused(422, "InvalidSpec");
    let much = r#"{"from": "2000-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}"#;
    stage.post("/v1/jobs/a/backfill", much).refused(422, "InvalidSpec");
    stage.post("/v1/jobs/a/backfill", r#"{"from": "2026-01-01"}"#).refused(422, "InvalidSpec");
    stage.post("/v1/jobs/b/backfill", range).refused(404, "NoSuchJob");
}

#[test]
fn a_run_is_cancelled_by_its_key_and_by_no_other() {
    let stage = Stage::new();
    let is_over = Arc::new(AtomicBool::new(false));
    let server = Server::start({
        let is_over = Arc::clone(&is_over);
        move |_, _| {
            while !is_over.load(Ordering::Acquire) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            Then::Close
        }
    });
    let url = server.uri("/run");
    stage.put("/v1/jobs/a", &job(&url, r#"{"cron": "0 7 1 1 *"}"#)).is(201);
    let run = stage.post("/v1/jobs/a/run", "").is(202)["run"].as_str().unwrap().to_owned();
    assert_eq!(stage.get("/v1/jobs/a").is(200)["running"][0], run);
    assert_eq!(stage.get("/v1/jobs?state=running").is(200)["total"], 1);
    let other = run.replacen("test", "other", 1);
    stage.post(&format!("/v1/runs/{other}/cancel"), "").refused(404, "NoSuchRun");
    stage.post("/v1/runs/nonsense/cancel", "").refused(404, "NoSuchRun");
    stage.post("/v1/runs/test.default_9999_1/cancel", "").refused(404, "NoSuchRun");
    assert_eq!(stage.post(&format!("/v1/runs/{run}/cancel"), "").status, 202);
    let result = || stage.get("/v1/jobs/a/runs").is(200)["runs"][0]["result"].clone();
    stage.until("it is cancelled", || result() == "Cancelled");
    is_over.store(true, Ordering::Release);
}

#[test]
fn a_run_that_may_not_overlap_says_that_it_did_not_begin() {
    let stage = Stage::new();
    let server = Server::start(|_, _| {
        std::thread::sleep(std::time::Duration::from_millis(300));
        Then::Close
    });
    let url = server.uri("/run");
    let body = yearly_with(r#""concurrency": "Forbid""#).replace("http://127.0.0.1:9/run", &url);
    stage.put("/v1/jobs/a", &body).is(201);
    assert!(stage.post("/v1/jobs/a/run", "").is(202)["run"].is_string());
    assert!(stage.post("/v1/jobs/a/run", "").is(202)["run"].is_null());
}
