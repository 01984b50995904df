//! Goal: a Scheduler that is deleted with its volume comes back from its archive, with the jobs of its API,
//! its ledger, and the keys of what it had launched. Method: real data planes archive into a folder of a
//! claim; a target keeps books of all of them.

use super::{LIMIT, Stage, Target, ask_pod, own_address, schedule, until_called};

const CLAIM: &str = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: backups}\n\
                     spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n";
const SUCCEEDED: &str = "-o=jsonpath={.status.conditions[?(@.type==\"Succeeded\")].status}";
const STALLED: &str = "-o=jsonpath={.status.conditions[?(@.type==\"Stalled\")].message}";
const ALWAYS: &str = r#"{"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}"#;

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: orrery.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n\
         spec: {spec}\n"
    )
}

async fn gone(stage: &Stage, target: &str) {
    let is_gone = || async { stage.kubectl(&["get", target]).await.err().map(drop) };
    let gone = orrery_e2e_cluster::poll_for(&format!("{target} is gone"), LIMIT, is_gone).await;
    gone.unwrap_or_else(|error| panic!("{error}"));
}

async fn add(stage: &Stage, name: &str, url: &str) {
    let job = format!(
        "{{\"spec\": {{\"when\": {{\"cron\": \"* * * * * *\"}}, \
         \"catchUp\": {{\"policy\": \"FireAll\", \"maxRuns\": 1000}}, \
         \"action\": {{\"http\": {{\"url\": \"{url}\"}}}}}}}}"
    );
    let path = format!("/v1/jobs/{name}");
    let answer = ask_pod(stage, "jobs-scheduler-0", "PUT", &path, &job).await;
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

async fn jobs(stage: &Stage, pod: &str) -> String {
    ask_pod(stage, pod, "GET", "/v1/jobs", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_comes_back_from_its_archive_and_launches_nothing_twice() {
    let Some(stage) = Stage::new("schedules-archive").await else { return };
    let Some(address) = own_address() else { return };
    let target = Target::start(address);
    stage.apply(CLAIM).await;
    let spec = "{partitions: 4, deletionPolicy: Snapshot, archive: {intervalSeconds: 1, \
                folder: {claimName: backups, path: first}}}";
    stage.apply(&object("Scheduler", "jobs", spec)).await;
    stage.ready("scheduler/jobs").await;
    let more = "  schedulerRef: {name: jobs}\n  catchUp: {policy: FireAll, maxRuns: 1000}\n";
    stage.apply(&schedule("tick", "{cron: \"* * * * * *\"}", &target.url, more)).await;
    stage.ready("schedule/tick").await;
    for name in ["one", "two", "three"] {
        add(&stage, name, &target.url).await;
    }
    until_called(&target, "three", 2).await;
    stage.apply(&object("Backup", "before", "{scheduler: {name: jobs}}")).await;
    stage.until(&["get", "backup/before", SUCCEEDED], |text| text == "True").await;
    add(&stage, "later", &target.url).await;
    until_called(&target, "later", 2).await;

    stage.kubectl(&["delete", "scheduler/jobs", "--wait=false"]).await.expect("it is there");
    gone(&stage, "scheduler/jobs").await;
    gone(&stage, "pvc/data-jobs-scheduler-0").await;
    let calls = target.of("tick");

    // What was due meanwhile follows, and the proof is of both lives.
    let namespace = stage.namespace();
    let spec = format!(
        "{{partitions: 4, archive: {{folder: {{claimName: backups, path: second}}}}, \
         bootstrap: {{recovery: {{archive: {{folder: {{claimName: backups, path: first}}, \
         object: {{namespace: {namespace}, name: jobs}}}}}}}}}}"
    );
    stage.apply(&object("Scheduler", "jobs", &spec)).await;
    stage.ready("scheduler/jobs").await;
    until_called(&target, "tick", calls + 5).await;
    let listed = jobs(&stage, "jobs-scheduler-0").await;
    for name in ["tick", "one", "two", "three", "later"] {
        assert!(listed.contains(&format!("\"name\":\"{name}\"")), "{name}: {listed}");
    }
    let verdict = ask_pod(&stage, "jobs-scheduler-0", "POST", "/v1/verify", ALWAYS).await;
    assert!(verdict.contains("\"isClean\":true") && verdict.contains("\"missed\":0"), "{verdict}");
    target.check();
    let from = "-o=jsonpath={.status.recoveredFrom.archive.folder.path}";
    stage.until(&["get", "scheduler/jobs", from], |text| text == "first").await;

    // As of the Backup, beside it: fenced, so that it can be looked at and launches nothing.
    let spec = "{partitions: 4, operation: Fence, bootstrap: {recovery: {backup: {name: before}}}}";
    stage.apply(&object("Scheduler", "copy", spec)).await;
    stage.ready("scheduler/copy").await;
    let listed = jobs(&stage, "copy-scheduler-0").await;
    assert!(listed.contains("\"three\"") && !listed.contains("\"later\""), "{listed}");
    target.check();

    // A Backup is of one kind.
    let spec = "{bootstrap: {recovery: {backup: {name: before}}}}";
    stage.apply(&object("KVCluster", "other", spec)).await;
    let told = |text: &str| text.contains("is that of a Scheduler");
    stage.until(&["get", "kvcluster/other", STALLED], told).await;
}
