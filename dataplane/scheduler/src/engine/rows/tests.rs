use serde_json::json;

use super::*;

fn declared(spec: &Value, columns: &[&str], rows: &[&[&str]]) -> DeclaredSchedule {
    let spec: ScheduleSpec = serde_json::from_value(spec.clone()).unwrap();
    let line = |row: &&[&str]| {
        let cells = columns.iter().zip(*row).map(|(name, cell)| ((*name).to_owned(), json!(cell)));
        Value::Object(cells.collect()).to_string() + "\n"
    };
    let text = rows.iter().map(line).collect();
    let rows = Some([("rows".to_owned(), text)].into());
    DeclaredSchedule { exclusions: vec!["12-25".to_owned()], rows, ..spec.into() }
}

fn spec(action: &Value) -> Value {
    json!({
        "when": {"cron": "0 {{hour}} * * *", "timeZone": "{{zone}}"},
        "calendars": {"exclude": [{"name": "holidays"}]},
        "action": action,
        "template": {"dataRef": {"name": "customers"}},
    })
}

const COLUMNS: &[&str] = &["hour", "id", "zone"];

fn jobs(declared: &DeclaredSchedule) -> Result<Vec<(String, DeclaredSchedule)>, Refusal> {
    Expansion::of("report", declared)?.expect("it has rows").jobs().collect()
}

#[test]
fn each_row_is_a_job_with_its_own_texts() {
    let http = json!({"http": {
        "target": "billing",
        "path": "/run/{{id}}?zone={{ zone }}",
        "headers": [{"name": "x-zone", "value": "{{zone}}"}],
        "body": "{\"id\": \"{{id}}\", \"at\": {{hour}}, \"braces\": {{}}}",
    }});
    let declared =
        declared(&spec(&http), COLUMNS, &[&["7", "a", "Europe/Paris"], &["8", "b", "Etc/UTC"]]);
    let found = jobs(&declared).unwrap();
    let names: Vec<&str> = found.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["report:a", "report:b"]);
    let first = &found[0].1;
    assert_eq!(first.spec.when.cron.as_deref(), Some("0 7 * * *"));
    assert_eq!(first.spec.when.time_zone, "Europe/Paris");
    let http = first.spec.action.http.as_ref().unwrap();
    assert_eq!(http.path.as_deref(), Some("/run/a?zone=Europe%2FParis"));
    assert_eq!(http.headers[0].value, "Europe/Paris");
    assert_eq!(http.body.as_deref(), Some("{\"id\": \"a\", \"at\": 7, \"braces\": {{}}}"));
    // What made it is not part of it.
    assert!(first.spec.template.is_none() && first.rows.is_none());
    assert!(first.spec.calendars.is_empty());
    assert_eq!(first.exclusions, ["12-25"]);
}

#[test]
fn a_cell_does_not_leave_its_place() {
    let row: &[&[&str]] = &[&["a", "quote\" and\nline", "../x?y=1&z#"]];
    let columns = &["id", "text", "part"];
    let of = |action: &Value| {
        let mut spec = spec(action);
        spec["when"] = json!({"every": "1h"});
        let declared = declared(&spec, columns, row);
        jobs(&declared).map(|mut jobs| jobs.remove(0).1.spec.action)
    };
    let http = of(&json!({"http": {
        "url": "http://x-{{id}}.example/{{part}}", "body": "{\"a\": \"{{text}}\"}",
    }}));
    let http = http.unwrap().http.unwrap();
    assert_eq!(http.url.as_deref(), Some("http://x-a.example/..%2Fx%3Fy%3D1%26z%23"));
    assert_eq!(http.body.as_deref(), Some("{\"a\": \"quote\\\" and\\nline\"}"));
    // What is no JSON is taken as it is, unless the type says so.
    for (kind, body) in [
        ("text/plain", "told: quote\" and\nline"),
        ("application/json", "told: quote\\\" and\\nline"),
    ] {
        let action = json!({"http": {
            "url": "http://example/", "contentType": kind, "body": "told: {{text}}",
        }});
        assert_eq!(of(&action).unwrap().http.unwrap().body.as_deref(), Some(body));
    }
    let whole = json!({"http": {"url": "http://example/", "body": "{{text}}"}});
    assert_eq!(of(&whole).unwrap().http.unwrap().body.as_deref(), Some(row[0][1]));
    let pooled = json!({"pooledPod": {"pool": "tools", "command": ["say", "{{part}}"]}});
    assert_eq!(of(&pooled).unwrap().pooled_pod.unwrap().command, ["say", row[0][2]]);
}

#[test]
fn a_column_that_is_not_there_is_refused_with_the_row() {
    let http = json!({"http": {"url": "http://example/{{name}}"}});
    let declared = declared(&spec(&http), COLUMNS, &[&["7", "a", "Etc/UTC"]]);
    let refusal = jobs(&declared).unwrap_err();
    assert_eq!(refusal.message, "row a: there is no column name: the rows have hour, id, zone");
    let twice = DeclaredSchedule {
        rows: Some([("a.csv".to_owned(), "id\n1\n1\n".to_owned())].into()),
        ..declared
    };
    let refusal = Expansion::of("report", &twice).unwrap_err();
    assert!(refusal.message.contains("line 3 of a.csv has the id 1"), "{refusal}");
}

#[test]
fn names_lead_back_to_their_objects() {
    assert_eq!((object_of("report:a:b"), object_of("report")), ("report", "report"));
    assert!(is_of_row("report:a") && !is_of_row("report"));
    assert_eq!(said_of("report:a", "no"), "row a: no");
    assert_eq!(said_of("report", "no"), "no");
}
