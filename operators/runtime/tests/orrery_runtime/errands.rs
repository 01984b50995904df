//! Goal: an errand becomes one Job at most, of an object of the engine that asks, and its process hears
//! how it ended.
//! Method: processes that hold nothing open errands; the server is the real one, and fails on purpose.
//! Jobs end when the test writes so into their status.

use std::sync::Arc;

use http::Method;
use k8s_openapi::api::batch::v1::Job;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt, ResourceExt};
use orrery_api::ConditionType;
use orrery_api::condition::is_true;
use orrery_api::scheduler::{Schedule, Scheduler};
use orrery_e2e_cluster::poll;
use orrery_operand::v1::{Cause, Errand, Standing};
use orrery_runtime::faults::{Faults, Instead, Side};
use orrery_systems::scheduler::{Jobs, Schedules};
use serde_json::{Value, json};

use crate::operand::{Answering, SOURCE};
use crate::stage::{LIMIT, Running, Stage, options, stage};

/// 2026-11-27T10:00:00Z, whose minute is in the names of Jobs.
const NOMINAL: i64 = 1_795_773_600;

struct Bench {
    stage: Stage,
    processes: Answering,
}

impl Bench {
    /// A namespace in which the Schedule `a` is carried out by an operator that has ended since.
    async fn new(name: &str) -> Option<Self> {
        let stage = stage(name).await?;
        let definitions = [Scheduler::crd(), Schedule::crd()];
        stage.namespace.cluster().install_crds(&definitions).await.expect("valid definitions");
        let Some(nodes) = stage.namespace.cluster().nodes().cloned() else {
            orrery_e2e_cluster::not_run("toy nodes are needed to answer as data planes");
            return None;
        };
        let processes = Answering::default();
        nodes.run_with(stage.name(), Arc::new(processes.clone()));
        let bench = Self { stage, processes };
        let operator = bench.operator(Faults::default());
        bench.schedule("a", &json!({})).await;
        drop(operator);
        Some(bench)
    }

    fn operator(&self, faults: Faults) -> Running {
        self.stage.operator_of(options(self.stage.name()), faults, |operator| {
            let engine = operator.engine::<Jobs>();
            let schedules = operator.declared::<Schedules>(&engine);
            operator.errands(&schedules);
            operator.adoption(&engine, &schedules);
        })
    }

