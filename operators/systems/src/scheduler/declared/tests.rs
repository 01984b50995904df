//! Schedules that are taken or refused, and what is said about them.

use std::collections::BTreeMap;

use orrery_api::not_yet::NOT_YET;
use orrery_api::scheduler::RunResult;
use serde_json::json;

use super::*;

fn schedule(spec: Value) -> Schedule {
    Schedule::new("nightly", serde_json::from_value(spec).unwrap())
}

fn with(more: &Value) -> Schedule {
    let mut spec = json!({"when": {"cron": "0 7 * * *"}, "action": {"http": {"url": "http://a/"}}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schedule(spec)
}

fn validate(object: &Schedule) -> Result<Value, Refusal> {
    Schedules::validate(object, &[object], &Referenced::default())
}

#[test]
fn the_engine_gets_the_spec_and_the_days_it_leaves_out() {
    let object = with(&json!({"calendars": {"exclude": [{"name": "b"}, {"name": "a"}]}}));
    let references = Schedules::references(&object);
    assert_eq!(references, ["b", "a"].map(|name| Reference::ConfigMap(name.to_owned())));
    assert_eq!(validate(&object).unwrap_err().reason, Reason::RefNotFound);
    let map = |texts: &[&str]| {
        let pairs = texts.iter().enumerate();
        pairs.map(|(number, text)| (number.to_string(), (*text).to_owned())).collect()
    };
    let config_maps: BTreeMap<String, BTreeMap<String, String>> =
        [("a".to_owned(), map(&["12-25"])), ("b".to_owned(), map(&["01-01", "05-01"]))].into();
    let inputs = Referenced { config_maps, ..Referenced::default() };
    let declared = Schedules::validate(&object, &[&object], &inputs).unwrap();
    assert_eq!(declared["exclusions"], json!(["01-01", "05-01", "12-25"]));
    assert_eq!(declared["spec"]["when"]["cron"], "0 7 * * *");
    let read: DeclaredSchedule = serde_json::from_value(declared).unwrap();
    assert_eq!(read.spec, object.spec);
}

#[test]
fn what_is_not_carried_out_yet_is_refused_by_name_and_listed() {
    let action = |action: Value| json!({"action": action});
    let cases = [
        ("spec.action.taskQueue", action(json!({"taskQueue": {"queue": "a", "jobtype": "b"}}))),
        ("spec.action.workflow", action(json!({"workflow": {"type": "a"}}))),
        (
            "spec.template",
            json!({
                "template": {"dataRef": {"name": "a"}},
                "action": {"kubernetesJob": {"jobTemplate": pods()}},
            }),
        ),
    ];
    let listed: Vec<&str> =
        NOT_YET.iter().filter(|entry| entry.kind == "Schedule").map(|e| e.field).collect();
    assert_eq!(listed, cases.each_ref().map(|(field, _)| *field));
    for (field, spec) in cases {
        let refusal = validate(&with(&spec)).unwrap_err();
        assert_eq!(refusal.reason, Reason::NotYetSupported, "{field}");
        assert_eq!(refusal.field.as_deref(), Some(field));
    }
}

/// A template of a Job.
fn pods() -> Value {
    let containers = json!([{"name": "a", "image": "b"}]);
    json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}})
}

#[test]
fn the_engine_gets_the_rows_of_a_template() {
    let object = with(&json!({
        "template": {"dataRef": {"name": "customers"}},
        // No JSON before a row is in it.
        "action": {"grpc": {"target": "a", "method": "p.S/M", "body": "{\"at\": {{hour}}}"}},
    }));
    assert_eq!(Schedules::references(&object), [Reference::ConfigMap("customers".to_owned())]);
    assert_eq!(validate(&object).unwrap_err().reason, Reason::RefNotFound);
    let map = [("rows.csv".to_owned(), "id,hour\na,7\n".to_owned())].into();
    let inputs =
        Referenced { config_maps: [("customers".to_owned(), map)].into(), ..Referenced::default() };
    let declared = Schedules::validate(&object, &[&object], &inputs).unwrap();
    assert_eq!(declared["rows"], json!({"rows.csv": "id,hour\na,7\n"}));
    let shown =
        Schedules::summary(&object, CommonStatus::default(), Some(&said(json!({"jobs": 1}))));
    assert_eq!(shown.jobs, Some(1));
    // None of its jobs is the one to run after.
    let mut follower = with(&json!({"when": {"after": {"schedule": "nightly"}}}));
    follower.metadata.name = Some("follower".to_owned());
    let refusal = Schedules::validate(&follower, &[&object, &follower], &inputs).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("spec.when.after"));
    assert!(refusal.message.contains("nightly has a template"), "{refusal:?}");
}

