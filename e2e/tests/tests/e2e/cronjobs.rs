//! Schedules that make Kubernetes Jobs, and CronJobs that are adopted, on a real API server with its own
//! controllers. The scenarios of Kubernetes' own `test/e2e/apps/cronjob.go` are here, of adopted
//! CronJobs. Pods that are to end run as processes; others wait for an image that there is not, and
//! their Jobs end when the test says so in their status, as the Job controller would.

#[path = "cronjobs/herd.rs"]
mod herd;
#[path = "cronjobs/pooled.rs"]
mod pooled;

use std::time::Duration;

use serde_json::Value;

use crate::kubernetes::Stage;

/// Pods of every Job here.
const PODS: &str =
    "{spec: {restartPolicy: Never, containers: [{name: a, image: registry.example/a:1}]}}";

fn schedule(name: &str, when: &str, more: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: Schedule\nmetadata: {{name: {name}}}\n\
         spec:\n  when: {when}\n  action:\n    kubernetesJob:\n      jobTemplate:\n        \
         metadata: {{labels: {{of: {name}}}}}\n        spec: {{template: {PODS}}}\n{more}"
    )
}

/// Jobs with this label, by name.
async fn jobs(stage: &Stage, label: &str) -> Vec<Value> {
    let text = stage.kubectl(&["get", "jobs", "-l", label, "-o=json"]).await.expect("it lists");
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let mut jobs = list["items"].as_array().expect("a list").clone();
    jobs.sort_by_key(|job| job["metadata"]["name"].as_str().map(str::to_owned));
    jobs
}

fn name(job: &Value) -> &str {
    job["metadata"]["name"].as_str().expect("a name")
}

async fn until_jobs(stage: &Stage, label: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let args = ["get", "jobs", "-l", label, "-o=json"];
    let parse = |text: &str| -> Vec<Value> {
        let list: Value = serde_json::from_str(text).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    };
    stage.until(&args, |text| wanted(&parse(text))).await;
    jobs(stage, label).await
}

/// Ends a Job as the Job controller would.
async fn finish(stage: &Stage, job: &str, condition: &str) {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let times = format!("\"lastTransitionTime\": \"{now}\", \"lastProbeTime\": \"{now}\"");
    let (criterion, more) = match condition {
        "Complete" => ("SuccessCriteriaMet", format!(", \"completionTime\": \"{now}\"")),
        _ => ("FailureTarget", String::new()),
    };
    let why = "\"reason\": \"BackoffLimitExceeded\", \"message\": \"it failed too often\"";
    let patch = format!(
        "{{\"status\": {{\"active\": 0, \"ready\": 0{more}, \"conditions\": [\
         {{\"type\": \"{criterion}\", \"status\": \"True\", {why}, {times}}}, \
         {{\"type\": \"{condition}\", \"status\": \"True\", {why}, {times}}}]}}}}"
    );
    let args = ["patch", "job", job, "--subresource=status", "--type=merge", "-p", &patch];
    stage.until(&args, |text| text.contains("patched")).await;
}

async fn last_result(stage: &Stage, schedule: &str, result: &str) {
    let object = format!("schedule/{schedule}");
    let path = "-o=jsonpath={.status.lastRun.result}";
    stage.until(&["get", &object, path], |text| text == result).await;
}

