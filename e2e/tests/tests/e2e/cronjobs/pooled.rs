//! CronJobs whose commands run in a pool. Goal: every minute once, whoever has it. Method: the command
//! writes what it is run for, in the pod of a Job and in that of a pool; the minutes are counted.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::CronJob;
use orrery_e2e_cluster::{Processes, poll};
use orrery_e2e_tests::orrery_binary;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};

use super::herd::{self, CRON_JOBS, HERD_LIMIT, LOOK_EVERY, MINUTES, number, requests, told};
use crate::schedules::own_address;

use super::{ADOPTED, Stage, cron_job, events, until_jobs, until_stands};

fn scheduler(mode: &str, runs_per_pod: u32) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: Scheduler\nmetadata: {{name: default}}\n\
         spec:\n  adoptCronJobs: {{mode: {mode}}}\n  pools:\n  \
         - {{name: tools, image: \"registry.example/a:1\", size: 1, runsPerPod: {runs_per_pod}}}\n"
    )
}

/// Where a pod is reached by those that may not call loopback.
async fn relay(own: IpAddr, pod: String) -> SocketAddr {
    let listener = TcpListener::bind((own, 0)).await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            let pod = pod.clone();
            tokio::spawn(async move {
                // Whoever called sees that it broke.
                if let Ok(mut to) = TcpStream::connect(&pod).await {
                    _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
                }
            });
        }
    });
    address
}

/// A Scheduler with a pool of one pod, which it finds: names of Services lead to no process here.
async fn warm(stage: &Stage, own: IpAddr, mode: &str, runs_per_pod: u32) {
    stage.apply(&scheduler(mode, runs_per_pod)).await;
    stage.ready("scheduler/default").await;
    let select = "--selector=app.kubernetes.io/name=scheduler-pool";
    let address = ["get", "pods", select, "-o=jsonpath={.items[0].status.podIP}"];
    let address = stage.until(&address, |text| text.starts_with("127.")).await;
    let address = relay(own, format!("{address}:9410")).await.to_string();
    let name = format!("default-scheduler-pool-tools.{}.svc:9410", stage.namespace());
    let binary = orrery_binary().expect("make test builds it first");
    let processes = Processes::new().program("orrery", &binary).service(&name, &address);
    stage.nodes.run_with(stage.namespace(), Arc::new(processes));
    let restart = ["delete", "pod/default-scheduler-0", "--wait", "--ignore-not-found"];
    stage.kubectl(&restart).await.expect("it goes");
    let ready = ["get", "deployment", "-o=jsonpath={.items[0].status.readyReplicas}"];
    stage.until(&ready, |text| text == "1").await;
    stage.ready("scheduler/default").await;
}

/// A command that says which minute it is run for: the pool says the time, and the pod of a Job has it in
/// its name.
fn says(folder: &Path) -> String {
    let path = folder.join("minutes");
    format!("[sh, -c, 'echo ${{ORRERY_NOMINAL:-$HOSTNAME}} >> {}']", path.display())
}

/// The minutes that were said, and by whom: true is a pool.
fn said(folder: &Path) -> Vec<(i64, bool)> {
    let text = std::fs::read_to_string(folder.join("minutes")).unwrap_or_default();
    let minute = |line: &str| {
        if let Ok(nominal) = line.parse::<Timestamp>() {
            return (nominal.as_second().div_euclid(60), true);
        }
        let minute = line.rsplit('-').nth(1).and_then(|minute| minute.parse().ok());
        (minute.unwrap_or_else(|| panic!("{line:?} is no minute")), false)
    };
    text.lines().map(minute).collect()
}

