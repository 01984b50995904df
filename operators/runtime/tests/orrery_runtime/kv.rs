//! Goal: wherever the operator dies while it makes, changes or deletes a KVCluster, a fresh one
//! brings the object to the same end. Method: as in `crash`, in one namespace, so that even the
//! hashes are equal. The pods stand still behind their toy nodes, so the end is an object that is
//! made and whose processes do not answer.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt, ResourceExt};
use orrery_api::kv::{KVCluster, KVClusterSpec, KVNamespace};
use orrery_e2e_cluster::poll;
use orrery_runtime::faults::{Faults, Side};
use orrery_runtime::{Options, labels};
use orrery_systems::kv::{Kv, Namespaces};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Running, Stage, cleaned, options, stage};

const WRITES_MAX: usize = 40;

pub(crate) type State = BTreeMap<String, Value>;

pub(crate) async fn kv_stage(name: &str) -> Option<Stage> {
    let stage = stage(name).await?;
    let definitions = [KVCluster::crd(), KVNamespace::crd()];
    stage.namespace.cluster().install_crds(&definitions).await.expect("valid definitions");
    Some(stage)
}

pub(crate) fn operator(stage: &Stage, faults: Faults) -> Running {
    operator_with(stage, options(stage.name()), faults)
}

pub(crate) fn operator_with(stage: &Stage, options: Options, faults: Faults) -> Running {
    stage.operator_of(options, faults, |operator| {
        let engine = operator.engine::<Kv>();
        operator.declared::<Namespaces>(&engine);
    })
}

pub(crate) fn clusters(stage: &Stage) -> Api<KVCluster> {
    stage.namespace.api()
}

pub(crate) async fn create(stage: &Stage) {
    let cluster = KVCluster::new("a", KVClusterSpec::default());
    clusters(stage).create(&PostParams::default(), &cluster).await.expect("a valid object");
}

pub(crate) async fn change(stage: &Stage) {
    let patch = Patch::Merge(json!({ "spec": { "memory": { "limit": "1Gi" }, "replicas": 1,
        "resp": { "port": 6380 } } }));
    clusters(stage).patch("a", &PatchParams::default(), &patch).await.expect("a valid change");
}

pub(crate) async fn delete(stage: &Stage) {
    clusters(stage).delete("a", &DeleteParams::default()).await.expect("it is there");
    poll("nothing left", LIMIT, || async { state(stage).await.is_empty() }).await.expect("deleted");
}

pub(crate) async fn state(stage: &Stage) -> State {
    let mut state = State::new();
    let selector = labels::managed_by_selector();
    let ours = ListParams::default().labels(&selector);
    macro_rules! dump {
        ($params:expr, $($kind:ty),*) => { $(
            for object in stage.namespace.api::<$kind>().list($params).await.expect("a list") {
                let name = format!("{} {}", stringify!($kind), object.name_any());
                state.insert(name, cleaned(serde_json::to_value(&object).expect("JSON")));
            }
        )* };
    }
    dump!(&ours, ServiceAccount, Secret, ConfigMap, Service, NetworkPolicy, PodDisruptionBudget);
    dump!(&ours, StatefulSet);
    dump!(&ListParams::default(), KVCluster);
    state
}

/// Waits until the newest spec is applied and its pods run, and returns the state.
pub(crate) async fn rested(stage: &Stage) -> State {
    let done = poll("the object is made", LIMIT, || async {
        let Ok(cluster) = clusters(stage).get("a").await else { return false };
        let text = serde_json::to_value(&cluster).expect("JSON");
        let ready = text["status"]["conditions"].as_array().into_iter().flatten();
        let reason = ready.filter(|c| c["type"] == "Ready").map(|c| c["reason"].clone()).next();
        text["status"]["observedGeneration"] == text["metadata"]["generation"]
            && matches!(reason.as_ref().and_then(Value::as_str), Some("Unreachable" | "Serving"))
    })
    .await;
    assert!(done.is_ok(), "{:#?}", clusters(stage).get("a").await.map(|c| c.status));
    // Other controllers may still be counting pods.
    let still = || async {
        let before = state(stage).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        state(stage).await == before
    };
    poll("nothing changes for two seconds", LIMIT, still).await.expect("it comes to rest");
    state(stage).await
}

/// Waits for the expected state and shows the first difference if it does not come.
pub(crate) async fn reaches(stage: &Stage, expected: &State, when: &str) {
    let same = || async { state(stage).await == *expected };
    if poll(when, LIMIT, same).await.is_ok() {
        return;
    }
    let found = state(stage).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{when}");
    for (name, object) in expected {
        assert_eq!(&found[name], object, "{when}: {name}");
    }
}

/// Runs an operator that dies at write `k`; false when the object was at rest before.
async fn dies_at(stage: &Stage, k: usize, side: Side, expected: &State) -> bool {
    let faults = Faults::default();
    faults.crash_at(k, side);
    let operator = operator(stage, faults);
    let at_rest = poll("at rest", LIMIT, || async { state(stage).await == *expected });
    tokio::select! {
        () = operator.faults.crashed() => true,
        _ = at_rest => false,
    }
}

