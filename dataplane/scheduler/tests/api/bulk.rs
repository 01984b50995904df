//! Many jobs in one request.

use std::time::Instant;

use serde_json::json;

use super::line;
use crate::harness::Stage;

#[test]
fn a_line_that_is_refused_does_not_touch_the_others() {
    let stage = Stage::new();
    let odd = r#"{"name": "odd", "spec": {"when": {"cron": "61 * * * *"}, "action": {"http": {"url": "http://a/"}}}}"#;
    let unknown = r#"{"name": "unknown", "spec": {}, "colour": 3}"#;
    let lines = [&*line("a"), "{broken", "", odd, "[1]", &line("b"), unknown, &line("a")];
    let answer = stage.call("POST", "/v1/jobs").ndjson(lines.join("\r\n")).send();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/x-ndjson")));
    let lines = answer.lines();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0], json!({"name": "a", "revision": 1, "result": "created"}));
    assert_eq!((&lines[1]["line"], &lines[1]["name"]), (&json!(2), &json!(null)));
    assert_eq!(lines[1]["problem"]["title"], "MalformedRequest");
    assert_eq!((&lines[2]["line"], &lines[2]["name"]), (&json!(4), &json!("odd")));
    assert_eq!(lines[2]["problem"]["title"], "InvalidExpression");
    assert_eq!(lines[2]["problem"]["position"], 0);
    assert_eq!(lines[3]["problem"]["status"], 422);
    assert_eq!(lines[4]["result"], "created");
    assert_eq!(
        (&lines[5]["name"], &lines[5]["problem"]["status"]),
        (&json!("unknown"), &json!(422))
    );
    assert_eq!(lines[6], json!({"name": "a", "revision": 1, "result": "same"}));
    assert_eq!(stage.get("/v1/jobs").is(200)["total"], 2);
}

#[test]
fn ten_thousand_jobs_are_made_at_once_and_more_are_too_many() {
    let stage = Stage::new();
    let lines = |count: usize| {
        let lines: Vec<String> = (0..count).map(|n| line(&format!("job-{n:05}"))).collect();
        lines.join("\n")
    };
    let too_many = stage.call("POST", "/v1/jobs").ndjson(lines(10_001)).send();
    too_many.refused(413, "TooLarge");
    assert_eq!(stage.get("/v1/jobs").is(200)["total"], 0);
    let body = lines(10_000);
    let begun = Instant::now();
    let answer = stage.call("POST", "/v1/jobs").ndjson(body).send();
    let took = begun.elapsed();
    assert_eq!(answer.status, 200);
    let lines = answer.lines();
    assert_eq!(lines.len(), 10_000);
    assert!(lines.iter().all(|line| line["result"] == "created"));
    assert_eq!(lines[9_999]["name"], "job-09999");
    assert_eq!(stage.get("/v1/jobs").is(200)["total"], 10_000);
    println!("10,000 jobs took {took:?}");
}

#[test]
fn a_body_of_another_type_is_not_taken_for_jobs() {
    let stage = Stage::new();
    let answer = stage.call("POST", "/v1/jobs").json(&line("a")).send();
    answer.refused(415, "UnsupportedType");
    assert_eq!(stage.call("POST", "/v1/jobs").ndjson("").send().lines().len(), 0);
}

/// Jobs in a second, the way from a client to disk and back. Run it optimised.
#[test]
#[ignore = "a measurement"]
fn jobs_in_a_second() {
    const REQUESTS: usize = 20;
    let stage = Stage::new();
    let same = |n: usize| line(&format!("same-{n:06}"));
    let own_body = |n: usize| {
        let body = format!(r#""http": {{"body": "order {n}", "#);
        line(&format!("body-{n:06}")).replace(r#""http": {"#, &body)
    };
    let own_url = |n: usize| line(&format!("url-{n:06}")).replace("/run", &format!("/run/{n}"));
    let kinds: [(&str, &dyn Fn(usize) -> String); 3] = [
        ("alike", &same),
        ("with bodies of their own", &own_body),
        ("with URLs of their own", &own_url),
    ];
    for (what, job) in kinds {
        let bodies: Vec<String> = (0..REQUESTS)
            .map(|request| {
                let jobs = (0..10_000).map(|n| job(request * 10_000 + n));
                jobs.collect::<Vec<_>>().join("\n")
            })
            .collect();
        let begun = Instant::now();
        for body in bodies {
            let answer = stage.call("POST", "/v1/jobs").ndjson(body).send();
            assert_eq!(answer.text().matches("\"created\"").count(), 10_000);
        }
        let rate = (REQUESTS * 10_000) as f64 / begun.elapsed().as_secs_f64();
        println!("{rate:.0} jobs/s, {what}");
    }
}
