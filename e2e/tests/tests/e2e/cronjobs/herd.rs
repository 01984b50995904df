//! Goal: a thousand CronJobs of the same minute have one Job each, soon. Method: all are adopted, and a
//! watch notes when each Job comes. The Jobs are suspended: their pods would be made on the same cores
//! as everything else, and are no matter of who makes the Jobs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::core::PartialObjectMeta;
use orrery_e2e_cluster::poll;
use serde_json::{Value, json};

use super::{Stage, events, scheduler};

/// How many CronJobs, and minutes.
pub(super) const CRON_JOBS: &str = "ORRERY_CRON_JOBS";
pub(super) const MINUTES: &str = "ORRERY_CRON_MINUTES";
/// For all of them to be adopted, or to have their Jobs.
pub(super) const HERD_LIMIT: Duration = Duration::from_mins(10);
/// Requests at once of whoever makes the CronJobs.
const MADE_AT_ONCE: usize = 32;
/// Between two looks at how many requests the operator made.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

type Seen = Arc<Mutex<BTreeMap<String, Timestamp>>>;

pub(super) fn number(variable: &str, default: i64) -> i64 {
    let given = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(default)
}

/// How long the server alone takes for so many Jobs: nobody makes them sooner.
async fn alone(api: &Api<Job>, count: i64) -> Duration {
    let begun = Instant::now();
    let made = (0..count).map(|n| async move {
        let job = serde_json::from_value(json!({
            "metadata": { "name": format!("alone-{n}"), "labels": { "of": "nobody" } },
            "spec": { "suspend": true, "template": { "spec": { "restartPolicy": "Never",
                "containers": [{ "name": "a", "image": "registry.example/a:1" }] } } },
        }));
        api.create(&PostParams::default(), &job.expect("a Job")).await.map(drop)
    });
    let made = futures::stream::iter(made).buffer_unordered(MADE_AT_ONCE);
    made.try_collect::<Vec<()>>().await.expect("they are made");
    let took = begun.elapsed();
    let these = ListParams::default().labels("of=nobody");
    api.delete_collection(&DeleteParams::background(), &these).await.expect("they go");
    took
}

/// Makes the CronJobs of the herd, each by what is said of its number.
pub(super) async fn make(api: &Api<CronJob>, count: i64, of: impl Fn(i64) -> Value) {
    let made = (0..count).map(|n| {
        let mut cron_job = of(n);
        cron_job["metadata"]["name"] = json!(format!("herd-{n}"));
        if cron_job["spec"]["schedule"].is_null() {
            cron_job["spec"]["schedule"] = json!("* * * * *");
        }
        let cron_job: CronJob = serde_json::from_value(cron_job).expect("a CronJob");
        async move { api.create(&PostParams::default(), &cron_job).await.map(drop) }
    });
    let made = futures::stream::iter(made).buffer_unordered(MADE_AT_ONCE);
    made.try_collect::<Vec<()>>().await.expect("they are made");
}

/// Waits until all of them are adopted.
pub(super) async fn adopted(stage: &Stage, api: &Api<CronJob>, count: i64) {
    let adopted = poll("all are adopted", HERD_LIMIT, || async {
        let all = api.list(&ListParams::default()).await.expect("it lists").items;
        let is_adopted = |cron_job: &CronJob| {
            let spec = cron_job.spec.as_ref().expect("a spec");
            spec.suspend == Some(true)
                && cron_job.annotations().contains_key("orrery.dev/adopted-by")
                && !cron_job.annotations().contains_key("orrery.dev/stopped-at")
        };
        all.len() as i64 == count && all.iter().all(is_adopted)
    });
    adopted.await.unwrap_or_else(|error| panic!("{error}\n{}", stage.operator.log_tail()));
}

/// Waits until the status of each has this time.
pub(super) async fn written(stage: &Stage, api: &Api<CronJob>, second: i64) {
    let written = poll("every CronJob has the last minute", HERD_LIMIT, || async {
        let all = api.list(&ListParams::default()).await.expect("it lists").items;
        all.iter().all(|cron_job| {
            let status = cron_job.status.clone().unwrap_or_default();
            status.last_schedule_time.is_some_and(|time| time.0.as_second() >= second)
        })
    });
    written.await.unwrap_or_else(|error| panic!("{error}\n{}", stage.operator.log_tail()));
}

/// Notes when each Job is first seen, until the test ends.
async fn note(api: Api<Job>, seen: Seen) {
    let mut version = "0".to_owned();
    loop {
        let Ok(stream) = api.watch_metadata(&WatchParams::default(), &version).await else {
            continue;
        };
        let mut stream = std::pin::pin!(stream);
        while let Some(Ok(event)) = stream.next().await {
            let (WatchEvent::Added(job) | WatchEvent::Modified(job)) = event else { continue };
            version = job.resource_version().unwrap_or_default();
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.entry(job.name_any()).or_insert_with(Timestamp::now);
        }
    }
}

/// Requests that the operator made so far, by method.
pub(super) fn requests(port: u16) -> BTreeMap<String, u64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the operator listens");
    let ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(ask).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("rest_client_requests_total{method=\"") else {
            continue;
        };
        let (method, rest) = rest.split_once('"').expect("a label");
        let count = rest.rsplit(' ').next().and_then(|count| count.parse().ok());
        *counts.entry(method.to_owned()).or_default() += count.unwrap_or(0_u64);
    }
    counts
}

