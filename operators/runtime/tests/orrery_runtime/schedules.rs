//! Goal: a Schedule says what it waits for, and how it fares, without being asked all the time.
//! Method: processes that hold nothing answer for a Scheduler, and rounds of the net are far apart.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt};
use orrery_api::ConditionType;
use orrery_api::condition::find;
use orrery_api::scheduler::{RunResult, Schedule, ScheduleStatus, Scheduler};
use orrery_e2e_cluster::poll;
use orrery_runtime::faults::Faults;
use orrery_runtime::{Operator, Options};
use orrery_systems::scheduler::{Jobs, Schedules};
use serde_json::{Value, json};

use crate::operand::Answering;
use crate::stage::{LIMIT, Running, Stage, options, stage};

/// Longer than the test: nothing is noticed by a round of the net.
const NET: Duration = Duration::from_mins(30);

struct Bench {
    stage: Stage,
    processes: Answering,
    operator: Running,
}

fn settings(namespace: &str) -> Options {
    let mut options = options(namespace);
    options.net = NET;
    options
}

fn kinds(operator: &mut Operator) {
    let engine = operator.engine::<Jobs>();
    operator.declared::<Schedules>(&engine);
}

impl Bench {
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
        let operator = stage.operator_of(settings(stage.name()), Faults::default(), kinds);
        Some(Self { stage, processes, operator })
    }

    fn options(&self) -> Options {
        settings(self.stage.name())
    }

    fn schedules(&self) -> Api<Schedule> {
        self.stage.namespace.api()
    }

    async fn create(&self, name: &str, more: &Value) {
        let mut spec = json!({
            "when": { "cron": "0 7 * * *", "timeZone": "Europe/Paris" },
            "action": { "http": { "url": "http://billing.example/run" } },
        });
        let more = more.as_object().expect("an object").clone();
        spec.as_object_mut().expect("an object").extend(more);
        let schedule = Schedule::new(name, serde_json::from_value(spec).expect("a spec"));
        self.schedules().create(&PostParams::default(), &schedule).await.expect("a valid object");
    }

    async fn until(&self, name: &str, what: &str, wanted: impl Fn(&ScheduleStatus) -> bool) {
        let there = || async {
            let object = self.schedules().get(name).await.ok();
            object.and_then(|object| object.status).is_some_and(|status| wanted(&status))
        };
        if let Err(error) = poll(&format!("{name}: {what}"), LIMIT, there).await {
            panic!("{error}\n{:#?}", self.schedules().get(name).await);
        }
    }
}

fn ready(status: &ScheduleStatus) -> &str {
    let ready = find(&status.common.conditions, ConditionType::Ready);
    ready.map(|ready| ready.reason.as_str()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_a_schedule_fares_reaches_its_status_when_it_changes_and_costs_nothing_before() {
    let Some(bench) = Bench::new("schedules").await else { return };
    bench.create("a", &json!({})).await;
    bench.until("a", "taken over", |status| ready(status) == "AcceptedByEngine").await;
    let heard = || async { bench.processes.listeners() == 1 };
    poll("one stream for the one process", LIMIT, heard).await.expect("it is listened to");

    let next = |hour: u8| format!("2027-01-01T{hour:02}:00:00Z");
    let state = |hour: u8, result: &str| {
        json!({ "nextTimes": [next(hour)],
                "lastRun": { "nominal": next(hour - 1), "result": result } })
    };
    bench.processes.say("a", &state(7, "Succeeded"));
    let shows = |status: &ScheduleStatus, hour: u8| {
        status.next_times.first().is_some_and(|time| time.to_string() == next(hour))
    };
    bench.until("a", "the next time", |status| shows(status, 7)).await;
    bench.processes.say("a", &state(8, "Failed"));
    bench
        .until("a", "the one after", |status| {
            let result = status.last_run.as_ref().map(|run| run.result);
            shows(status, 8) && result == Some(RunResult::Failed)
        })
        .await;

    // Nothing happens: nothing is written, and nobody asks.
    let writes = || bench.operator.metrics.writes();
    let quiet = || async {
        let before = writes();
        tokio::time::sleep(Duration::from_secs(3)).await;
        writes() == before
    };
    poll("three quiet seconds", LIMIT, quiet).await.expect("it rests");

    let patch = Patch::Merge(json!({ "spec": { "suspend": true } }));
    bench.schedules().patch("a", &PatchParams::default(), &patch).await.expect("a valid change");
    bench.until("a", "suspended", |status| ready(status) == "Suspended").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_new_rules_of_a_zone_moved_are_one_event_whoever_restarts() {
    let Some(mut bench) = Bench::new("zone-rules").await else { return };
    bench.create("a", &json!({})).await;
    bench.until("a", "taken over", |status| ready(status) == "AcceptedByEngine").await;
    let state = |since: &str| json!({ "zoneChange": { "since": since, "message": "adds 1 run" } });
    let since = "2027-01-01T07:00:00Z";
    bench.processes.say("a", &state(since));
    let shows = |status: &ScheduleStatus, since: &str| {
        status.zone_change.as_ref().is_some_and(|change| change.since.to_string() == since)
    };
    bench.until("a", "the new rules", |status| shows(status, since)).await;
    let told = || async {
        let events: Api<Event> = bench.stage.namespace.api();
        let events = events.list(&ListParams::default()).await.expect("a list").items;
        let told = events.iter().filter(|event| event.reason.as_deref() == Some("RunsChanged"));
        told.map(|event| event.series.as_ref().map_or(1, |series| series.count)).sum::<i32>()
    };
    let once = || async { told().await == 1 };
    poll("one event", LIMIT, once).await.expect("it is told");

    // Another operator reads the same, and tells only of what is new.
    let operator = bench.stage.operator_of(bench.options(), Faults::default(), kinds);
    std::mem::replace(&mut bench.operator, operator).stop().await.expect("it ends");
    let since = "2027-06-01T07:00:00Z";
    bench.processes.say("a", &state(since));
    bench.until("a", "the newer rules", |status| shows(status, since)).await;
    let twice = || async { told().await == 2 };
    poll("one more event", LIMIT, twice).await.expect("it is told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_waits_for_its_calendar_and_follows_its_changes() {
    let Some(bench) = Bench::new("calendars").await else { return };
    bench.create("a", &json!({ "calendars": { "exclude": [{ "name": "days" }] } })).await;
    bench.create("b", &json!({})).await;
    bench.until("a", "waits", |status| ready(status) == "RefNotFound").await;
    bench.until("b", "does not wait for it", |status| ready(status) == "AcceptedByEngine").await;

    let maps: Api<ConfigMap> = bench.stage.namespace.api();
    let map = |day: &str| -> ConfigMap {
        let map = json!({ "metadata": { "name": "days" }, "data": { "days": day } });
        serde_json::from_value(map).expect("a ConfigMap")
    };
    maps.create(&PostParams::default(), &map("2027-12-25")).await.expect("it is made");
    bench.until("a", "goes on", |status| ready(status) == "AcceptedByEngine").await;
    let knows = |day: &'static str| {
        let processes = &bench.processes;
        move || async move {
            let seen = processes.seen();
            seen.values().any(|one| one.declared.get("a").is_some_and(|spec| spec.contains(day)))
        }
    };
    poll("the process knows the day", LIMIT, knows("2027-12-25")).await.expect("it is sent");
    let patch = Patch::Merge(json!({ "data": { "days": "2027-12-26" } }));
    maps.patch("days", &PatchParams::default(), &patch).await.expect("a valid change");
    poll("and the other one", LIMIT, knows("2027-12-26")).await.expect("it is sent");
}
