//! Goal: a Backup is taken and a schedule makes its Backups, wherever the operator dies.
//! Method: as in `crash`, with pods of one process that answers the management protocol: a snapshot
//! is a number that grows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt, ResourceExt};
use orrery_api::backup::{Backup, BackupSchedule, BackupSpec};
use orrery_api::spec::LocalRef;
use orrery_e2e_cluster::{
    Cluster, ContainerState, Order, Phase, PodRunner, PodState, Seat, Step, poll,
};
use orrery_operand::OperandError;
use orrery_operand::progress::{Finished, ProgressSender};
use orrery_operand::server::{Access, Operand, service};
use orrery_operand::v1;
use orrery_runtime::backup::outcome;
use orrery_runtime::faults::{Faults, Side};
use orrery_runtime::labels;
use serde_json::{Value, json};

use crate::flows::tries_all;
use crate::stage::{LIMIT, Running, Stage, cleaned, options, stage};
use crate::toy::{ToyItems, ToySpec, ToySystem};

const WRITES_MAX: usize = 20;

/// A process whose every snapshot succeeds.
#[derive(Debug, Default)]
struct Engine {
    snapshots: AtomicU64,
}

#[tonic::async_trait]
impl Operand for Engine {
    async fn report(&self) -> v1::ReportResponse {
        v1::ReportResponse {
            system: "toy".into(),
            version: "1.0".into(),
            role: v1::Role::Primary.into(),
            ready: true,
            ..v1::ReportResponse::default()
        }
    }

    async fn sync(&self, request: v1::SyncRequest) -> Result<v1::SyncResponse, OperandError> {
        Ok(v1::SyncResponse { set_hash: request.set_hash, ..v1::SyncResponse::default() })
    }

    async fn drain(&self, _: u32, _: ProgressSender) -> Result<Finished, OperandError> {
        Err(OperandError::Unsupported("drain".into()))
    }

    async fn promote(&self, _: u32, _: u64) -> Result<v1::PromoteResponse, OperandError> {
        Err(OperandError::Unsupported("promote".into()))
    }

    async fn fence(&self, _: u32, _: u64) -> Result<v1::FenceResponse, OperandError> {
        Err(OperandError::Unsupported("fence".into()))
    }

    async fn snapshot(&self, to: String, on: ProgressSender) -> Result<Finished, OperandError> {
        if to != "archive:" {
            return Err(OperandError::Invalid(to));
        }
        on.step("copying", 1, 2);
        self.snapshots.fetch_add(1, Ordering::SeqCst);
        Ok(Finished { position: 7, location: "file:///archive".into(), units: 1, epoch: 3 })
    }

    async fn restore(&self, _: String, _: ProgressSender) -> Result<Finished, OperandError> {
        Err(OperandError::Unsupported("restore".into()))
    }
}

/// Runs pods as engines in this process.
#[derive(Debug)]
struct Engines {
    engine: Arc<Engine>,
}

#[async_trait]
impl PodRunner for Engines {
    fn answers(&self) -> bool {
        true
    }

    async fn run(&self, seat: &mut Seat) {
        let address: SocketAddr = format!("{}:{}", seat.address(), labels::MANAGEMENT_PORT)
            .parse()
            .expect("an address of this machine");
        let listener = tokio::net::TcpListener::bind(address).await.expect("it is free");
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let token = token(seat).await;
        let service = service(Arc::clone(&self.engine), Access::Token(token.into()));
        let server = tonic::transport::Server::builder().add_service(service);
        let serving = tokio::spawn(server.serve_with_incoming(incoming));
        let since = jiff::Timestamp::now();
        let state = ContainerState {
            id: String::new(),
            step: Step::Running { since },
            ready: true,
            restarts: 0,
            last: None,
        };
        let containers = [("toy".to_owned(), state)].into();
        seat.report(&PodState { phase: Phase::Running, reason: None, containers }).await;
        while !matches!(seat.order().await, Order::Stop { .. }) {}
        serving.abort();
    }
}