async fn until_said(
    stage: &Stage,
    folder: &Path,
    what: &str,
    wanted: impl Fn(&[(i64, bool)]) -> bool,
) {
    let held = poll(what, Duration::from_mins(3), || async { wanted(&said(folder)) }).await;
    held.unwrap_or_else(|error| {
        panic!("{error}\n{:?}\n{}", said(folder), stage.operator.log_tail())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_in_a_pool_runs_each_minute_once_and_is_given_back() {
    let Some(own) = own_address() else { return };
    let Some(mut stage) = Stage::new("pooled").await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    warm(&stage, own, "Annotated", 4).await;
    let often = |annotations: &str| cron_job("often", "* * * * *", &says(folder), annotations, "");
    stage.apply(&often("")).await;
    until_said(&stage, folder, "its own controller runs it", |said| !said.is_empty()).await;

    // What a pool cannot do stays with its own controller.
    let pool = |name: &str| format!("{ADOPTED}, orrery.dev/pool: {name}");
    stage.apply(&often(&pool("tolls"))).await;
    let poll_events = poll("it says why", Duration::from_mins(1), || async {
        events(&stage, "often", "CronJobNotAdopted").await.contains("has no pool tolls")
    });
    poll_events.await.unwrap_or_else(|error| panic!("{error}\n{}", stage.operator.log_tail()));
    until_stands(&stage, "often", "false||").await;

    stage.apply(&often(&pool("tools"))).await;
    until_stands(&stage, "often", "true|default|false").await;
    let pooled = |said: &[(i64, bool)]| said.iter().filter(|(_, is_pooled)| *is_pooled).count();
    until_said(&stage, folder, "the pool runs it", |said| pooled(said) > 0).await;
    let last = "-o=jsonpath={.status.lastScheduleTime} {.status.lastSuccessfulTime}";
    let (newest, _) = *said(folder).last().expect("one");
    let newest = Timestamp::from_second(newest * 60).expect("a time").to_string();
    let shown = |text: &str| text.starts_with(&newest) && text.matches("20").count() >= 2;
    stage.until(&["get", "cronjob/often", last], shown).await;
    assert_eq!(events(&stage, "often", "UnexpectedJob").await, "");

    // Over a minute in which no operator runs.
    let minute = Timestamp::now().as_second().div_euclid(60) + 1;
    stage.operator.kill();
    let has = |said: &[(i64, bool)]| said.contains(&(minute, true));
    until_said(&stage, folder, "the pool runs it alone", has).await;
    stage.kill_operator("registry.example/orrery:test");

    // Jobs instead of the pool: each of its times is of one of them.
    stage.apply(&often(ADOPTED)).await;
    let ours = until_jobs(&stage, "of=often", |jobs| jobs.iter().any(super::is_ours)).await;
    let ours = ours.iter().find(|job| super::is_ours(job)).map(super::minute).expect("one");
    until_said(&stage, folder, "the Job runs it", |said| said.contains(&(ours, false))).await;

    // And the pool again, which then gives it back.
    stage.apply(&often(&pool("tools"))).await;
    until_said(&stage, folder, "the pool runs it again", |said| {
        said.iter().any(|(minute, is_pooled)| *is_pooled && *minute > ours)
    })
    .await;
    let back = ["annotate", "cronjob/often", "orrery.dev/adopt-"];
    stage.kubectl(&back).await.expect("it is written");
    until_stands(&stage, "often", "false||").await;
    stage.until(&["get", "schedule", "-o=name"], str::is_empty).await;
    let by_itself = said(folder).last().expect("some").0;
    until_said(&stage, folder, "its own controller goes on", |said| {
        said.iter().any(|(minute, is_pooled)| !is_pooled && *minute > by_itself)
    })
    .await;

    let all = said(folder);
    println!("minutes, and whether a pool ran them: {all:?}");
    let minutes: Vec<i64> = all.iter().map(|(minute, _)| *minute).collect();
    let mut sorted = minutes.clone();
    sorted.sort_unstable();
    let expected: Vec<i64> = (sorted[0]..sorted[0] + sorted.len() as i64).collect();
    assert_eq!(sorted, expected, "no minute is missed and none is there twice: {all:?}");
}

/// The Scheduler goes when its CronJobs are given back, and they are not before ours have stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_with_a_pool_that_is_deleted_gives_its_cron_jobs_back() {
    let Some(own) = own_address() else { return };
    let Some(stage) = Stage::new("unpooled").await else { return };
    warm(&stage, own, "Annotated", 4).await;
    let annotations = format!("{ADOPTED}, orrery.dev/pool: tools");
    stage.apply(&cron_job("yearly", "0 0 1 1 *", "[\"true\"]", &annotations, "")).await;
    let suspended = cron_job("rests", "* * * * *", "[\"true\"]", &annotations, "  suspend: true\n");
    stage.apply(&suspended).await;
    until_stands(&stage, "yearly", "true|default|false").await;
    until_stands(&stage, "rests", "true|default|true").await;
    // An edit that the engine refuses gives it back, and ours has ended.
    let never = "{\"spec\": {\"schedule\": \"0 0 31 2 *\"}}";
    stage.kubectl(&["patch", "cronjob/rests", "-p", never]).await.expect("it is patched");
    until_stands(&stage, "rests", "true||").await;
    stage.kubectl(&["delete", "scheduler/default", "--wait"]).await.expect("it goes");
    until_stands(&stage, "yearly", "false||").await;
    until_stands(&stage, "rests", "true||").await;
    stage.until(&["get", "schedules", "-o=name"], str::is_empty).await;
}

/// How late the commands of a thousand CronJobs of one minute begin, in a pod with a hundred places.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of some minutes; scripts/nightly runs it"]
async fn a_herd_of_cron_jobs_in_a_pool_begins_in_its_minute() {
    let (count, minutes) = (number(CRON_JOBS, 1000), number(MINUTES, 2));
    let Some(own) = own_address() else { return };
    let Some(stage) = Stage::new("warmherd").await else { return };
    let folder = tempfile::tempdir().expect("a folder");
    warm(&stage, own, "Namespace", 100).await;
    let cron_jobs = stage.namespace.api::<CronJob>();
    let begun = Instant::now();
    // None is due before all are adopted: what their own controller runs are Jobs.
    let first = Timestamp::now().as_second().div_euclid(60) + 3 + count / 200;
    let due: Vec<String> = (first..first + minutes).map(|m| m.rem_euclid(60).to_string()).collect();
    let schedule = format!("{} * * * *", due.join(","));
    let of = |n| {
        let file = folder.path().join(format!("herd-{n}"));
        let container =
            json!({ "name": "a", "image": "registry.example/a:1", "command": ["touch", file] });
        let pod = json!({ "restartPolicy": "Never", "containers": [container] });
        json!({ "metadata": { "annotations": { "orrery.dev/pool": "tools" } },
            "spec": { "schedule": schedule,
                "jobTemplate": { "spec": { "backoffLimit": 0, "template": { "spec": pod } } } } })
    };
    herd::make(&cron_jobs, count, of).await;
    let made = begun.elapsed();
    herd::adopted(&stage, &cron_jobs, count).await;
    println!("{count} CronJobs: made in {made:.1?}, adopted in {:.1?}", begun.elapsed());

    assert!(Timestamp::now().as_second() < first * 60, "they were adopted too late");
    for minute in first..first + minutes {
        herd::until(minute).await;
        of_minute(&stage, folder.path(), count, minute).await;
    }
    herd::written(&stage, &cron_jobs, (first + minutes - 1) * 60).await;
    assert_eq!(until_jobs(&stage, "orrery.dev/run-key", <[_]>::is_empty).await.len(), 0);
}

/// A minute: when each command began, and what it cost.
async fn of_minute(stage: &Stage, folder: &Path, count: i64, minute: i64) {
    let before = requests(stage.http);
    let nominal_ms = minute * 60_000;
    let wanted: BTreeSet<String> = (0..count).map(|n| format!("herd-{n}")).collect();
    let began = |name: &String| {
        let written = std::fs::metadata(folder.join(name)).ok()?.modified().ok()?;
        let since = written.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let late_ms = i64::try_from(since.as_millis()).ok()? - nominal_ms;
        (late_ms >= 0).then_some(late_ms)
    };
    let limit = Instant::now() + HERD_LIMIT;
    let late = loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let late: Vec<i64> = wanted.iter().filter_map(began).collect();
        if late.len() == wanted.len() {
            break late;
        }
        assert!(Instant::now() < limit, "{} began\n{}", late.len(), stage.operator.log_tail());
    };
    told(&format!("minute {minute}, the commands"), late);
    // What is written of them follows.
    let mut known = before.clone();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = requests(stage.http);
        let more = now.values().sum::<u64>() - known.values().sum::<u64>();
        known = now;
        if more < 20 {
            break;
        }
    }
    let spent = known.iter().map(|(method, all)| (method, all - before.get(method).unwrap_or(&0)));
    let spent: Vec<(&String, u64)> = spent.collect();
    println!("minute {minute}, requests of the operator: {spent:?}");
}
