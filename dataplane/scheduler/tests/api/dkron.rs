//! Dkron's routes, with bodies as its clients send them.

use orrery_api::scheduler::SchedulerConfig;
use serde_json::{Value, json};

use super::YEARLY;
use crate::dispatch::server::Server;
use crate::harness::{Answer, Call, Stage, config};

const OWN: &str = "application/vnd.orrery+json";

fn stage() -> Stage {
    Stage::with(&SchedulerConfig { dkron_compat: true, ..config() }, None)
}

/// A job as Dkron's documentation has it, with an executor that is carried out.
fn job(url: &str) -> Value {
    json!({
        "name": "job1",
        "displayname": "Nice name",
        "schedule": "@every 10m",
        "timezone": "Europe/Berlin",
        "owner": "Platform Team",
        "owner_email": "platform@example.com",
        "disabled": false,
        "tags": {"server": "true:1"},
        "metadata": {"user": "12345"},
        "retries": 2,
        "parent_job": "",
        "processors": {"files": {"forward": "true"}},
        "concurrency": "forbid",
        "executor": "http",
        "executor_config": {
            "method": "POST",
            "url": url,
            "headers": "[\"Content-Type: application/json\", \"X-From: dkron\"]",
            "body": "{\"hello\": 1}",
            "timeout": "20",
            "expectCode": "200,206",
            "expectBody": "",
            "debug": "true"
        },
        "success_count": 20,
        "last_success": "2017-03-13T11:45:05Z",
        "status": "success",
        "next": "2017-03-13T11:45:05Z"
    })
}

#[track_caller]
fn made(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    answer.is(201)
}

#[test]
fn a_job_of_dkron_is_made_and_shown_as_it_was_sent() {
    let stage = stage();
    let sent = job("http://127.0.0.1:9/run");
    let answer = stage.post("/v1/jobs", &sent.to_string());
    let shown = made(&answer);
    assert_eq!(answer.header("location"), Some("/v1/jobs/job1"));
    let same = [
        "name",
        "displayname",
        "schedule",
        "timezone",
        "owner",
        "owner_email",
        "disabled",
        "tags",
        "metadata",
        "retries",
        "parent_job",
        "processors",
        "concurrency",
        "executor",
    ];
    for field in same {
        assert_eq!(shown[field], sent[field], "{field}");
    }
    let config = &shown["executor_config"];
    for field in ["method", "url", "body", "timeout", "expectCode"] {
        assert_eq!(config[field], sent["executor_config"][field], "{field}");
    }
    let headers: Vec<String> = serde_json::from_str(config["headers"].as_str().unwrap()).unwrap();
    assert_eq!(headers, ["Content-Type: application/json", "X-From: dkron"]);
    // What is only read is not what was sent.
    assert_eq!((&shown["success_count"], &shown["status"]), (&0.into(), &"untriggered".into()));
    assert_eq!(shown["last_success"], json!(null));
    assert!(shown["next"].as_str().unwrap() > "2026");
    assert_eq!(stage.get("/v1/jobs/job1").is(200), shown);
    // The same job by this API.
    let own = stage.call("GET", "/v1/jobs/job1").header("Accept", OWN).send().is(200);
    assert_eq!(own["spec"]["when"]["every"], "10m");
    assert_eq!(
        (&own["spec"]["retry"]["maxAttempts"], &own["spec"]["timeoutSeconds"]),
        (&3.into(), &20.into())
    );
    let patched = json!({"name": "job1", "schedule": "0 30 * * * *", "executor": "http",
        "executor_config": {"method": "get", "url": "http://127.0.0.1:9/"}});
    let patched = stage.call("PATCH", "/v1/jobs").json(&patched.to_string()).send();
    assert_eq!(made(&patched)["schedule"], "0 30 * * * *");
    let gone = stage.delete("/v1/jobs/job1").is(200);
    assert_eq!(gone["name"], "job1");
    stage.get("/v1/jobs/job1").refused(404, "NoSuchJob");
}

