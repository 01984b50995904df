//! A Schedule that makes a job of each row of a ConfigMap, while the ConfigMap is edited.

use super::{Target, ask, own_address, schedule, until_called};
use crate::kubernetes::Stage;

fn customers(key: &str, lines: &[&str]) -> String {
    let text = lines.join("\n    ");
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: customers}}\ndata:\n  {key}: |\n    {text}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_file_are_jobs_as_long_as_they_are_there() {
    let Some(stage) = Stage::new("schedule-rows").await else { return };
    let Some(address) = own_address() else { return };
    let target = Target::start(address);
    let rows = [r#"{"id": "ann", "second": 0}"#, r#"{"id": "bob", "second": 1}"#];
    stage.apply(&customers("rows.ndjson", &rows)).await;
    let when = "{cron: \"{{second}}/2 * * * * *\"}";
    let url = format!("{}/{{{{id}}}}", target.url);
    let more = "  template: {dataRef: {name: customers}, maxCount: 2}\n";
    stage.apply(&schedule("report", when, &url, more)).await;
    stage.ready("schedule/report").await;
    until_called(&target, "report:ann", 2).await;
    until_called(&target, "report:bob", 2).await;
    let jobs = ["get", "schedule/report", "-o=jsonpath={.status.jobs} {.status.lastRun.result}"];
    stage.until(&jobs, |text| text == "2 Succeeded").await;

    // The file changes, and the object does not.
    let rows = ["second,id", "0,ann", "0,carol"];
    stage.apply(&customers("rows.csv", &rows)).await;
    until_called(&target, "report:carol", 2).await;
    let listed = ask(&stage, "GET", "/v1/jobs?prefix=report", "").await;
    assert!(listed.contains("report:ann") && !listed.contains("report:bob"), "{listed}");

    // What is wrong with it is said, and the jobs go on.
    stage.apply(&customers("rows.csv", &["second,id", "0,ann", "0,ann"])).await;
    let path = "-o=jsonpath={range .status.conditions[?(@.type==\"Stalled\")]}\
                {.status} {.reason} {.message}{end}";
    let stalled = ["get", "schedule/report", path];
    let says = "line 3 of rows.csv has the id ann";
    stage.until(&stalled, |text| text.starts_with("True InvalidSpec") && text.contains(says)).await;
    let begun = target.of("report:carol");
    until_called(&target, "report:carol", begun + 2).await;
    let rows = ["second,id", "0,ann", "0,bob", "0,carol"];
    stage.apply(&customers("rows.csv", &rows)).await;
    stage.until(&stalled, |text| text.contains("has 3 rows, and 2 are the most")).await;
    stage.apply(&customers("rows.csv", &["second,id", "0,ann"])).await;
    stage.ready("schedule/report").await;
    stage.until(&jobs, |text| text.starts_with("1 ")).await;

    let range = r#"{"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}"#;
    let verdict = ask(&stage, "POST", "/v1/verify", range).await;
    assert!(verdict.contains("\"isClean\":true") && verdict.contains("\"missed\":0"), "{verdict}");
    target.check();
    stage.kubectl(&["delete", "schedule/report", "--wait"]).await.expect("it is deleted");
    let gone = || async {
        let listed = ask(&stage, "GET", "/v1/jobs?prefix=report", "").await;
        (!listed.contains("report:")).then_some(())
    };
    let gone = orrery_e2e_cluster::poll_for("its jobs are gone", crate::kubernetes::LIMIT, gone);
    gone.await.expect("the engine forgets them");
}
