//! A Scheduler whose journals a database carries: one pod owns the jobs, the other stands by and takes
//! its place, whatever happens to the owner.

use std::time::{Duration, Instant};

use orrery_e2e_cluster::{Order, not_run, poll_for};
use orrery_e2e_tests::postgres::Postgres;

use super::{Target, ask_pod, own_address, schedule, until_called};
use crate::group::{SIGCONT, SIGSTOP, TURN};
use crate::kubernetes::{LIMIT, Stage};

const OWNER: &str = "-o=jsonpath={.status.partitions[0].owner} {.status.partitions[0].epoch}";
const JOBS: usize = 20;

/// The pod that owns every partition, and under which epoch; another than `before`.
async fn owner(stage: &Stage, before: &str) -> (String, u64) {
    let is_new = |text: &str| {
        text.split_once(' ').is_some_and(|(pod, epoch)| {
            pod != before && !pod.is_empty() && epoch.parse::<u64>().is_ok_and(|epoch| epoch > 0)
        })
    };
    let text = stage.until(&["get", "scheduler/default", OWNER], is_new).await;
    let (pod, epoch) = text.split_once(' ').expect("it was looked at");
    (pod.to_owned(), epoch.parse().expect("a number"))
}

/// The newest second that any job ran for, as it was asked for.
fn newest(target: &Target) -> String {
    let calls = target.calls.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    calls.keys().map(|(_, nominal)| nominal.clone()).max().unwrap_or_default()
}

/// How long after `since` a run of a later second came than any before.
async fn goes_on(target: &Target, what: &str, since: Instant) -> Duration {
    let before = newest(target);
    let held = poll_for(what, LIMIT, || async { (newest(target) > before).then_some(()) });
    held.await.unwrap_or_else(|error| panic!("{error}"));
    let took = since.elapsed();
    println!("{what}: the next launch after {} ms", took.as_millis());
    took
}

async fn verify(stage: &Stage, pod: &str) {
    let range = r#"{"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"}"#;
    let verdict = ask_pod(stage, pod, "POST", "/v1/verify", range).await;
    assert!(verdict.contains("\"isClean\":true") && verdict.contains("\"missed\":0"), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stands_by_takes_the_place_of_a_lost_owner() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let postgres = match Postgres::start(folder.path()) {
        Ok(postgres) => postgres,
        Err(why) => return not_run(&why),
    };
    let Some(stage) = Stage::new("standby").await else { return };
    let Some(address) = own_address() else {
        return println!("not run: this machine has no address but loopback");
    };
    let target = Target::start(address);
    stage
        .apply(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: engine}}\nstringData: {}\n---\n\
             apiVersion: orrery.dev/v1alpha1\nkind: Scheduler\nmetadata: {{name: default}}\n\
             spec:\n  replicas: 2\n  partitions: 4\n  journal: {{backend: Postgres, ref: {{name: engine}}}}\n",
            postgres.secret()
        ))
        .await;
    stage.ready("scheduler/default").await;
    let more = "  catchUp: {policy: FireAll, maxRuns: 100}\n";
    let jobs = (0..JOBS)
        .map(|job| schedule(&format!("job-{job}"), "{cron: \"* * * * * *\"}", &target.url, more));
    stage.apply(&jobs.collect::<Vec<_>>().join("\n---\n")).await;
    until_called(&target, "job-0", 3).await;
    let durability = ["get", "scheduler/default", "-o=jsonpath={.status.durability}"];
    assert_eq!(stage.kubectl(&durability).await.expect("it is there"), "postgres");
    let (first, epoch) = owner(&stage, "").await;
    let other = if first.ends_with('0') { "default-scheduler-1" } else { "default-scheduler-0" };
    let refused = ask_pod(&stage, other, "GET", "/v1/jobs", "").await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("NotTheOwner"), "{refused}");
    let selector = "-o=jsonpath={.spec.selector.statefulset\\.kubernetes\\.io/pod-name}";
    let service = ["get", "service/default-scheduler", selector];
    stage.until(&service, |pod| pod == first).await;

    // The owner's process is killed without a word.
    let namespace = stage.namespace.name();
    let since = Instant::now();
    assert!(stage.nodes.order(namespace, &first, Order::Crash));
    goes_on(&target, "the owner's process was killed", since).await;
    stage.ready("scheduler/default").await;
    let (second, later) = owner(&stage, "").await;
    assert!(later > epoch, "epoch {later} of {second} is not behind {epoch} of {first}");
    verify(&stage, &second).await;

    // The owner sleeps beyond its lease, and wakes up when another one has its place.
    let since = Instant::now();
    assert!(stage.nodes.order(namespace, &second, Order::Signal(SIGSTOP)));
    let (third, _) = owner(&stage, &second).await;
    goes_on(&target, "the owner fell asleep", since).await;
    stage.until(&service, |pod| pod == third).await;
    assert!(stage.nodes.order(namespace, &second, Order::Signal(SIGCONT)));
    stage.ready("scheduler/default").await;
    verify(&stage, &third).await;
    let table = stage.kubectl(&["get", "scheduler"]).await.expect("it lists");
    assert!(table.contains("OWNER") && table.contains(&third), "{table}");

    // The owner's pod is evicted: it leaves in order.
    let since = Instant::now();
    let pod = format!("pod/{third}");
    stage.kubectl(&["delete", &pod, "--wait=false"]).await.expect("it goes");
    goes_on(&target, "the owner's pod was deleted", since).await;
    let (fourth, _) = owner(&stage, &third).await;
    stage.ready("scheduler/default").await;
    verify(&stage, &fourth).await;
    target.check();
}