#[test]
fn schedules_of_all_kinds_are_taken() {
    let stage = stage();
    let put = |schedule: &str| {
        let mut sent = job("http://127.0.0.1:9/");
        sent["schedule"] = schedule.into();
        sent["timezone"] = "".into();
        stage.post("/v1/jobs", &sent.to_string())
    };
    for schedule in
        ["@at 2150-01-02T15:04:00Z", "@hourly", "0 0 3 * * MON-FRI", "@manually", "0 ~ * * * *"]
    {
        assert_eq!(made(&put(schedule))["schedule"], schedule);
    }
    assert_eq!(made(&put("@manually"))["disabled"], false);
    put("@every 10 cats").refused(422, "InvalidExpression");
    put("0 0 25 * * *").refused(422, "InvalidExpression");
    put("@at 2001-01-02T15:04:00Z").refused(422, "NeverFires");
    put("").refused(400, "InvalidSpec");
}

#[test]
fn what_is_not_carried_out_is_refused_with_the_reason() {
    let stage = stage();
    let refused = |change: &dyn Fn(&mut Value), reason: &str, detail: &str| {
        let mut sent = job("http://127.0.0.1:9/");
        change(&mut sent);
        let problem = stage.post("/v1/jobs", &sent.to_string()).refused(422, reason);
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        assert_eq!(problem["job"], "job1");
    };
    let shell = |sent: &mut Value| {
        sent["executor"] = "shell".into();
        sent["executor_config"] = json!({"command": "echo 'Hello from Dkron'"});
    };
    refused(&shell, "NotYetSupported", "executor \"shell\"");
    refused(&|sent| sent["parent_job"] = "job1".into(), "InvalidSpec", "follow itself");
    refused(
        &|sent| sent["executor_config"]["expectBody"] = "/ok/".into(),
        "NotYetSupported",
        "expectBody",
    );
    refused(
        &|sent| sent["executor_config"]["tlsNoVerifyPeer"] = "true".into(),
        "NotYetSupported",
        "tlsNoVerifyPeer",
    );
    refused(&|sent| sent["executor_config"]["method"] = "BREW".into(), "InvalidSpec", "method");
    refused(&|sent| sent["executor_config"]["headers"] = "none".into(), "InvalidSpec", "headers");
    refused(&|sent| sent["concurrency"] = "sometimes".into(), "InvalidSpec", "concurrency");
    refused(&|sent| sent["timezone"] = "Mars/Base".into(), "UnknownTimeZone", "Mars");
    stage.post("/v1/jobs", "{").refused(400, "MalformedRequest");
    stage.post("/v1/jobs", r#"{"name": 3}"#).refused(400, "MalformedRequest");
}

#[test]
fn runs_are_executions() {
    let stage = stage();
    let server = Server::saying(200, "done");
    stage.post("/v1/jobs", &job(&server.uri("/run")).to_string()).is(201);
    assert_eq!(stage.call("POST", "/v1/jobs/job1").send().is(202)["name"], "job1");
    let executions = || stage.get("/v1/jobs/job1/executions");
    stage.until("it is over", || executions().json()[0]["success"] == true);
    let answer = executions();
    assert_eq!(answer.header("x-total-count"), Some("1"));
    let run = answer.is(200)[0].clone();
    assert_eq!((&run["job_name"], &run["attempt"]), (&"job1".into(), &1.into()));
    let id = run["id"].as_str().unwrap();
    assert_eq!(stage.get(&format!("/v1/jobs/job1/executions/{id}")).is(200), run);
    stage.get("/v1/jobs/job1/executions/none").refused(404, "NoSuchRun");
    stage.get("/v1/jobs/none/executions").refused(404, "NoSuchJob");
    stage.delete("/v1/jobs/job1/executions").refused(422, "NotYetSupported");
    let job = stage.get("/v1/jobs/job1").is(200);
    assert_eq!((&job["success_count"], &job["status"]), (&1.into(), &"success".into()));
    assert!(job["last_success"].is_string());
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.header("x-from")), ("POST", Some("dkron")));
    assert_eq!(request.body, br#"{"hello": 1}"#);
    stage.call("POST", "/v1/jobs/job1/run").send().is(202);
    let on_create =
        stage.post("/v1/jobs?runoncreate", &super::dkron::job(&server.uri("/run")).to_string());
    on_create.is(201);
    stage.until("all were called", || server.requests().len() >= 2);
}