#[test]
fn the_engine_gets_no_template_and_the_uid_instead() {
    let action = json!({"kubernetesJob": {"jobTemplate": pods()}});
    let mut object = with(&json!({"action": action}));
    object.metadata.uid = Some("u".to_owned());
    let declared = validate(&object).unwrap();
    assert_eq!(declared["uid"], "u");
    assert_eq!(declared["spec"]["action"]["kubernetesJob"]["jobTemplate"], json!({}));
    let refusal = Schedules::on_one_machine(&object).unwrap_err();
    assert_eq!(refusal.reason, Reason::NotOnThisCarrier);
    let pooled = json!({"action": {"pooledPod": {"pool": "tools", "command": ["true"]}}});
    let pooled = with(&pooled);
    assert!(validate(&pooled).is_ok());
    let refusal = Schedules::on_one_machine(&pooled).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("spec.action.pooledPod"));
    let calls = with(&json!({}));
    assert_eq!(Schedules::on_one_machine(&calls), Ok(()));
    assert_eq!(validate(&calls).unwrap().get("uid"), None);
}

#[test]
fn rules_of_the_server_hold_without_one() {
    for (field, spec) in [
        ("spec.when", json!({"when": {}})),
        ("spec.when", json!({"when": {"cron": "* * * * *", "every": "1s"}})),
        ("spec.when.dialect", json!({"when": {"every": "1s", "dialect": "Quartz"}})),
        (
            "spec.when.anchor",
            json!({"when": {"cron": "* * * * *", "anchor": "2027-01-01T00:00:00Z"}}),
        ),
        ("spec.when.after", json!({"when": {"after": {"schedule": "nightly"}}})),
        ("spec.end", json!({"start": "2027-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"})),
        ("spec.action", json!({"action": {}})),
        ("spec.action.http", json!({"action": {"http": {}}})),
        ("spec.action.http", json!({"action": {"http": {"url": "http://a/", "target": "a"}}})),
        ("spec.action.http.path", json!({"action": {"http": {"url": "http://a/", "path": "/"}}})),
        (
            "spec.action.grpc.method",
            json!({"action": {"grpc": {"target": "a", "method": "p..S/M"}}}),
        ),
        (
            "spec.action.grpc.body",
            json!({"action": {"grpc": {"target": "a", "method": "p.S/M", "body": "{\"a\""}}}),
        ),
    ] {
        let refusal = validate(&with(&spec)).expect_err(&spec.to_string());
        assert_eq!(refusal.field.as_deref(), Some(field), "{spec}");
        assert_eq!(refusal.reason, Reason::InvalidSpec);
    }
}

#[test]
fn schedules_that_run_after_each_other_in_a_circle_are_refused() {
    let named = |name: &str, leader: &str| {
        let mut object = with(&json!({"when": {"after": {"schedule": leader}}}));
        object.metadata.name = Some(name.to_owned());
        object
    };
    let (a, b, c) = (named("a", "c"), named("b", "a"), named("c", "b"));
    let aside = named("d", "a");
    let all = [&a, &b, &c, &aside];
    let refusal = Schedules::validate(&b, &all, &Referenced::default()).unwrap_err();
    assert_eq!(refusal.field.as_deref(), Some("spec.when.after"));
    assert!(refusal.message.contains("b after a after c after b"), "{refusal:?}");
    assert!(Schedules::validate(&aside, &all, &Referenced::default()).is_ok());
    assert!(Schedules::validate(&b, &[&b, &named("a", "x")], &Referenced::default()).is_ok());
    let jitter = with(&json!({"when": {"after": {"schedule": "a"}}, "jitterSeconds": 5}));
    assert_eq!(validate(&jitter).unwrap_err().field.as_deref(), Some("spec.when.after"));
}

