//! Rules in words, in calendars, and what a change of one changes.

use super::YEARLY;
use crate::harness::Stage;

#[test]
fn a_cron_text_is_explained_with_its_next_times() {
    let stage = Stage::new();
    let path =
        "/v1/explain?cron=0+7+*+*+MON-FRI&tz=Europe/Paris&count=2&after=2027-01-01T12:00:00Z";
    let said = stage.get(path).is(200);
    assert_eq!(said["timeZone"], "Europe/Paris");
    let times = said["nextTimes"].as_array().unwrap();
    assert_eq!((times.len(), &times[0]["at"]), (2, &"2027-01-04T06:00:00Z".into()));
    assert_eq!(times[0]["local"], "2027-01-04T07:00:00+01:00");
    assert!(!said["text"].as_str().unwrap().is_empty());
    let night = stage.get("/v1/explain?cron=30+2+*+*+*&tz=Europe/Paris&after=2027-01-01T00:00:00Z");
    assert!(!night.is(200)["notes"].as_array().unwrap().is_empty());
    let quartz =
        "/v1/explain?cron=0+0+12+%3F+*+2&dialect=Quartz&count=1&after=2027-01-01T00:00:00Z";
    assert_eq!(stage.get(quartz).is(200)["nextTimes"][0]["at"], "2027-01-04T12:00:00Z");
    let problem = stage.get("/v1/explain?cron=0+0+*+*+FOO").refused(422, "InvalidExpression");
    assert_eq!(problem["position"], 8);
    stage.get("/v1/explain?cron=0+0+*+*+*&tz=Mars").refused(422, "UnknownTimeZone");
    stage.get("/v1/explain").refused(400, "MalformedRequest");
    stage.get("/v1/explain?cron=0+0+*+*+*&after=soon").refused(422, "InvalidSpec");
}

#[test]
fn a_whole_spec_is_explained() {
    let stage = Stage::new();
    let body = r#"{"spec": {"when": {"every": "90s", "anchor": "2027-01-01T00:00:00Z"}, "action": {}},
        "count": 2, "after": "2027-01-01T00:00:00Z"}"#;
    let said = stage.post("/v1/explain", body).is(200);
    assert_eq!(said["nextTimes"][1]["at"], "2027-01-01T00:03:00Z");
    stage
        .post("/v1/explain", r#"{"spec": {"when": {}, "action": {}}}"#)
        .refused(422, "InvalidExpression");
    stage.post("/v1/explain", r#"{"cron": "* * * * *"}"#).refused(422, "InvalidSpec");
}

#[test]
fn a_change_is_compared_before_it_is_made() {
    let stage = Stage::new();
    let daily = |hours: &str| {
        format!(
            r#"{{"when": {{"cron": "0 {hours} * * *"}}, "action": {{"http": {{"url": "http://a/"}}}}}}"#
        )
    };
    stage.put("/v1/jobs/a", &format!(r#"{{"spec": {}}}"#, daily("7,8"))).is(201);
    let what_if = |name: &str, spec: &str| {
        stage.post("/v1/what-if", &format!(r#"{{"name": "{name}", "spec": {spec}}}"#))
    };
    let said = what_if("a", &daily("8,9")).is(200);
    let count = |field: &str| said[field].as_array().unwrap().len();
    assert_eq!((&said["revision"], count("next")), (&1.into(), 3));
    assert!(count("added").abs_diff(50) <= 1 && count("skipped").abs_diff(50) <= 1, "{said}");
    assert!(said["added"][0]["at"].as_str().unwrap().ends_with("T09:00:00Z"));
    assert!(said["skipped"][0]["at"].as_str().unwrap().ends_with("T07:00:00Z"));
    let same = what_if("a", &daily("7,8")).is(200);
    assert_eq!((&same["added"], &same["kept"]), (&serde_json::json!([]), &100.into()));
    what_if("b", &daily("7")).refused(404, "NoSuchJob");
    what_if("a", &daily("25")).refused(422, "InvalidExpression");
    // Nothing was changed by asking.
    assert_eq!(stage.get("/v1/jobs/a").is(200)["revision"], 1);
}

#[test]
fn a_job_is_a_calendar() {
    let stage = Stage::new();
    stage.put("/v1/jobs/a", YEARLY).is(201);
    let answer = stage.get("/v1/jobs/a/calendar.ics");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/calendar; charset=utf-8"));
    let text = answer.text();
    assert!(text.starts_with("BEGIN:VCALENDAR\r\n") && text.ends_with("END:VCALENDAR\r\n"));
    // Every line is a name and a value, and what begins ends.
    let unfolded = text.replace("\r\n ", "");
    let mut open = vec![];
    for line in unfolded.lines() {
        let (name, value) = line.split_once(':').unwrap();
        match name {
            "BEGIN" => open.push(value),
            "END" => assert_eq!(open.pop(), Some(value)),
            _ => assert!(!name.is_empty()),
        }
    }
    assert!(open.is_empty());
    assert!(unfolded.contains("DTSTART;TZID=Europe/Paris:"), "{text}");
    assert!(unfolded.contains("UID:a."), "{text}");
    stage.get("/v1/jobs/b/calendar.ics").refused(404, "NoSuchJob");
}