#[test]
fn a_job_is_toggled() {
    let stage = stage();
    stage.post("/v1/jobs", &job("http://127.0.0.1:9/").to_string()).is(201);
    let toggle = || stage.call("POST", "/v1/jobs/job1/toggle").send().is(200);
    let off = toggle();
    assert_eq!((&off["disabled"], &off["next"]), (&true.into(), &"0001-01-01T00:00:00Z".into()));
    assert_eq!(off["executor_config"]["body"], "{\"hello\": 1}");
    assert_eq!(toggle()["disabled"], false);
    stage.post("/v1/jobs/job1/pause", "").is(200);
    assert_eq!(stage.get("/v1/jobs/job1").is(200)["disabled"], true);
    assert_eq!(toggle()["disabled"], false);
    stage.call("POST", "/v1/jobs/none/toggle").send().refused(404, "NoSuchJob");
}

#[test]
fn jobs_are_listed_as_dkron_lists_them() {
    let stage = stage();
    for (name, user) in [("b", "1"), ("a", "2"), ("c", "2")] {
        let mut sent = job("http://127.0.0.1:9/");
        sent["name"] = name.into();
        sent["metadata"] = json!({"user": user});
        sent["disabled"] = (name == "c").into();
        stage.post("/v1/jobs", &sent.to_string()).is(201);
    }
    let names = |query: &str| {
        let answer = stage.get(&format!("/v1/jobs?{query}"));
        let total = answer.header("x-total-count").unwrap().to_owned();
        let list = answer.is(200);
        let names = list.as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap());
        (names.collect::<Vec<_>>().join(" "), total)
    };
    let is = |names: &str, total: &str| (names.to_owned(), total.to_owned());
    assert_eq!(names(""), is("a b c", "3"));
    assert_eq!(names("_sort=name&_order=DESC&_start=0&_end=2"), is("c b", "3"));
    assert_eq!(names("_start=1&_end=2"), is("b", "3"));
    assert_eq!(names("metadata[user]=2"), is("a c", "2"));
    assert_eq!(names("disabled=true"), is("c", "1"));
    assert_eq!(names("q=b"), is("b", "1"));
    assert!(stage.get("/v1/jobs?pretty").text().contains("\n  "));
}

#[test]
fn a_file_of_jobs_is_taken_back() {
    let stage = stage();
    let mut other = job("http://127.0.0.1:9/");
    other["name"] = "job2".into();
    let mut bad = job("http://127.0.0.1:9/");
    bad["executor"] = "shell".into();
    bad["name"] = "job3".into();
    let file = json!([job("http://127.0.0.1:9/"), other, bad]).to_string();
    let form = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"jobs.json\"\r\n\
         Content-Type: application/json\r\n\r\n{file}\r\n--XX--\r\n"
    );
    let post = |kind: &str, body: &str| {
        stage.call("POST", "/v1/restore").header("Content-Type", kind).body(body).send()
    };
    let said = post("multipart/form-data; boundary=XX", &form).is(200);
    assert_eq!(
        (&said[0], &said[1]),
        (&"success create job1".into(), &"success create job2".into())
    );
    assert!(said[2].as_str().unwrap().starts_with("fail create job3: NotYetSupported"), "{said}");
    // What is listed can be taken back.
    let listed = stage.get("/v1/jobs").text().to_owned();
    let form = form.replace(&file, &listed);
    let again = post("multipart/form-data; boundary=XX", &form).is(200);
    assert_eq!(again.as_array().unwrap().len(), 2);
    post("multipart/form-data; boundary=YY", &form).refused(400, "MalformedRequest");
    post("application/json", &file).refused(400, "MalformedRequest");
}

