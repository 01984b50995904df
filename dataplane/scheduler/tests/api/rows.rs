//! Schedules whose jobs are made of rows, from the set of the operator to what their targets get.

use orrery_api::scheduler::ScheduleState;
use orrery_operand::v1::{DeclaredObject, ObjectResult, SyncRequest};
use serde_json::{Value, json};

use super::YEARLY;
use crate::dispatch::server::Server;
use crate::harness::Stage;

const NOW: i64 = 1_800_000_000;

struct Sets {
    runtime: tokio::runtime::Runtime,
    stage: Stage,
    sent: usize,
}

impl Sets {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        Self { runtime: runtime.unwrap(), stage: Stage::new(), sent: 0 }
    }

    /// Declares one object more, plain, and gives what became of the other.
    fn declare(&mut self, generation: i64, spec: &Value) -> (ObjectResult, ScheduleState) {
        self.send(generation, spec.to_string())
    }

    fn send(&mut self, generation: i64, spec: String) -> (ObjectResult, ScheduleState) {
        self.sent += 1;
        let object = |name: &str, spec: Vec<u8>| DeclaredObject {
            name: name.to_owned(),
            generation,
            spec,
            ..DeclaredObject::default()
        };
        let objects = vec![object("plain", YEARLY.into()), object("report", spec.into())];
        let set_hash = self.sent.to_string();
        let request = SyncRequest { set_hash, objects, ..SyncRequest::default() };
        let synced = self.runtime.block_on(self.stage.engine.sync(request, NOW)).unwrap();
        assert!(synced.results[0].accepted, "{:?}", synced.results);
        assert_eq!(self.stage.get("/v1/jobs/plain").is(200)["declared"], true);
        let result = synced.results[1].clone();
        let state = serde_json::from_slice(&result.state).unwrap_or_default();
        (result, state)
    }

    fn names(&self) -> Vec<String> {
        let page = self.stage.get("/v1/jobs?prefix=report").is(200);
        let jobs = page["jobs"].as_array().unwrap().clone();
        jobs.iter().map(|job| job["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn template(url: &str, cron: &str, rows: &[(&str, &str)]) -> Value {
    let rows = rows.iter().map(|(id, hour)| json!({"id": id, "hour": hour}).to_string() + "\n");
    json!({
        "spec": {
            "when": {"cron": cron, "timeZone": "Europe/Paris"},
            "action": {"http": {"url": url, "body": "{\"for\": \"{{id}}\", \"at\": {{hour}}}"}},
            "template": {"dataRef": {"name": "customers"}},
        },
        "rows": {"customers": rows.collect::<String>()},
    })
}

const CRON: &str = "0 {{hour}} 1 1 *";

#[test]
fn each_row_is_a_job_of_the_object() {
    let (mut sets, server) = (Sets::new(), Server::saying(200, ""));
    let url = server.uri("/run/{{id}}");
    let (result, state) = sets.declare(1, &template(&url, CRON, &[("ann", "7"), ("bob", "9")]));
    assert!(result.accepted, "{result:?}");
    assert_eq!(sets.names(), ["report:ann", "report:bob"]);
    let next: Vec<String> = state.next_times.iter().map(ToString::to_string).collect();
    let ends = ["-01-01T06:00:00Z", "-01-01T08:00:00Z", "-01-01T06:00:00Z"];
    assert!(next.iter().zip(ends).all(|(at, end)| at.ends_with(end)), "{next:?}");
    assert!(next.len() == ends.len() && next.is_sorted(), "{next:?}");
    assert_eq!((state.jobs, state.last_run), (Some(2), None));
    let note = state.note.unwrap();
    assert!(note.starts_with("makes 2 jobs: report:ann, report:bob; report:ann next at"), "{note}");
    // They are called as their rows say, and the object shows the newest of their runs.
    sets.stage.post("/v1/jobs/report:bob/run", "").is(202);
    sets.stage.until("it was called", || server.requests().len() == 1);
    let request = &server.requests()[0];
    assert_eq!(request.path, "/run/bob");
    assert_eq!(String::from_utf8_lossy(&request.body), r#"{"for": "bob", "at": 9}"#);
    sets.stage.until("it is over", || {
        sets.stage.get("/v1/jobs/report:bob").is(200)["lastRun"]["result"] == "Succeeded"
    });
    let (_, state) = sets.declare(1, &template(&url, CRON, &[("ann", "7"), ("bob", "9")]));
    assert!(state.last_run.is_some(), "{state:?}");
    // They are the object's: the API does not take them away.
    sets.stage.delete("/v1/jobs/report:ann").refused(409, "Declared");
}

#[test]
fn rows_that_come_and_go_make_and_remove_jobs() {
    let mut sets = Sets::new();
    let url = "http://127.0.0.1:9/{{id}}";
    let of = |rows: &[(&str, &str)]| template(url, CRON, rows);
    sets.declare(1, &of(&[("a", "7"), ("b", "8"), ("c", "9")]));
    let revision = |sets: &Sets, name: &str| {
        sets.stage.get(&format!("/v1/jobs/{name}")).is(200)["revision"].clone()
    };
    // The object is as it was, its file is not.
    let (_, state) = sets.declare(1, &of(&[("b", "8"), ("c", "10"), ("d", "9")]));
    assert_eq!(sets.names(), ["report:b", "report:c", "report:d"]);
    assert_eq!(state.jobs, Some(3));
    assert_eq!((revision(&sets, "report:b"), revision(&sets, "report:c")), (1.into(), 2.into()));
    let (result, state) = sets.declare(2, &template(url, "30 {{hour}} 1 1 *", &[("b", "8")]));
    assert!(result.accepted, "{result:?}");
    let note = state.note.unwrap();
    assert!(note.contains("removes 2 jobs: report:c, report:d; report:b adds"), "{note}");
    let (result, state) = sets.declare(3, &of(&[]));
    assert!(result.accepted && sets.names().is_empty(), "{result:?}");
    assert_eq!((state.jobs, state.next_times.len()), (Some(0), 0));
    // One job becomes many, and many become one.
    sets.declare(4, &of(&[("a", "7")]));
    let plain: Value = serde_json::from_str(YEARLY).unwrap();
    let (_, state) = sets.declare(5, &plain);
    assert_eq!((sets.names(), state.jobs), (vec!["report".to_owned()], None));
    assert!(state.note.unwrap().starts_with("removes 1 job: report:a; next at"));
    sets.declare(6, &of(&[("a", "7")]));
    assert_eq!(sets.names(), ["report:a"]);
}

#[test]
fn one_bad_row_leaves_all_as_they_were() {
    let mut sets = Sets::new();
    let url = "http://127.0.0.1:9/{{id}}";
    sets.declare(1, &template(url, CRON, &[("a", "7"), ("b", "8")]));
    let long = "x".repeat(300);
    for (rows, cron, reason, says) in [
        (vec![("a", "7"), ("c", "25")], CRON, "InvalidExpression", "row c: "),
        (vec![("c d", "7")], CRON, "InvalidSpec", "row c d: "),
        (vec![(&*long, "7")], CRON, "InvalidSpec", "is no name of a job"),
        (
            vec![("c", "7")],
            "0 {{our}} 1 1 *",
            "InvalidSpec",
            "there is no column our: the rows have hour, id",
        ),
        (vec![("c", "7")], "0 {{hour}} 31 2 *", "NeverFires", "row c: "),
    ] {
        let (result, _) = sets.declare(2, &template(url, cron, &rows));
        assert!(!result.accepted);
        assert_eq!(result.reason, reason, "{}", result.message);
        assert!(result.message.contains(says), "{}", result.message);
        assert_eq!(sets.names(), ["report:a", "report:b"]);
    }
    // The API makes no such jobs.
    let mut job = template(url, CRON, &[]);
    job.as_object_mut().unwrap().remove("rows");
    let problem = sets.stage.put("/v1/jobs/e", &job.to_string()).refused(422, "InvalidSpec");
    assert!(
        problem["detail"].as_str().unwrap().contains("template is for Schedule objects"),
        "{problem}"
    );
}

#[test]
fn an_object_of_which_nothing_can_be_said_stays_as_it_was() {
    let mut sets = Sets::new();
    sets.declare(1, &template("http://127.0.0.1:9/{{id}}", CRON, &[("a", "7"), ("b", "8")]));
    let (result, state) = sets.send(2, String::new());
    assert!(result.accepted, "{result:?}");
    assert_eq!((result.generation, state.jobs), (0, Some(2)));
    assert_eq!(sets.names(), ["report:a", "report:b"]);
    let plain: Value = serde_json::from_str(YEARLY).unwrap();
    sets.declare(3, &plain);
    let (_, state) = sets.send(4, String::new());
    assert_eq!((sets.names(), state.next_times.len()), (vec!["report".to_owned()], 3));
}