/// The Jobs of a minute, by name.
async fn of_minute(api: &Api<Job>, minute: i64) -> BTreeMap<String, PartialObjectMeta<Job>> {
    let jobs = api.list_metadata(&ListParams::default()).await.expect("it lists");
    let is_of = |job: &PartialObjectMeta<Job>| {
        let at = job.annotations().get(SCHEDULED);
        at.and_then(|at| at.parse::<Timestamp>().ok())
            .is_some_and(|at| at.as_second() == minute * 60)
    };
    jobs.items.into_iter().filter(is_of).map(|job| (job.name_any(), job)).collect()
}

pub(super) fn told(what: &str, mut values: Vec<i64>) {
    values.sort_unstable();
    let at = |part: usize| values[(values.len() - 1) * part / 100];
    println!("{what}: p50 {} ms, p99 {} ms, max {} ms", at(50), at(99), at(100));
}

pub(super) async fn until(minute: i64) {
    let wait = minute * 60_000 - Timestamp::now().as_millisecond();
    tokio::time::sleep(Duration::from_millis(wait.max(0).unsigned_abs())).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement of some minutes; scripts/nightly runs it"]
async fn a_herd_of_cron_jobs_of_one_minute_has_one_job_each() {
    let (count, minutes) = (number(CRON_JOBS, 1000), number(MINUTES, 2));
    let Some(stage) = Stage::new("herd").await else { return };
    let (cron_jobs, jobs) = (stage.namespace.api::<CronJob>(), stage.namespace.api::<Job>());
    stage.apply(&scheduler("Namespace")).await;
    stage.ready("scheduler/default").await;
    println!("the server alone makes {count} Jobs in {:.1?}", alone(&jobs, count).await);
    let begun = Instant::now();
    let suspended = json!({ "suspend": true, "template": { "spec": { "restartPolicy": "Never",
        "containers": [{ "name": "a", "image": "registry.example/a:1" }] } } });
    let of = |_| json!({ "metadata": {}, "spec": { "jobTemplate": { "spec": suspended } } });
    make(&cron_jobs, count, of).await;
    let made = begun.elapsed();
    adopted(&stage, &cron_jobs, count).await;
    println!("{count} CronJobs: made in {made:.1?}, adopted in {:.1?}", begun.elapsed());

    let seen = Seen::default();
    let watching = tokio::spawn(note(jobs.clone(), Arc::clone(&seen)));
    let first = Timestamp::now().as_second().div_euclid(60) + 1;
    for minute in first..first + minutes {
        until(minute).await;
        of_herd(&stage, &jobs, count, minute, &seen).await;
    }
    watching.abort();

    // Their CronJobs say so, and nobody finds a Job that is not its own.
    let last = (first + minutes - 1) * 60;
    written(&stage, &cron_jobs, last).await;
    for n in 0..count.min(10) {
        assert_eq!(events(&stage, &format!("herd-{n}"), "UnexpectedJob").await, "");
    }
}

/// A minute: who has a Job, since when, and what it cost.
async fn of_herd(stage: &Stage, jobs: &Api<Job>, count: i64, minute: i64, seen: &Seen) {
    let wanted: BTreeSet<String> = (0..count).map(|n| format!("herd-{n}-{minute}")).collect();
    let before = requests(stage.http);
    let (mut known, mut looked, mut busiest) = (before.clone(), Instant::now(), 0.0_f64);
    let limit = Instant::now() + HERD_LIMIT;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = requests(stage.http);
        let more = now.values().sum::<u64>() - known.values().sum::<u64>();
        busiest = busiest.max(more as f64 / looked.elapsed().as_secs_f64());
        (known, looked) = (now, Instant::now());
        let are_seen = {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.iter().all(|name| seen.contains_key(name))
        };
        // What is written of them follows.
        if are_seen && more < 20 {
            break;
        }
        assert!(Instant::now() < limit, "Jobs are missing\n{}", stage.operator.log_tail());
    }
    let made = of_minute(jobs, minute).await;
    let names: BTreeSet<String> = made.keys().cloned().collect();
    assert_eq!(names, wanted, "one Job for each CronJob, under its name");
    let foreign = made.values().find(|job| !job.annotations().contains_key("orrery.dev/run-key"));
    assert!(foreign.is_none(), "{foreign:?}");

    let nominal_ms = minute * 60_000;
    let created = made.values().map(|job| {
        let at = job.creation_timestamp().expect("it was made");
        at.0.as_millisecond() - nominal_ms
    });
    told(&format!("minute {minute}, creationTimestamp (whole seconds)"), created.collect());
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let arrived = wanted.iter().map(|name| seen[name].as_millisecond() - nominal_ms);
    told(&format!("minute {minute}, seen by a watch"), arrived.collect());
    let of_minute: BTreeMap<&String, u64> = known
        .iter()
        .map(|(method, count)| (method, count - before.get(method).copied().unwrap_or(0)))
        .collect();
    println!(
        "minute {minute}, requests of the operator: {of_minute:?}, at most {busiest:.0} a second"
    );
}