#[test]
fn the_one_node_leads_and_stays() {
    let stage = stage();
    let members = stage.get("/v1/members").is(200);
    assert_eq!((&members[0]["Status"], &members[0]["Tags"]["server"]), (&1.into(), &"true".into()));
    assert_eq!(stage.get("/v1/leader").is(200)["Name"], members[0]["Name"]);
    assert_eq!(stage.get("/v1/isleader").is(200), "I am a leader");
    assert!(stage.get("/v1/").is(200)["agent"]["version"].is_string());
    assert!(stage.get("/v1").is(200)["tags"].is_object());
    assert_eq!(stage.get("/v1/busy").is(200), json!([]));
    stage.call("POST", "/v1/leave").send().refused(422, "NotYetSupported");
    assert_eq!(stage.get("/v1/pause").is(200), json!({"paused": false}));
    assert_eq!(stage.call("POST", "/v1/pause").send().is(200), json!({"paused": true}));
    let sent = job("http://127.0.0.1:9/").to_string();
    stage.post("/v1/jobs", &sent).refused(503, "Paused");
    assert_eq!(stage.call("POST", "/v1/unpause").send().is(200), json!({"paused": false}));
    stage.post("/v1/jobs", &sent).is(201);
}

#[test]
fn this_api_is_there_beside_dkrons() {
    let stage = stage();
    let bulk = stage.call("POST", "/v1/jobs").ndjson(super::line("a")).send();
    assert_eq!(bulk.lines()[0]["result"], "created");
    let put = stage.call("PUT", "/v1/jobs/b").header("Content-Type", OWN).body(YEARLY).send();
    put.is(201);
    let own = |method: &str, path: &str| stage.call(method, path).header("Accept", OWN).send();
    assert_eq!(own("GET", "/v1/jobs").is(200)["total"], 2);
    assert!(own("POST", "/v1/jobs/b/run").is(202)["run"].is_string());
    assert_eq!(own("DELETE", "/v1/jobs/b").status, 204);
    // What only this API has needs no word.
    assert_eq!(stage.get("/v1/jobs/a/runs").is(200)["runs"], json!([]));
    // A job of this API is shown as well as it goes.
    assert_eq!(stage.get("/v1/jobs/a").is(200)["schedule"], "0 7 1 1 *");
}

#[test]
fn without_compatibility_dkrons_routes_are_not_there() {
    let stage = Stage::new();
    for path in ["/v1/", "/v1/members", "/v1/leader", "/v1/busy", "/v1/jobs/a/executions"] {
        stage.get(path).refused(404, "NoSuchRoute");
    }
    stage.post("/v1/jobs", &job("http://a/").to_string()).refused(415, "UnsupportedType");
    assert!(stage.get("/v1/jobs").is(200)["jobs"].is_array());
}

#[test]
fn dkrons_header_shows_the_token() {
    let stage = Stage::with(&SchedulerConfig { dkron_compat: true, ..config() }, Some("secret"));
    let call = || Call::new(stage.address, "GET", "/v1/members");
    call().send().refused(401, "Unauthorized");
    call().header("X-Dkron-Token", "other").send().refused(401, "Unauthorized");
    call().header("X-Dkron-Token", "secret").send().is(200);
}

#[test]
fn a_job_with_a_parent_runs_after_it() {
    let stage = stage();
    let server = Server::saying(200, "");
    let mut parent = job(&server.uri("/parent"));
    parent["schedule"] = "@manually".into();
    made(&stage.post("/v1/jobs", &parent.to_string()));
    let mut child = job(&server.uri("/child"));
    (child["name"], child["schedule"]) = ("child".into(), "".into());
    child["parent_job"] = "job1".into();
    let shown = made(&stage.post("/v1/jobs", &child.to_string()));
    assert_eq!((&shown["parent_job"], &shown["schedule"]), (&"job1".into(), &"".into()));
    let shown = || stage.get("/v1/jobs/job1").is(200);
    stage.until("the parent knows its child", || shown()["dependent_jobs"] == json!(["child"]));
    stage.post("/v1/jobs/job1/run", "").is(202);
    stage.until("both ran", || server.requests().len() == 2);
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(paths, ["/parent", "/child"]);
}
