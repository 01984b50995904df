//! Jobs that run after others: told of each end once, in whichever partition they are.

use serde_json::{Value, json};

use crate::dispatch::server::{Server, answer};
use crate::harness::Stage;

fn job(url: &str, when: &Value) -> String {
    json!({"spec": {"when": when, "action": {"http": {"url": url}}}}).to_string()
}

fn after(leader: &str) -> Value {
    json!({"after": {"schedule": leader}})
}

const YEARLY: &str = "0 7 1 1 *";

#[test]
fn a_chain_runs_one_behind_the_other_and_is_proved() {
    let stage = Stage::new();
    let server = Server::saying(200, "");
    stage.put("/v1/jobs/a", &job(&server.uri("/a"), &json!({"cron": YEARLY}))).is(201);
    let names = ["a", "b", "c", "d", "e", "f"];
    for pair in names.windows(2) {
        let body = job(&server.uri(&format!("/{}", pair[1])), &after(pair[0]));
        stage.put(&format!("/v1/jobs/{}", pair[1]), &body).is(201);
    }
    assert_eq!(stage.get("/v1/jobs/b").is(200)["nextTimes"], json!([]));
    for _ in 0..3 {
        stage.post("/v1/jobs/a/run", "").is(202);
    }
    stage.until("all were called", || server.requests().len() == 18);
    let runs = |name: &str| stage.get(&format!("/v1/jobs/{name}/runs")).is(200)["runs"].clone();
    let nominals = |name: &str| {
        let runs = runs(name);
        let nominals = runs.as_array().unwrap().iter().map(|run| run["nominal"].clone());
        let mut nominals: Vec<String> = nominals.map(|at| at.to_string()).collect();
        nominals.sort();
        nominals
    };
    assert_eq!((nominals("f").len(), nominals("f")), (3, nominals("a")));
    assert_eq!(runs("f")[0]["cause"], "Dependency");
    let range = r#"{"from": "2026-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}"#;
    stage.until("all is decided and proved", || {
        let verdict = stage.post("/v1/verify", range).is(200);
        assert_eq!(verdict["isClean"], true, "{verdict}");
        verdict["expected"] == 15 && verdict["launched"] == 15 && verdict["pending"] == 0
    });
    let lines = stage.get("/v1/ledger?job=b").lines();
    let taken = lines.iter().find(|line| line["entry"] == "Taken").unwrap();
    let keys: Vec<Value> =
        runs("a").as_array().unwrap().iter().map(|run| run["key"].clone()).collect();
    assert!(keys.contains(&taken["leaderRun"]), "{taken}");
    assert_eq!(stage.get("/v1/jobs/a").is(200)["followers"], json!(["b"]));
    assert_eq!(stage.delete("/v1/jobs/b").status, 204);
    stage.until("it is forgotten", || stage.get("/v1/jobs/a").is(200)["followers"].is_null());
    assert!(stage.get("/v1/jobs/c").is(200)["note"].as_str().unwrap().contains("no job b"));
}

#[test]
fn a_job_follows_only_the_runs_it_is_to_follow() {
    let stage = Stage::new();
    let server = Server::start(|request, stream| {
        answer(stream, if request.path == "/a" { 500 } else { 200 }, &[], "")
    });
    stage.put("/v1/jobs/a", &job(&server.uri("/a"), &json!({"cron": YEARLY}))).is(201);
    for result in ["Succeeded", "Failed", "Finished"] {
        let when = json!({"after": {"schedule": "a", "result": result}});
        let body = job(&server.uri(&format!("/{result}")), &when);
        stage.put(&format!("/v1/jobs/{result}"), &body).is(201);
    }
    stage.post("/v1/jobs/a/run", "").is(202);
    stage.until("two followed", || server.requests().len() == 3);
    let mut paths: Vec<String> = server.requests().into_iter().map(|r| r.path).collect();
    paths.sort();
    assert_eq!(paths, ["/Failed", "/Finished", "/a"]);
}

#[test]
fn what_would_follow_itself_is_refused_and_what_follows_is_explained() {
    let stage = Stage::new();
    let url = "http://127.0.0.1:9/";
    let put = |name: &str, leader: &str| {
        stage.put(&format!("/v1/jobs/{name}"), &job(url, &after(leader)))
    };
    put("b", "a").is(201);
    put("c", "b").is(201);
    let problem = put("a", "c").refused(422, "InvalidSpec");
    assert!(problem["detail"].as_str().unwrap().contains("a after c after b after a"), "{problem}");
    put("a", "a").refused(422, "InvalidSpec");
    let line = |name: &str, leader: &str| {
        json!({"name": name, "spec": {"when": after(leader), "action": {"http": {"url": url}}}})
            .to_string()
    };
    let both = [line("x", "y"), line("y", "x")].join("\n");
    let lines = stage.call("POST", "/v1/jobs").ndjson(both).send();
    assert!(!lines.text().contains("created"), "{}", lines.text());
    let jitter = json!({"spec": {"when": after("b"), "jitterSeconds": 1,
        "action": {"http": {"url": url}}}});
    stage.put("/v1/jobs/j", &jitter.to_string()).refused(422, "InvalidSpec");
    let explained = stage.post("/v1/explain", &job(url, &after("b"))).is(200);
    assert_eq!(explained["text"], "after each run of b that succeeded");
    assert_eq!(explained["nextTimes"], json!([]));
    let mut change: Value = serde_json::from_str(&job(url, &after("a"))).unwrap();
    change["name"] = "c".into();
    let changed = stage.post("/v1/what-if", &change.to_string()).is(200);
    assert_eq!(changed["notes"], json!(["it runs after each run of a that succeeded"]));
    assert_eq!(stage.get("/v1/forecast").is(200)["following"], 2);
    stage
        .post(
            "/v1/jobs/b/backfill",
            r#"{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}"#,
        )
        .refused(422, "InvalidSpec");
}