/// The token of the generated Secret, which is applied before the pods are.
async fn token(seat: &Seat) -> String {
    use k8s_openapi::api::core::v1::Secret;
    let pod = seat.pod();
    let name = format!("{}-toy", pod.labels()[labels::INSTANCE]);
    let api: Api<Secret> = Api::namespaced(seat.client(), &pod.namespace().unwrap_or_default());
    let secret = api.get(&name).await.expect("it is made first");
    let data = secret.data.expect("it has a token");
    String::from_utf8(data[labels::MANAGEMENT_TOKEN_KEY].0.clone()).expect("text")
}

async fn backup_stage(name: &str) -> Option<(Stage, Arc<Engine>)> {
    let stage = stage(name).await?;
    let (cluster, nodes) = Cluster::shared_with_nodes().await?;
    cluster.install_crds(&[Backup::crd(), BackupSchedule::crd()]).await.expect("valid");
    let engine = Arc::<Engine>::default();
    nodes.run_with(stage.name(), Arc::new(Engines { engine: Arc::clone(&engine) }));
    Some((stage, engine))
}

fn operator(stage: &Stage, faults: Faults) -> Running {
    stage.operator_of(options(stage.name()), faults, |operator| {
        let engine = operator.engine::<ToySystem>();
        operator.declared::<ToyItems>(&engine);
        operator.backups(&engine);
    })
}

fn archived() -> ToySpec {
    ToySpec { replicas: 1, archive: true, ..ToySpec::default() }
}

async fn make_backup(stage: &Stage, name: &str) {
    let backup = Backup::new(name, BackupSpec::of(LocalRef { name: "a".into() }));
    let api = stage.namespace.api::<Backup>();
    api.create(&PostParams::default(), &backup).await.expect("a valid object");
}

async fn backups(stage: &Stage) -> BTreeMap<String, Backup> {
    let all = stage.namespace.api::<Backup>().list(&ListParams::default()).await.expect("a list");
    all.into_iter().map(|backup| (backup.name_any(), backup)).collect()
}

async fn until(stage: &Stage, what: &str, wanted: impl Fn(&BTreeMap<String, Backup>) -> bool) {
    let held = poll(what, LIMIT, || async { wanted(&backups(stage).await) }).await;
    assert!(held.is_ok(), "{what}: {:#?}", backups(stage).await);
}

fn succeeded(backup: &Backup) -> bool {
    backup.status.as_ref().and_then(outcome) == Some(true)
}

