//! A Scheduler whose journals a database carries: one pod owns the jobs, the other stands by and takes
//! its place, whatever happens to the owner.

use std::time::Instant;

use orrery_e2e_cluster::{Order, not_run};
use orrery_e2e_tests::postgres::Postgres;

use super::{Target, ask_pod, own_address, schedule, until_called};
use crate::group::{SIGCONT, SIGSTOP, TURN};
use crate::kubernetes::Stage;

const OWNER: &str = "-o=jsonpath={.status.partitions[0].owner} {.status.partitions[0].epoch}";
const JOBS: usize = 20;

/// The pod that owns every partition, and its epoch, above that of the owner before.
async fn owner(stage: &Stage, before: u64) -> (String, u64) {
    let parse = |text: &str| {
        let (pod, epoch) = text.split_once(' ')?;
        let epoch: u64 = epoch.parse().ok()?;
        (epoch > before).then(|| (pod.to_owned(), epoch))
    };
    let is_new = |text: &str| parse(text).is_some();
    let text = stage.until(&["get", "scheduler/default", OWNER], is_new).await;
    parse(&text).expect("it was looked at")
}

/// The next owner launches; says for how long nothing came. Each second has runs, so that a second less
/// was it that nobody launched.
async fn goes_on(
    stage: &Stage,
    target: &Target,
    what: &str,
    since: Instant,
    epoch: u64,
) -> (String, u64) {
    let next = owner(stage, epoch).await;
    until_called(target, "job-1", target.of("job-1") + 3).await;
    let silence = target.silence_since(since).as_millis();
    println!("{what}: nothing came for {silence} ms; {} owns the jobs", next.0);
    next
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
    let mut postgres = match Postgres::start(folder.path()) {
        Ok(postgres) => postgres,
        Err(why) => return not_run(&why),
    };
    let Some(stage) = Stage::new("standby").await else { return };
    let Some(address) = own_address() else { return };
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
    let (first, epoch) = owner(&stage, 0).await;
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
    let (second, epoch) = goes_on(&stage, &target, "a killed process", since, epoch).await;
    stage.ready("scheduler/default").await;
    verify(&stage, &second).await;

    // The owner sleeps beyond its lease, and wakes up when another one has its place.
    let since = Instant::now();
    assert!(stage.nodes.order(namespace, &second, Order::Signal(SIGSTOP)));
    let (third, epoch) = goes_on(&stage, &target, "a paused process", since, epoch).await;
    assert_ne!(third, second);
    stage.until(&service, |pod| pod == third).await;
    assert!(stage.nodes.order(namespace, &second, Order::Signal(SIGCONT)));
    stage.ready("scheduler/default").await;
    verify(&stage, &third).await;
    let table = stage.kubectl(&["get", "scheduler", "-o=wide"]).await.expect("it lists");
    assert!(table.contains("OWNER") && table.contains(&third), "{table}");

    // The database dies: nothing is launched that is not written down, and what was due comes late.
    postgres.crash();
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Degraded\")].reason}";
    stage.until(&["get", "scheduler/default", reason], |reason| reason == "JournalAway").await;
    postgres.again().expect("it starts");
    until_called(&target, "job-1", target.of("job-1") + 5).await;
    stage.ready("scheduler/default").await;
    let (third, epoch) = owner(&stage, epoch - 1).await;
    verify(&stage, &third).await;

    // The owner's pod is evicted: it leaves in order.
    let since = Instant::now();
    let pod = format!("pod/{third}");
    stage.kubectl(&["delete", &pod, "--wait=false"]).await.expect("it goes");
    let (fourth, _) = goes_on(&stage, &target, "a deleted pod", since, epoch).await;
    assert_ne!(fourth, third);
    stage.ready("scheduler/default").await;
    verify(&stage, &fourth).await;

    // Nothing is launched while the spec says so, and what is there can be looked at.
    let say = async |operation: &str| {
        let patch = format!("{{\"spec\":{{\"operation\":\"{operation}\"}}}}");
        let asked = ["patch", "scheduler/default", "--type=merge", "-p", &patch];
        stage.kubectl(&asked).await.expect("it is taken");
    };
    say("Fence").await;
    let path =
        "-o=jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.reason}{end}";
    stage.until(&["get", "scheduler/default", path], |text| text == "True FencedBySpec").await;
    let (owned, _) = owner(&stage, 0).await;
    verify(&stage, &owned).await;
    let before = target.of("job-1");
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(target.of("job-1"), before, "it goes on");
    say("Run").await;
    until_called(&target, "job-1", before + 3).await;
    stage.ready("scheduler/default").await;
    let (owned, _) = owner(&stage, 0).await;
    verify(&stage, &owned).await;
    target.check();
}
