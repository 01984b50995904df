//! Single jobs.

use orrery_operand::v1::{DeclaredObject, SyncRequest};
use serde_json::json;

use super::{YEARLY, yearly_with};
use crate::harness::{Stage, config};

#[test]
fn a_job_of_the_cluster_is_for_objects_alone() {
    let stage = Stage::new();
    let spec =
        r#"{"when": {"cron": "0 7 * * *"}, "action": {"kubernetesJob": {"jobTemplate": {}}}}"#;
    let answer = stage.put("/v1/jobs/a", &format!(r#"{{"spec": {spec}}}"#));
    answer.refused(422, "InvalidSpec");
}

#[test]
fn a_job_is_made_changed_looked_at_and_removed() {
    let stage = Stage::new();
    let made = stage.put("/v1/jobs/a", YEARLY).is(201);
    assert_eq!(made, json!({"name": "a", "revision": 1, "result": "created"}));
    assert_eq!(stage.put("/v1/jobs/a", YEARLY).is(200)["result"], "same");
    let changed = stage.put("/v1/jobs/a", &yearly_with(r#""priority": 9"#)).is(200);
    assert_eq!(changed, json!({"name": "a", "revision": 2, "result": "changed"}));
    let job = stage.get("/v1/jobs/a").is(200);
    assert_eq!((&job["revision"], &job["spec"]["priority"]), (&2.into(), &9.into()));
    assert_eq!(job["nextTimes"].as_array().unwrap().len(), 3);
    assert_eq!(stage.delete("/v1/jobs/a").status, 204);
    stage.delete("/v1/jobs/a").refused(404, "NoSuchJob");
    stage.get("/v1/jobs/a").refused(404, "NoSuchJob");
}

#[test]
fn what_cannot_be_a_job_is_refused_with_its_reason() {
    let stage = Stage::new();
    let when = |when: &str| {
        let url = "http://127.0.0.1:9/";
        let body =
            format!(r#"{{"spec": {{"when": {when}, "action": {{"http": {{"url": "{url}"}}}}}}}}"#);
        stage.put("/v1/jobs/a", &body)
    };
    let problem = when(r#"{"cron": "0 25 * * *"}"#).refused(422, "InvalidExpression");
    assert_eq!((&problem["position"], &problem["job"]), (&2.into(), &"a".into()));
    when(r#"{"cron": "0 0 31 2 *"}"#).refused(422, "NeverFires");
    when(r#"{"at": "2001-01-01T00:00:00Z"}"#).refused(422, "NeverFires");
    let problem = when(r#"{"cron": "0 7 * * *", "timeZone": "Europe/Pariss"}"#);
    let problem = problem.refused(422, "UnknownTimeZone");
    assert!(problem["detail"].as_str().unwrap().contains("Europe/Paris"), "{problem}");
    when(r#"{"after": {"schedule": "a"}}"#).refused(422, "InvalidSpec");
    when(r#"{"cron": "0 7 * * *", "every": "5m"}"#).refused(422, "InvalidSpec");
    when(r#"{"every": "5m", "dialect": "Quartz"}"#).refused(422, "InvalidSpec");
    when("{}").refused(422, "InvalidSpec");
    let action = |action: &str| {
        let body = format!(r#"{{"spec": {{"when": {{"every": "5m"}}, "action": {action}}}}}"#);
        stage.put("/v1/jobs/a", &body)
    };
    action(r#"{"http": {"target": "billing"}}"#).refused(422, "TargetMissing");
    action(r#"{"http": {"url": "ftp://a/"}}"#).refused(422, "InvalidSpec");
    action(r#"{"http": {"url": "http://a/", "target": "b"}}"#).refused(422, "InvalidSpec");
    action("{}").refused(422, "InvalidSpec");
    action(r#"{"taskQueue": {"queue": "q", "jobtype": "t"}}"#).refused(422, "NotYetSupported");
    for field in [
        r#""priority": 10"#,
        r#""jitterSeconds": -1"#,
        r#""retry": {"maxAttempts": 0}"#,
        r#""calendars": {"exclude": [{"name": "holidays"}]}"#,
        r#""start": "2027-02-01T00:00:00Z", "end": "2027-01-01T00:00:00Z""#,
    ] {
        stage.put("/v1/jobs/a", &yearly_with(field)).refused(422, "InvalidSpec");
    }
    stage.put("/v1/jobs/no%20name", YEARLY).refused(422, "InvalidSpec");
    stage.get("/v1/jobs/a").refused(404, "NoSuchJob");
}

#[test]
fn words_that_nobody_knows_are_not_passed_over() {
    let stage = Stage::new();
    let problem = stage.put("/v1/jobs/a", &yearly_with(r#""cocurrency": "Forbid""#));
    let problem = problem.refused(422, "InvalidSpec");
    assert_eq!(problem["detail"], "unknown field spec.cocurrency");
    let problem = stage.put("/v1/jobs/a", r#"{"spec": {}, "name": "b"}"#);
    problem.refused(422, "InvalidSpec");
    stage.put("/v1/jobs/a", r#"{"spec": "#).refused(400, "MalformedRequest");
    stage.put("/v1/jobs/a", &format!("{YEARLY} x")).refused(400, "MalformedRequest");
    stage.put("/v1/jobs/a", &"[".repeat(100_000)).refused(422, "InvalidSpec");
    stage.post("/v1/jobs/a/run", r#"{"when": "now"}"#).refused(422, "InvalidSpec");
}

#[test]
fn jobs_are_listed_by_name_page_by_page() {
    let stage = Stage::new();
    for name in ["b.2", "a.1", "a.3", "a.2", "b.1"] {
        let tenant = yearly_with(&format!(r#""tenant": "{}""#, &name[..1]));
        stage.put(&format!("/v1/jobs/{name}"), &tenant).is(201);
    }
    let names = |path: &str| {
        let page = stage.get(path).is(200);
        let names: Vec<String> = page["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["name"].as_str().unwrap().to_owned())
            .collect();
        (names.join(" "), page["next"].as_str().unwrap_or("").to_owned(), page["total"].clone())
    };
    let all = |names: &str, next: &str, total: u64| (names.into(), next.into(), total.into());
    assert_eq!(names("/v1/jobs"), all("a.1 a.2 a.3 b.1 b.2", "", 5));
    assert_eq!(names("/v1/jobs?limit=2"), all("a.1 a.2", "a.2", 5));
    assert_eq!(names("/v1/jobs?limit=2&after=a.2"), all("a.3 b.1", "b.1", 3));
    assert_eq!(names("/v1/jobs?limit=2&after=b.1"), all("b.2", "", 1));
    assert_eq!(names("/v1/jobs?prefix=a.&limit=3"), all("a.1 a.2 a.3", "", 3));
    assert_eq!(names("/v1/jobs?tenant=b"), all("b.1 b.2", "", 2));
    assert_eq!(names("/v1/jobs?search=.2"), all("a.2 b.2", "", 2));
    stage.post("/v1/jobs/a.2/pause", "").is(200);
    assert_eq!(names("/v1/jobs?state=paused"), all("a.2", "", 1));
    stage.get("/v1/jobs?state=odd").refused(400, "MalformedRequest");
}

#[test]
fn a_job_pauses_and_goes_on() {
    let stage = Stage::new();
    stage.put("/v1/jobs/a", YEARLY).is(201);
    let paused = stage.post("/v1/jobs/a/pause", "{}").is(200);
    assert_eq!((&paused["paused"], &paused["nextTimes"]), (&"Asked".into(), &json!([])));
    let resumed = stage.post("/v1/jobs/a/resume", "").is(200);
    assert_eq!(resumed["paused"], json!(null));
    for verb in ["pause", "resume", "run"] {
        stage.post(&format!("/v1/jobs/b/{verb}"), "").refused(404, "NoSuchJob");
    }
}

#[test]
fn a_declared_job_is_changed_by_its_object_alone() {
    let stage = Stage::new();
    let object = DeclaredObject {
        name: "declared".to_owned(),
        generation: 1,
        spec: YEARLY.into(),
        ..DeclaredObject::default()
    };
    let request =
        SyncRequest { set_hash: "one".to_owned(), objects: vec![object], ..SyncRequest::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let synced = runtime.block_on(stage.engine.sync(request, 1_800_000_000)).unwrap();
    assert!(synced.results[0].accepted, "{:?}", synced.results);
    assert_eq!(stage.get("/v1/jobs/declared").is(200)["declared"], true);
    let problem = stage.put("/v1/jobs/declared", YEARLY).refused(409, "Declared");
    assert_eq!(problem["job"], "declared");
    stage.delete("/v1/jobs/declared").refused(409, "Declared");
    let bulk = stage.call("POST", "/v1/jobs").ndjson(super::line("declared")).send();
    assert_eq!(bulk.lines()[0]["problem"]["title"], "Declared");
    stage.post("/v1/jobs/declared/pause", "").is(200);
}

#[test]
fn more_jobs_than_the_quota_are_too_many() {
    let quota = orrery_api::scheduler::Quota { max_jobs: Some(1), ..Default::default() };
    let config = orrery_api::scheduler::SchedulerConfig { quota: Some(quota), ..config() };
    let stage = Stage::with(&config, None);
    stage.put("/v1/jobs/a", YEARLY).is(201);
    stage.until("it is counted", || stage.get("/v1/status").json()["jobs"] == 1);
    let refused = stage.put("/v1/jobs/b", YEARLY);
    refused.refused(429, "QuotaExceeded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // One that is there takes no more room.
    stage.put("/v1/jobs/a", YEARLY).is(200);
    let two = format!("{}\n{}\n", super::line("a"), super::line("c"));
    let lines = stage.call("POST", "/v1/jobs").ndjson(two).send().lines();
    assert_eq!(lines[1]["problem"]["title"], "QuotaExceeded", "{lines:?}");
    assert!(lines[0]["problem"].is_null(), "{lines:?}");
}

#[test]
fn a_tenant_has_as_many_jobs_as_it_may_and_others_have_theirs() {
    let quota = orrery_api::scheduler::Quota { max_jobs_per_tenant: Some(1), ..Default::default() };
    let config = orrery_api::scheduler::SchedulerConfig { quota: Some(quota), ..config() };
    let stage = Stage::with(&config, None);
    let of = |tenant: &str| {
        let tenant = format!("\"spec\": {{\"tenant\": \"{tenant}\", ");
        YEARLY.replacen("\"spec\": {", &tenant, 1)
    };
    assert_ne!(of("red"), YEARLY);
    stage.put("/v1/jobs/a", &of("red")).is(201);
    stage.put("/v1/jobs/b", &of("red")).refused(429, "QuotaExceeded");
    stage.put("/v1/jobs/b", &of("blue")).is(201);
    assert_eq!(stage.delete("/v1/jobs/a").status, 204);
    stage.put("/v1/jobs/c", &of("red")).is(201);
}