#[test]
fn a_schedule_whose_leader_is_not_there_says_so() {
    let object = with(&json!({"when": {"after": {"schedule": "a"}}}));
    let standing = Schedules::standing(&object, &said(json!({"leaderMissing": true})));
    let (reason, message) = standing.degraded.unwrap();
    assert_eq!(reason, Reason::TargetMissing);
    assert!(message.contains("no schedule a"), "{message}");
}

fn said(state: Value) -> Acceptance {
    Acceptance { accepted: true, state: Some(state), ..Acceptance::default() }
}

#[test]
fn the_status_shows_what_the_engine_says_and_keeps_it_until_it_speaks_again() {
    let mut object = with(&json!({}));
    let none = CommonStatus::default;
    let state = json!({
        "nextTimes": ["2027-01-01T07:00:00Z"],
        "lastRun": {"nominal": "2026-12-31T07:00:00Z", "result": "Failed"},
        "consecutiveFailures": 2,
    });
    let status = Schedules::summary(&object, none(), Some(&said(state)));
    assert_eq!((status.next_times.len(), status.consecutive_failures), (1, 2));
    assert_eq!(status.last_run.as_ref().map(|run| run.result), Some(RunResult::Failed));
    assert_eq!(
        (status.when.as_deref(), status.zone.as_deref()),
        (Some("0 7 * * *"), Some("Etc/UTC"))
    );
    assert_eq!(status.bound_to.as_deref(), Some("default"));
    object.status = Some(status.clone());
    let silent = Schedules::summary(&object, none(), None);
    assert_eq!((silent.next_times, silent.bound_to), (status.next_times, None));
    let refused = Acceptance::default();
    let refused = Schedules::summary(&object, none(), Some(&refused));
    assert!(refused.next_times.is_empty(), "it does not fire");
    assert!(refused.last_run.is_some());
}

#[test]
fn new_rules_of_a_zone_are_kept_in_the_status_and_told_once() {
    let mut object = with(&json!({}));
    let change = |since: &str| json!({"zoneChange": {"since": since, "message": "adds 1 run"}});
    let summary = |object: &Schedule, acceptance: Option<&Acceptance>| {
        Schedules::summary(object, CommonStatus::default(), acceptance)
    };
    let calm = summary(&object, Some(&said(json!({}))));
    assert_eq!(Schedules::news(None, &calm), None);
    let moved = summary(&object, Some(&said(change("2027-01-01T07:00:00Z"))));
    let news = Schedules::news(Some(&calm), &moved).expect("it is new");
    assert_eq!((news.reason, &*news.note), (Reason::RunsChanged, "adds 1 run"));
    object.status = Some(moved.clone());
    let silent = summary(&object, None);
    assert_eq!(silent.zone_change, moved.zone_change, "kept until the engine speaks again");
    assert_eq!(Schedules::news(Some(&moved), &silent), None);
    let again = summary(&object, Some(&said(change("2027-06-01T07:00:00Z"))));
    let other = Schedules::news(Some(&moved), &again).expect("another change");
    assert_ne!(other.action, news.action, "an event of its own");
}

#[test]
fn a_schedule_that_rests_or_is_late_says_so() {
    let calm = Schedules::standing(&with(&json!({})), &said(json!({})));
    assert_eq!(calm, Standing::default());
    let suspended = Schedules::standing(&with(&json!({"suspend": true})), &said(json!({})));
    assert_eq!(suspended.resting.map(|(reason, _)| reason), Some(Reason::Suspended));
    let late = Schedules::standing(&with(&json!({})), &said(json!({"overdue": true})));
    assert_eq!(late.degraded.map(|(reason, _)| reason), Some(Reason::Overdue));
    let paused = said(json!({"suspendedByFailure": true}));
    let paused = Schedules::standing(&with(&json!({})), &paused);
    assert_eq!(paused.resting.map(|(reason, _)| reason), Some(Reason::PausedByFailure));
}