/// Milliseconds from the second a Job is for to its creation, whose time has whole seconds.
fn late_ms(job: &Value) -> i64 {
    let at = |text: &Value| -> jiff::Timestamp {
        text.as_str().expect("a time").parse().expect("RFC 3339")
    };
    let meta = &job["metadata"];
    let nominal = at(&meta["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]);
    at(&meta["creationTimestamp"]).as_millisecond() - nominal.as_millisecond()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_makes_a_job_for_each_second_and_says_how_it_ended() {
    let Some(stage) = Stage::new("jobs").await else { return };
    let limits = "      successfulJobsHistoryLimit: 1\n      failedJobsHistoryLimit: 1\n  \
                  concurrency: Forbid\n";
    stage.apply(&schedule("often", "{every: 2s}", limits)).await;
    stage.ready("schedule/often").await;
    let made = until_jobs(&stage, "of=often", |jobs| jobs.len() == 1).await;
    let first = name(&made[0]).to_owned();
    println!("{first}: {} ms late", late_ms(&made[0]));
    let owner = &made[0]["metadata"]["ownerReferences"][0];
    assert_eq!((&owner["kind"], &owner["controller"]), (&"Schedule".into(), &true.into()));
    last_result(&stage, "often", "Running").await;
    // Forbid: while the Job is not over, none is made.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(jobs(&stage, "of=often").await.len(), 1);

    finish(&stage, &first, "Failed").await;
    let made = until_jobs(&stage, "of=often", |jobs| jobs.len() == 2).await;
    let second = made.iter().map(name).find(|name| *name != first).expect("another").to_owned();
    // What succeeded is kept once, what failed is kept once.
    finish(&stage, &second, "Complete").await;
    let made = until_jobs(&stage, "of=often", |jobs| jobs.len() == 3).await;
    let third = made.iter().map(name).find(|name| *name != first && *name != second);
    finish(&stage, third.expect("a third"), "Complete").await;
    let gone = |jobs: &[Value]| !jobs.iter().any(|job| name(job) == second);
    let made = until_jobs(&stage, "of=often", gone).await;
    assert!(made.iter().any(|job| name(job) == first), "the one that failed stays");

    // A Job that somebody deletes is a run that failed.
    let made = until_jobs(&stage, "of=often", |jobs| {
        jobs.iter().any(|job| job["status"]["conditions"].is_null())
    })
    .await;
    let runs = made.iter().find(|job| job["status"]["conditions"].is_null()).expect("one runs");
    stage.apply(&schedule("often", "{every: 2s}", "  suspend: true\n")).await;
    stage.kubectl(&["delete", "job", name(runs)]).await.expect("it goes");
    last_result(&stage, "often", "Failed").await;
    stage.kubectl(&["delete", "schedule/often", "--wait"]).await.expect("it is deleted");
    until_jobs(&stage, "of=often", <[Value]>::is_empty).await;
}

/// A CronJob whose pods run a command of this machine.
fn cron_job(name: &str, schedule: &str, command: &str, annotations: &str, more: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\n\
         spec:\n  schedule: \"{schedule}\"\n  jobTemplate:\n    metadata: {{labels: {{of: {name}}}}}\n    \
         spec:\n      backoffLimit: 0\n      template:\n        spec:\n          restartPolicy: Never\n          \
         containers: [{{name: a, image: registry.example/a:1, command: {command}}}]\n{more}"
    )
}

const ADOPTED: &str = "orrery.dev/adopt: 'true'";
const ADOPTED_ARG: &str = "orrery.dev/adopt=true";

fn scheduler(mode: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: Scheduler\nmetadata: {{name: default}}\n\
         spec: {{adoptCronJobs: {{mode: {mode}}}}}\n"
    )
}

/// Whether it is suspended, who adopted it, and what the user wants.
const STANDS: &str = "-o=jsonpath={.spec.suspend}|{.metadata.annotations.orrery\\.dev/adopted-by}|\
                      {.metadata.annotations.orrery\\.dev/suspend}";

async fn until_stands(stage: &Stage, cron_job: &str, wanted: &str) {
    let object = format!("cronjob/{cron_job}");
    stage.until(&["get", &object, STANDS], |text| text == wanted).await;
}

/// The events of an object with this reason.
async fn events(stage: &Stage, object: &str, reason: &str) -> String {
    let field = format!("involvedObject.name={object},reason={reason}");
    let args = ["get", "events", "--field-selector", &field, "-o=jsonpath={.items[*].message}"];
    stage.kubectl(&args).await.expect("it lists")
}

/// The minute in the name of a Job.
fn minute(job: &Value) -> i64 {
    let (_, minute) = name(job).rsplit_once('-').expect("a minute");
    minute.parse().expect("a number")
}

fn is_ours(job: &Value) -> bool {
    job["metadata"]["annotations"]["orrery.dev/run-key"].is_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_cron_job_runs_each_minute_once_and_is_given_back() {
    let Some(mut stage) = Stage::new("adopts").await else { return };
    let keep = "  successfulJobsHistoryLimit: 20\n";
    let often = |annotations: &str| cron_job("often", "* * * * *", "[\"true\"]", annotations, keep);
    // Its own controller has it until it is adopted.
    stage.apply(&often("")).await;
    stage.apply(&scheduler("Annotated")).await;
    stage.ready("scheduler/default").await;
    until_stands(&stage, "often", "false||").await;
    stage.apply(&often(ADOPTED)).await;
    until_stands(&stage, "often", "true|default|false").await;
    stage.ready("schedule/often").await;
    let ours =
        |count: usize| move |jobs: &[Value]| jobs.iter().filter(|j| is_ours(j)).count() >= count;
    let made = until_jobs(&stage, "of=often", ours(1)).await;
    let first = made.iter().find(|job| is_ours(job)).expect("ours").clone();
    println!("{}: {} ms late", name(&first), late_ms(&first));
    let owner = &first["metadata"]["ownerReferences"][0];
    assert_eq!(owner["kind"], "CronJob");
    let last =
        "-o=jsonpath={.status.lastScheduleTime} {.status.lastSuccessfulTime} {.status.active}";
    let told = |text: &str| text.matches("20").count() == 2 && !text.contains("Job");
    stage.until(&["get", "cronjob/often", last], told).await;
    last_result(&stage, "often", "Succeeded").await;

    // The operator is killed before a minute, the process behind it in the same one.
    stage.kill_operator("registry.example/orrery:test");
    let kill = ["delete", "pod/default-scheduler-0", "--grace-period=0", "--force"];
    stage.kubectl(&kill).await.expect("it goes");
    let made = until_jobs(&stage, "of=often", ours(2)).await;
    assert!(made.len() >= 2);

    // What the user changes meanwhile is followed.
    let patch = "{\"spec\": {\"concurrencyPolicy\": \"Forbid\"}}";
    stage.kubectl(&["patch", "cronjob/often", "-p", patch]).await.expect("it is patched");
    let policy = ["get", "schedule/often", "-o=jsonpath={.spec.concurrency}"];
    stage.until(&policy, |text| text == "Forbid").await;
    until_stands(&stage, "often", "true|default|false").await;

    // Given back, its own controller goes on behind the newest minute that was run.
    let before = jobs(&stage, "of=often").await.len();
    stage
        .kubectl(&["annotate", "cronjob/often", "orrery.dev/adopt-"])
        .await
        .expect("it is written");
    until_stands(&stage, "often", "false||").await;
    stage.until(&["get", "schedule", "-o=name"], str::is_empty).await;
    let more = |jobs: &[Value]| jobs.len() > before && jobs.iter().any(|job| !is_ours(job));
    let made = until_jobs(&stage, "of=often", more).await;
    let all: Vec<i64> = made.iter().map(minute).collect();
    let expected: Vec<i64> = (all[0]..all[0] + all.len() as i64).collect();
    assert_eq!(all, expected, "no minute is missed and none is there twice");
    assert_eq!(events(&stage, "often", "UnexpectedJob").await, "");
    let adopted = events(&stage, "often", "CronJobAdopted").await;
    assert!(adopted.contains("Scheduler default runs it"), "{adopted:?}");
    assert!(!events(&stage, "often", "CronJobGivenBack").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_and_limits_of_adopted_cron_jobs_hold() {
    let Some(stage) = Stage::new("policies").await else { return };
    stage.apply(&scheduler("Namespace")).await;
    let sleep = "[sleep, \"600\"]";
    let policy = |policy: &str| {
        let name = policy.to_lowercase();
        let more = format!("  concurrencyPolicy: {policy}\n");
        cron_job(&name, "* * * * *", sleep, "", &more)
    };
    for policy in ["Allow", "Forbid", "Replace"].map(policy) {
        stage.apply(&policy).await;
    }
    let suspended = cron_job("suspended", "* * * * *", sleep, "", "  suspend: true\n");
    stage.apply(&suspended).await;
    let limits = "  successfulJobsHistoryLimit: 1\n  timeZone: Asia/Kolkata\n";
    stage.apply(&cron_job("limited", "* * * * *", "[\"true\"]", "", limits)).await;
    let fails = "  failedJobsHistoryLimit: 1\n";
    stage.apply(&cron_job("fails", "* * * * *", "[\"false\"]", "", fails)).await;
    for name in ["allow", "forbid", "replace", "limited", "fails"] {
        until_stands(&stage, name, "true|default|false").await;
    }
    until_stands(&stage, "suspended", "true|default|true").await;

    let made = until_jobs(&stage, "of=allow", |jobs| jobs.len() >= 2).await;
    assert!(made.iter().all(is_ours), "{made:?}");
    let newest = minute(made.last().expect("two"));
    let is_newest = |jobs: &[Value]| jobs.iter().any(|job| minute(job) >= newest);
    let replaced =
        until_jobs(&stage, "of=replace", |jobs| jobs.len() == 1 && is_newest(jobs)).await;
    assert_eq!(replaced.len(), 1, "one at a time, and the newest");
    let forbidden = jobs(&stage, "of=forbid").await;
    assert_eq!(forbidden.len(), 1, "the first goes on");
    assert!(minute(&forbidden[0]) < newest);
    assert!(jobs(&stage, "of=suspended").await.is_empty());
    let one = |jobs: &[Value]| jobs.len() == 1 && jobs.iter().all(|job| minute(job) >= newest);
    let limited = until_jobs(&stage, "of=limited", one).await;
    let zone =
        &limited[0]["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    assert!(zone.as_str().expect("a time").ends_with("+05:30"), "{zone}");
    stage
        .until(&["get", "cronjob/forbid", "-o=jsonpath={.status.active[*].name}"], |text| {
            text == name(&forbidden[0])
        })
        .await;
    last_result(&stage, "fails", "Failed").await;

    // A Job of Forbid that is over makes room for the next minute.
    stage.kubectl(&["delete", "job", name(&forbidden[0])]).await.expect("it goes");
    until_jobs(&stage, "of=forbid", |jobs| jobs.iter().any(|job| minute(job) > newest)).await;

    // Deleted in the midst of a run, all of it goes.
    stage.kubectl(&["delete", "cronjob/allow", "--wait"]).await.expect("it is deleted");
    until_jobs(&stage, "of=allow", <[Value]>::is_empty).await;
    stage.until(&["get", "schedules", "-o=name"], |text| !text.contains("/allow")).await;

    // The Scheduler goes when all is as it was; Jobs that run stay.
    let running = jobs(&stage, "of=replace").await;
    stage.kubectl(&["delete", "scheduler/default", "--wait"]).await.expect("it goes");
    for (name, stands) in [("forbid", "false||"), ("replace", "false||"), ("suspended", "true||")] {
        until_stands(&stage, name, stands).await;
    }
    stage.until(&["get", "schedules", "-o=name"], str::is_empty).await;
    let still = jobs(&stage, "of=replace").await;
    assert!(still.iter().any(|job| job["metadata"]["uid"] == running[0]["metadata"]["uid"]));
}

/// While the operator is away runs wait: they are late and not lost, unless they say until when.
#[tokio::test(flavor = "multi_thread")]
async fn runs_wait_for_the_operator_as_long_as_they_may() {
    let Some(mut stage) = Stage::new("waits").await else { return };
    stage.apply(&scheduler("Namespace")).await;
    let deadline = "  startingDeadlineSeconds: 15\n";
    stage.apply(&cron_job("patient", "* * * * *", "[\"true\"]", "", "")).await;
    stage.apply(&cron_job("hasty", "* * * * *", "[\"true\"]", "", deadline)).await;
    for name in ["patient", "hasty"] {
        until_stands(&stage, name, "true|default|false").await;
    }
    stage.operator.kill();
    let begun = jiff::Timestamp::now().as_second();
    let missed = begun.div_euclid(60) + 1;
    // Behind the next minute, and behind its deadline.
    let until = (missed * 60 + 25 - begun).unsigned_abs();
    tokio::time::sleep(Duration::from_secs(until)).await;
    assert!(jobs(&stage, "of=patient").await.iter().all(|job| minute(job) < missed));
    stage.kill_operator("registry.example/orrery:test");
    let made =
        until_jobs(&stage, "of=patient", |jobs| jobs.iter().any(|j| minute(j) == missed)).await;
    let late = made.iter().find(|job| minute(job) == missed).expect("it was waited for");
    println!("{}: {} ms late", name(late), late_ms(late));
    until_jobs(&stage, "of=hasty", |jobs| jobs.iter().any(|job| minute(job) > missed)).await;
    assert!(jobs(&stage, "of=hasty").await.iter().all(|job| minute(job) != missed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_adopted_stays_with_its_own_controller_and_says_why() {
    let Some(stage) = Stage::new("unadopted").await else { return };
    // Without a Scheduler that adopts, the annotation alone does nothing.
    let yearly = |more: &str| cron_job("yearly", "0 0 1 1 *", "[\"true\"]", ADOPTED, more);
    stage.apply(&yearly("")).await;
    // Its own controller takes a day that never comes.
    stage.apply(&cron_job("never", "0 0 31 2 *", "[\"true\"]", ADOPTED, "")).await;
    let http = "apiVersion: orrery.dev/v1alpha1\nkind: Schedule\nmetadata: {name: mine}\nspec:\n  \
                when: {cron: \"0 0 1 1 *\"}\n  action: {http: {url: \"http://a.example/\"}}\n";
    stage.apply(http).await;
    stage.apply(&cron_job("mine", "0 0 1 1 *", "[\"true\"]", ADOPTED, "")).await;
    stage.ready("scheduler/default").await;
    until_stands(&stage, "yearly", "false||").await;

    stage.apply(&scheduler("Annotated")).await;
    until_stands(&stage, "yearly", "true|default|false").await;
    let told = [
        "get",
        "events",
        "-o=jsonpath={range .items[*]}{.reason} {.regarding.name}\
                {.involvedObject.name}: {.message}{end}",
    ];
    stage
        .until(&told, |text| {
            text.contains("CronJobNotAdopted never: NeverFires")
                && text.contains("CronJobNotAdopted mine: an object of its name")
        })
        .await;
    until_stands(&stage, "never", "false||").await;
    until_stands(&stage, "mine", "false||").await;
    let url = ["get", "schedule/mine", "-o=jsonpath={.spec.action.http.url}"];
    assert_eq!(stage.kubectl(&url).await.as_deref(), Ok("http://a.example/"));

    // The annotation is the switch while the field is ours.
    let suspend = ["annotate", "--overwrite", "cronjob/yearly", "orrery.dev/suspend=true"];
    stage.kubectl(&suspend).await.expect("it is written");
    let suspended = ["get", "schedule/yearly", "-o=jsonpath={.spec.suspend}"];
    stage.until(&suspended, |text| text == "true").await;
    let patch = "{\"spec\": {\"suspend\": false}}";
    stage.kubectl(&["patch", "cronjob/yearly", "-p", patch]).await.expect("it is patched");
    until_stands(&stage, "yearly", "true|default|false").await;
    stage.until(&suspended, |text| text == "false").await;

    // An annotation that somebody wrote goes with the others.
    stage.kubectl(&suspend).await.expect("it is written");
    stage.until(&suspended, |text| text == "true").await;
    stage
        .kubectl(&["annotate", "cronjob/yearly", "orrery.dev/adopt-"])
        .await
        .expect("it is written");
    until_stands(&stage, "yearly", "true||").await;
    stage.kubectl(&["patch", "cronjob/yearly", "-p", patch]).await.expect("it is patched");
    stage.kubectl(&["annotate", "cronjob/yearly", ADOPTED_ARG]).await.expect("it is written");
    until_stands(&stage, "yearly", "true|default|false").await;

    // An edit that the engine cannot follow gives it back, and the next one takes it again.
    let patch = "{\"spec\": {\"schedule\": \"0 0 30 2 *\"}}";
    stage.kubectl(&["patch", "cronjob/yearly", "-p", patch]).await.expect("it is patched");
    until_stands(&stage, "yearly", "false||").await;
    let patch = "{\"spec\": {\"schedule\": \"0 0 2 1 *\"}}";
    stage.kubectl(&["patch", "cronjob/yearly", "-p", patch]).await.expect("it is patched");
    until_stands(&stage, "yearly", "true|default|false").await;

    // Off is the end of all of it.
    stage.apply(&scheduler("'Off'")).await;
    until_stands(&stage, "yearly", "false||").await;
    stage.until(&["get", "schedules", "-o=name"], |text| text.lines().count() == 1).await;
    let held = ["get", "scheduler/default", "-o=jsonpath={.metadata.finalizers}"];
    stage.until(&held, str::is_empty).await;
}