/// Goal: a key of the generated Secret goes when it is no longer asked for, and the others keep their
/// content. The first life of the operator makes it, since what is created differs from what is
/// applied later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_generated_key_that_is_no_longer_asked_for_goes() {
    let Some(stage) = kv_stage("kv-secret").await else { return };
    let _operator = operator(&stage, Faults::default());
    let given = Secret {
        metadata: kube::api::ObjectMeta { name: Some("given".into()), ..Default::default() },
        string_data: Some([("password".to_owned(), "swordfish".to_owned())].into()),
        ..Secret::default()
    };
    let secrets = stage.namespace.api::<Secret>();
    secrets.create(&PostParams::default(), &given).await.expect("a valid Secret");
    create(&stage).await;
    rested(&stage).await;
    let content = async || secrets.get("a-kv").await.expect("it is made").data.expect("content");
    let before = content().await;
    assert!(before.contains_key("password"), "{:?}", before.keys());
    let given = json!({ "secretRef": { "name": "given" } });
    for (auth, has_own) in [(given, false), (Value::Null, true)] {
        let patch = Patch::Merge(json!({ "spec": { "resp": { "auth": auth } } }));
        clusters(&stage).patch("a", &PatchParams::default(), &patch).await.expect("a valid change");
        let there = async || content().await.contains_key("password") == has_own;
        poll("the password is there when it is used", LIMIT, there).await.expect("it follows");
        let (now, token) = (content().await, labels::MANAGEMENT_TOKEN_KEY);
        assert_eq!(now[token], before[token], "what is used on is kept");
    }
}

const MANY: usize = 100;
/// Windows of three rounds in which the operator may come to rest.
const WINDOWS_MAX: usize = 5;

/// Goal: at rest the operator costs the API server nothing but its watches. Method: once nothing
/// was sent for two seconds, three more rounds of every object may not send anything either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_kvclusters_at_rest_cost_no_request() {
    let Some(stage) = kv_stage("kv-rest").await else { return };
    let operator = operator(&stage, Faults::default());
    for n in 0..MANY {
        let cluster = KVCluster::new(&format!("a{n}"), KVClusterSpec::default());
        clusters(&stage).create(&PostParams::default(), &cluster).await.expect("a valid object");
    }
    let made = || async {
        let sets = stage.namespace.api::<StatefulSet>().list(&ListParams::default()).await;
        sets.is_ok_and(|sets| {
            let ready = |set: &StatefulSet| set.status.as_ref().and_then(|s| s.ready_replicas);
            sets.items.iter().filter(|set| ready(set) == Some(1)).count() == MANY
        })
    };
    poll("all pods run", LIMIT * 8, made).await.expect("the nodes carry them");
    let sent = || operator.faults.reads() as u64 + operator.metrics.writes();
    let quiet = || async {
        let before = sent();
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        sent() == before
    };
    poll("quiet for two seconds", LIMIT, quiet).await.expect("it comes to rest");
    // A slow machine may deliver a last change after the quiet seconds: the window is tried again,
    // and an operator that asks in every round never gets through one.
    let mut in_windows = Vec::new();
    while in_windows.last() != Some(&0) {
        assert!(in_windows.len() < WINDOWS_MAX, "requests beside the watches: {in_windows:?}");
        let (before, rounds_before) = (sent(), rounds(&operator));
        let enough = || async { rounds(&operator) >= rounds_before + 3 * MANY as u64 };
        poll("three rounds of each", LIMIT, enough).await.expect("they go on");
        in_windows.push(sent() - before);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default();
    eprintln!("operator, toy nodes and test together with {MANY} objects: {memory}");
}

/// Rounds of the engine kind so far.
pub(crate) fn rounds(operator: &Running) -> u64 {
    let name = "controller_runtime_reconcile_total{controller=\"kvcluster\"";
    let text = operator.metrics.encode();
    let samples = text.lines().filter(|line| line.starts_with(name));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_write_of_a_kvcluster_ends_in_the_same_state() {
    let Some(stage) = kv_stage("kv-crash").await else { return };
    let first = operator(&stage, Faults::default());
    create(&stage).await;
    let created = rested(&stage).await;
    change(&stage).await;
    let changed = rested(&stage).await;
    assert_ne!(created, changed);
    delete(&stage).await;
    drop(first);
    let mut crashes = 0;
    for k in 1..=WRITES_MAX {
        let mut died = false;
        for side in [Side::Before, Side::After] {
            create(&stage).await;
            let in_creation = dies_at(&stage, k, side, &created).await;
            let fresh = operator(&stage, Faults::default());
            reaches(&stage, &created, &format!("creation, crash {side:?} write {k}")).await;
            drop(fresh);
            change(&stage).await;
            let in_change = dies_at(&stage, k, side, &changed).await;
            let _fresh = operator(&stage, Faults::default());
            reaches(&stage, &changed, &format!("change, crash {side:?} write {k}")).await;
            delete(&stage).await;
            crashes += usize::from(in_creation) + usize::from(in_change);
            died |= in_creation || in_change;
        }
        if !died {
            break;
        }
    }
    assert!(crashes >= 24, "nine children and a status in creation alone: {crashes}");
}