fn reason(backup: &Backup) -> String {
    let status = serde_json::to_value(&backup.status).expect("JSON");
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
    ready.and_then(|ready| ready["reason"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// A Backup without what differs from run to run.
fn end(backup: &Backup) -> Value {
    let mut object = cleaned(serde_json::to_value(backup).expect("JSON"));
    for time in ["startedAt", "completedAt"] {
        assert!(object["status"][time].is_string(), "{time}: {object:#}");
        object["status"][time] = Value::Null;
    }
    object["status"]["archive"]["object"]["namespace"] = Value::Null;
    object
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_waits_for_what_it_needs_and_then_is_taken_once() {
    let Some((stage, engine)) = backup_stage("backup-waits").await else { return };
    let _operator = operator(&stage, Faults::default());
    make_backup(&stage, "one").await;
    until(&stage, "it waits for the engine", |all| reason(&all["one"]) == "RefNotFound").await;
    stage.create("a", ToySpec { archive: false, ..archived() }).await;
    until(&stage, "it has no archive", |all| reason(&all["one"]) == "NoArchive").await;
    stage.change("a", json!({ "archive": true })).await;
    until(&stage, "it is taken", |all| succeeded(&all["one"])).await;
    let status = backups(&stage).await["one"].status.clone().expect("a status");
    assert_eq!((status.position, status.percent), (Some(7), Some(100)));
    assert_eq!(status.archive.map(|archive| archive.object.name), Some("a".into()));
    let taken = engine.snapshots.load(Ordering::SeqCst);
    make_backup(&stage, "two").await;
    until(&stage, "the second is taken", |all| succeeded(&all["two"])).await;
    assert_eq!(engine.snapshots.load(Ordering::SeqCst), taken + 1, "the first is not taken again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_backup_ends_in_the_same_state() {
    let Some((stage, _)) = backup_stage("backup-crash").await else { return };
    let ready = operator(&stage, Faults::default());
    stage.create("a", archived()).await;
    stage.ready("a").await;
    make_backup(&stage, "golden").await;
    until(&stage, "taken", |all| succeeded(&all["golden"])).await;
    let mut golden = end(&backups(&stage).await["golden"]);
    drop(ready);
    let mut crashes = 0;
    for k in 1..=WRITES_MAX {
        let mut died = false;
        for side in [Side::Before, Side::After] {
            let name = format!("b{k}-{side:?}").to_lowercase();
            make_backup(&stage, &name).await;
            let faults = Faults::default();
            faults.crash_at(k, side);
            let doomed = operator(&stage, faults);
            let done = until(&stage, "taken", |all| succeeded(&all[&name]));
            died |= tokio::select! {
                () = doomed.faults.crashed() => true,
                () = done => false,
            };
            crashes += usize::from(died);
            drop(doomed);
            let _fresh = operator(&stage, Faults::default());
            until(&stage, "taken by the next one", |all| succeeded(&all[&name])).await;
            golden["metadata"]["name"] = json!(name);
            assert_eq!(end(&backups(&stage).await[&name]), golden, "crash {side:?} write {k}");
        }
        if !died {
            break;
        }
    }
    assert!(crashes >= 4, "at the least two statuses, on both sides: {crashes}");
}

/// A time of the schedule is due at once: the schedule was made before it by its own status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_schedule_makes_each_backup_once() {
    let Some((stage, _)) = backup_stage("schedule-crash").await else { return };
    let ready = operator(&stage, Faults::default());
    stage.create("a", archived()).await;
    stage.ready("a").await;
    drop(ready);
    let schedules = stage.namespace.api::<BackupSchedule>();
    let mut crashes = 0;
    // All of them in `make nightly`: the Backup, or the status that says so.
    let all = tries_all();
    let drawn = 1 + std::process::id() as usize % 2;
    for k in if all { 1..=WRITES_MAX } else { drawn..=drawn } {
        let mut died = false;
        for side in [Side::Before, Side::After] {
            let name = format!("s{k}-{side:?}").to_lowercase();
            // Once in a thousand years or so: the 29th of February, of which one is missed.
            let spec = json!({"cluster": {"name": "a"}, "schedule": "0 0 29 2 *", "retainLast": 1});
            let spec = serde_json::from_value(spec).expect("a spec");
            let made = BackupSchedule::new(&name, spec);
            schedules.create(&PostParams::default(), &made).await.expect("a valid object");
            let missed = json!({ "status": { "lastScheduleTime": "2020-01-01T00:00:00Z",
                "conditions": [], "replicas": 0, "readyReplicas": 0 } });
            let missed = Patch::Merge(missed);
            let params = PatchParams::default();
            schedules.patch_status(&name, &params, &missed).await.expect("it is there");
            let expected = format!("{name}-202402290000");
            let faults = Faults::default();
            faults.crash_at(k, side);
            let doomed = operator(&stage, faults);
            let done =
                until(&stage, "made up for", |all| all.get(&expected).is_some_and(succeeded));
            died |= tokio::select! {
                () = doomed.faults.crashed() => true,
                () = done => false,
            };
            crashes += usize::from(died);
            drop(doomed);
            let fresh = operator(&stage, Faults::default());
            until(&stage, "made up for", |all| all.get(&expected).is_some_and(succeeded)).await;
            let told = || async {
                let schedule = schedules.get(&name).await.expect("it is there");
                let status = schedule.status.unwrap_or_default();
                status.last_backup.as_deref() == Some(expected.as_str())
                    && status.next_schedule_time.is_some()
                    && status.last_schedule_time.map(|time| time.to_string()).as_deref()
                        == Some("2024-02-29T00:00:00Z")
            };
            if let Err(error) = poll("the status says so", LIMIT, told).await {
                let status = schedules.get(&name).await.expect("it is there").status;
                panic!("{error}: {side:?} {k}: {status:#?} {:#?}", fresh.faults.writes());
            }
            let all = backups(&stage).await;
            let own: Vec<_> = all.keys().filter(|backup| backup.starts_with(&name)).collect();
            assert_eq!(own, [&expected], "crash {side:?} write {k}");
        }
        if !died {
            break;
        }
    }
    let least = if all { 4 } else { 2 };
    assert!(crashes >= least, "a Backup and a status, on both sides: {crashes}");
}