    /// Makes a Schedule and waits until its engine has it.
    async fn schedule(&self, name: &str, container: &Value) {
        let mut pods =
            json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "b"}]});
        let one = pods["containers"][0].as_object_mut().expect("a container");
        one.extend(container.as_object().expect("fields").clone());
        let spec = json!({
            "when": { "cron": "0 0 1 1 *" },
            "action": { "kubernetesJob": {
                "jobTemplate": { "spec": { "template": { "spec": pods } } },
                "successfulJobsHistoryLimit": 1,
            } },
        });
        let schedule = Schedule::new(name, serde_json::from_value(spec).expect("a spec"));
        let api: Api<Schedule> = self.stage.namespace.api();
        api.create(&PostParams::default(), &schedule).await.expect("a valid object");
        let taken = || async {
            let status = api.get(name).await.ok().and_then(|object| object.status);
            status.is_some_and(|s| is_true(&s.common.conditions, ConditionType::Ready))
        };
        poll("the engine has it", LIMIT, taken).await.expect("it is taken over");
    }

    fn errand(&self, number: u64, name: &str) -> Errand {
        Errand {
            key: format!("{SOURCE}_0_{number}"),
            attempt: 1,
            kind: "Schedule".to_owned(),
            namespace: self.stage.name().to_owned(),
            name: name.to_owned(),
            nominal_seconds: NOMINAL + 60 * i64::try_from(number).expect("a small number"),
            cause: Cause::Schedule.into(),
            number,
            ..Errand::default()
        }
    }

    fn open(&self, errand: &Errand) {
        self.processes.errands().open(errand.clone());
    }

    fn jobs(&self) -> Api<Job> {
        self.stage.namespace.api()
    }

    async fn all_jobs(&self) -> Vec<Job> {
        self.jobs().list(&ListParams::default()).await.expect("a list").items
    }

    async fn until_said(&self, errand: &Errand, standing: Standing) -> String {
        let said = || async {
            let all = self.processes.settled(&errand.key);
            all.iter().any(|(said, _)| *said == standing)
        };
        if let Err(error) = poll(&format!("{standing:?}"), LIMIT, said).await {
            panic!("{error}: {:?}", self.processes.settled(&errand.key));
        }
        let all = self.processes.settled(&errand.key);
        all.into_iter().find(|(said, _)| *said == standing).expect("it was said").1
    }

    /// Ends a Job as the Job controller would, once that one has begun it.
    async fn finish(&self, name: &str, is_success: bool) {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = |type_: &str| {
            json!({"type": type_, "status": "True", "reason": "Test", "message": "it is over",
                "lastTransitionTime": now, "lastProbeTime": now})
        };
        let mut status = json!({"active": 0, "ready": 0});
        let types = if is_success {
            status["completionTime"] = json!(now);
            ["SuccessCriteriaMet", "Complete"]
        } else {
            ["FailureTarget", "Failed"]
        };
        status["conditions"] = json!(types.map(condition));
        let patch = Patch::Merge(json!({ "status": status }));
        let done = || async {
            let params = PatchParams::default();
            self.jobs().patch_status(name, &params, &patch).await.is_ok()
        };
        poll("the Job is over", LIMIT, done).await.expect("its status is taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_operator_dies_there_is_one_job_and_its_end_is_told() {
    let Some(bench) = Bench::new("errand-crash").await else { return };
    let mut number = 0;
    let mut crashes = 0;
    for k in 1..=10 {
        let mut died = false;
        for side in [Side::Before, Side::After] {
            number += 1;
            let errand = bench.errand(number, "a");
            let faults = Faults::default();
            faults.crash_at(k, side);
            let operator = bench.operator(faults);
            bench.open(&errand);
            let name = format!("a-{}", NOMINAL / 60 + i64::try_from(number).expect("small"));
            let course = async {
                bench.until_said(&errand, Standing::Started).await;
                bench.finish(&name, number % 2 == 0).await;
                let end = if number % 2 == 0 { Standing::Succeeded } else { Standing::Failed };
                bench.until_said(&errand, end).await;
            };
            let has_died = tokio::select! {
                () = operator.faults.crashed() => true,
                () = course => false,
            };
            drop(operator);
            let fresh = bench.operator(Faults::default());
            bench.until_said(&errand, Standing::Started).await;
            let of_errand = |job: &&Job| job.annotations().values().any(|v| *v == errand.key);
            let made = bench.all_jobs().await;
            if has_died {
                assert_eq!(made.iter().filter(of_errand).count(), 1, "{side:?} write {k}");
                if bench.processes.settled(&errand.key).len() == 1 {
                    bench.finish(&name, true).await;
                }
            }
            let over = || async { !bench.processes.errands().has(&errand.key, 1) };
            poll("it is settled", LIMIT, over).await.expect("it is settled");
            drop(fresh);
            died |= has_died;
            crashes += usize::from(has_died);
        }
        if !died {
            break;
        }
    }
    assert!(crashes >= 2, "a Job is made, on both sides: {crashes}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_fails_makes_it_late_and_one_that_refuses_ends_it() {
    let Some(bench) = Bench::new("errand-faults").await else { return };
    let faults = Faults::default();
    let operator = bench.operator(faults.clone());
    bench.schedule("bad", &json!({"name": "No Name"})).await;

    // Away, then done without an answer: late, and once.
    faults.fail(Method::POST, "/jobs", Instead::Status(503), 3);
    faults.fail(Method::POST, "/jobs", Instead::StatusAfter(504), 1);
    let late = bench.errand(1, "a");
    bench.open(&late);
    bench.until_said(&late, Standing::Started).await;
    assert_eq!(bench.all_jobs().await.len(), 1);

    // No quota, no rights: another attempt may do better.
    faults.fail(Method::POST, "/jobs", Instead::Status(403), 1);
    let poor = bench.errand(2, "a");
    bench.open(&poor);
    bench.until_said(&poor, Standing::Failed).await;

    // Its own words say what is wrong with a template.
    let wrong = bench.errand(3, "bad");
    bench.open(&wrong);
    let why = bench.until_said(&wrong, Standing::Refused).await;
    assert!(why.contains("containers[0].name"), "{why}");

    // Too late to begin.
    let expired = Errand { expires_milliseconds: NOMINAL * 1000, ..bench.errand(4, "a") };
    let expired = Errand { expires_milliseconds: 1, ..expired };
    bench.open(&expired);
    bench.until_said(&expired, Standing::Expired).await;

    // Begun before, and gone: it failed, and is not begun again.
    let gone = Errand { started: true, ..bench.errand(5, "a") };
    bench.open(&gone);
    let why = bench.until_said(&gone, Standing::Failed).await;
    assert!(why.contains("deleted"), "{why}");
    assert_eq!(bench.all_jobs().await.len(), 1);
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_brings_nothing_about_but_that_its_own_objects_run() {
    let Some(bench) = Bench::new("errand-strange").await else { return };
    let foreign = json!({
        "metadata": { "name": format!("a-{}", NOMINAL / 60 + 1) },
        "spec": { "suspend": true, "template": { "spec": {
            "restartPolicy": "Never", "containers": [{ "name": "x", "image": "y" }] } } },
    });
    let foreign: Job = serde_json::from_value(foreign).expect("a Job");
    let foreign = bench.jobs().create(&PostParams::default(), &foreign).await.expect("it is made");
    let operator = bench.operator(Faults::default());
    let elsewhere = "kube-system".to_owned();
    let cases = [
        (bench.errand(1, "a"), Standing::Refused),
        (bench.errand(2, "nothing"), Standing::Cancelled),
        (Errand { uid: "another".to_owned(), ..bench.errand(3, "a") }, Standing::Cancelled),
        (Errand { namespace: elsewhere, ..bench.errand(4, "a") }, Standing::Cancelled),
        (Errand { kind: "Secret".to_owned(), ..bench.errand(5, "a") }, Standing::Refused),
    ];
    for (errand, standing) in &cases {
        bench.open(errand);
        bench.until_said(errand, *standing).await;
    }
    let engine = Scheduler::new("other", serde_json::from_value(json!({})).expect("a spec"));
    let engines: Api<Scheduler> = bench.stage.namespace.api();
    engines.create(&PostParams::default(), &engine).await.expect("it is made");
    let spec = json!({
        "schedulerRef": { "name": "other" }, "when": { "cron": "0 0 1 1 *" },
        "action": { "http": { "url": "http://a.example/" } },
    });
    let calls = Schedule::new("calls", serde_json::from_value(spec).expect("a spec"));
    let schedules: Api<Schedule> = bench.stage.namespace.api();
    schedules.create(&PostParams::default(), &calls).await.expect("it is made");
    let has = || async {
        let found = schedules.get("calls").await.ok().and_then(|object| object.status);
        found.is_some_and(|s| is_true(&s.common.conditions, ConditionType::Ready))
    };
    poll("the other engine has it", LIMIT, has).await.expect("it is taken over");
    // Both engines are the same process here, and one of them asks first: neither may have it run.
    let http = bench.errand(6, "calls");
    bench.open(&http);
    let settled = || async { !bench.processes.errands().has(&http.key, 1) };
    poll("it is settled", LIMIT, settled).await.expect("it is settled");
    let jobs = bench.all_jobs().await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0].uid(), foreign.uid());
    assert_eq!(jobs[0].metadata.generation, foreign.metadata.generation);
    assert!(jobs[0].metadata.deletion_timestamp.is_none() && jobs[0].annotations().is_empty());
    drop(operator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_is_ended_even_if_nobody_heard_it() {
    let Some(bench) = Bench::new("errand-back").await else { return };
    let operator = bench.operator(Faults::default());
    let (heard, unheard, kept) = (bench.errand(1, "a"), bench.errand(2, "a"), bench.errand(3, "a"));
    for errand in [&heard, &unheard, &kept] {
        bench.open(errand);
        bench.until_said(errand, Standing::Started).await;
    }
    assert!(bench.processes.errands().cancel(&heard.key, 1));
    bench.until_said(&heard, Standing::Cancelled).await;
    assert_eq!(bench.all_jobs().await.len(), 2);
    drop(operator);

    // Ended in its process while no operator was there.
    bench.processes.errands().close(&unheard.key, 1);
    let operator = bench.operator(Faults::default());
    let one = || async { bench.all_jobs().await.len() == 1 };
    poll("one is left", LIMIT, one).await.expect("the lost one is ended");
    assert!(bench.processes.errands().has(&kept.key, 1));

    // One that somebody deletes has failed.
    let name = bench.all_jobs().await[0].name_any();
    bench.jobs().delete(&name, &DeleteParams::background()).await.expect("it goes");
    bench.until_said(&kept, Standing::Failed).await;
    drop(operator);
}
