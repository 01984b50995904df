//! Goal: wherever the operator dies in any flow of an object's life, and whatever it sees of the
//! past afterwards, a fresh one brings the object to the same end.
//!
//! Method: each flow goes from one spec to another. A run without faults gives both ends. Then the
//! operator dies at a write on the way there, and at one on the way back, before the write or after
//! it; a fresh one must reach the end. The data planes answer as members of a group do, so that
//! objects are ready at the ends. `ORRERY_CRASH=all` tries every write of every flow; else a sample
//! is drawn by `ORRERY_CRASH_SEED`, which is printed.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use orrery_api::kv::{KVCluster, KVNamespace};
use orrery_e2e_cluster::poll;
use orrery_runtime::faults::{Faults, Side};
use serde_json::{Value, json};

use crate::kv::{State, clusters, kv_stage, operator, state};
use crate::operand::Answering;
use crate::stage::{LIMIT, Stage, cleaned};
use crate::stale::{identities, in_the_past, revision};

/// No flow has more writes.
const WRITES_MAX: usize = 30;
/// Crashes of each direction when a sample is drawn.
const SAMPLE: usize = 1;

/// From one spec to another, as merge patches over what the object has.
struct Flow {
    name: &'static str,
    first: Value,
    there: Value,
    /// None where there is no way back: each run is an object of its own.
    back: Option<Value>,
    /// Specs of KVNamespaces that are declared at the second end.
    namespaces: Option<[Value; 2]>,
}

impl Flow {
    fn new(name: &'static str, first: Value, there: Value, back: Value) -> Self {
        Self { name, first, there, back: Some(back), namespaces: None }
    }
}

/// A namespace with nodes that answer.
async fn flow_stage(name: &str) -> Option<(Stage, Answering)> {
    let stage = kv_stage(name).await?;
    let Some(nodes) = stage.namespace.cluster().nodes().cloned() else {
        orrery_e2e_cluster::not_run("toy nodes are needed to answer as data planes");
        return None;
    };
    let answering = Answering::default();
    nodes.run_with(stage.name(), std::sync::Arc::new(answering.clone()));
    Some((stage, answering))
}

async fn create(stage: &Stage, spec: &Value) {
    let spec = serde_json::from_value(spec.clone()).expect("a valid spec");
    let object = KVCluster::new("a", spec);
    clusters(stage).create(&PostParams::default(), &object).await.expect("a valid object");
}

async fn change(stage: &Stage, spec: &Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    clusters(stage).patch("a", &PatchParams::default(), &patch).await.expect("a valid change");
}

/// Everything the operator made and said, with the declared objects and what the processes are.
async fn seen(stage: &Stage, processes: &Answering) -> State {
    let mut state = state(stage).await;
    let declared = stage.namespace.api::<KVNamespace>().list(&ListParams::default()).await;
    for object in declared.expect("a list") {
        let name = format!("KVNamespace {}", object.name_any());
        state.insert(name, cleaned(serde_json::to_value(&object).expect("JSON")));
    }
    // Not which claims there are: those of pods that were removed stay.
    let claims = stage.namespace.api::<PersistentVolumeClaim>().list(&ListParams::default()).await;
    let claims = claims.expect("a list");
    let class = |claim: &PersistentVolumeClaim| claim.spec.as_ref()?.storage_class_name.clone();
    let classes: BTreeSet<Option<String>> = claims.iter().map(class).collect();
    state.insert("classes of the claims".to_owned(), json!(classes));
    for object in state.values_mut() {
        // Which term it is says how often the primary was chosen anew on the way.
        let shards = object.pointer_mut("/status/shards").and_then(Value::as_array_mut);
        for shard in shards.into_iter().flatten() {
            shard["epoch"] = Value::Null;
        }
    }
    for (pod, process) in processes.seen() {
        let told = process.renewed.map(|told| json!([told.followers, told.synchronous]));
        let process = json!({ "declared": process.declared, "told": told,
            "role": format!("{:?}", process.role) });
        state.insert(format!("process {pod}"), process);
    }
    state
}

/// Waits until the newest spec rests and nothing changes any more.
async fn rested(stage: &Stage, processes: &Answering) -> State {
    let done = || async {
        let Ok(object) = clusters(stage).get("a").await else { return false };
        let object = serde_json::to_value(&object).expect("JSON");
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.clone().find(|c| c["type"] == "Ready").cloned().unwrap_or_default();
        ready["observedGeneration"] == object["metadata"]["generation"]
            && (ready["status"] == "True" || ready["reason"] == "Paused")
    };
    if let Err(error) = poll("the object rests", LIMIT, done).await {
        panic!("{error}: {:#?}", clusters(stage).get("a").await.map(|object| object.status));
    }
    let still = || async {
        let before = seen(stage, processes).await;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        seen(stage, processes).await == before
    };
    poll("nothing changes for two seconds", LIMIT, still).await.expect("it comes to rest");
    seen(stage, processes).await
}

async fn reaches(stage: &Stage, processes: &Answering, expected: &State, when: &str) {
    let same = || async { seen(stage, processes).await == *expected };
    if poll(when, LIMIT, same).await.is_ok() {
        return;
    }
    let found = seen(stage, processes).await;
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{when}");
    for (name, object) in expected {
        assert_eq!(&found[name], object, "{when}: {name}");
    }
}

async fn delete(stage: &Stage) {
    for object in
        stage.namespace.api::<KVNamespace>().list(&ListParams::default()).await.expect("a list")
    {
        let api = stage.namespace.api::<KVNamespace>();
        api.delete(&object.name_any(), &DeleteParams::default()).await.expect("it is there");
    }
    clusters(stage).delete("a", &DeleteParams::default()).await.expect("it is there");
    let claims = stage.namespace.api::<PersistentVolumeClaim>();
    let pods = stage.namespace.api::<Pod>();
    let gone = || async {
        let all = ListParams::default();
        state(stage).await.is_empty()
            && pods.list(&all).await.is_ok_and(|pods| pods.items.is_empty())
            && claims.list(&all).await.is_ok_and(|claims| claims.items.is_empty())
    };
    poll("nothing left", LIMIT, gone).await.expect("deleted");
}

/// Carries a flow out in one direction.
async fn act(stage: &Stage, flow: &Flow, there: bool) {
    let api = stage.namespace.api::<KVNamespace>();
    if let Some(specs) = &flow.namespaces {
        for (number, spec) in specs.iter().enumerate() {
            let name = format!("n{number}");
            if there {
                let spec = serde_json::from_value(spec.clone()).expect("a valid spec");
                let object = KVNamespace::new(&name, spec);
                api.create(&PostParams::default(), &object).await.expect("a valid object");
            } else {
                api.delete(&name, &DeleteParams::default()).await.expect("it is there");
            }
        }
    }
    let spec = if there { Some(&flow.there) } else { flow.back.as_ref() };
    if let Some(spec) = spec.filter(|spec| spec.as_object().is_some_and(|map| !map.is_empty())) {
        change(stage, spec).await;
    }
}

/// An operator that dies at write `k`; false when the end was reached before.
async fn dies_at(
    stage: &Stage,
    processes: &Answering,
    (k, side): (usize, Side),
    expected: &State,
) -> bool {
    let faults = Faults::default();
    faults.crash_at(k, side);
    let operator = operator(stage, faults);
    let there = poll("there", LIMIT, || async { seen(stage, processes).await == *expected });
    tokio::select! {
        () = operator.faults.crashed() => true,
        _ = there => false,
    }
}

pub(crate) fn tries_all() -> bool {
    std::env::var("ORRERY_CRASH").is_ok_and(|what| what == "all")
}

/// The points to try, of so many writes.
fn points(writes: usize, name: &str) -> Vec<(usize, Side)> {
    let all: Vec<_> = (1..=writes).flat_map(|k| [(k, Side::Before), (k, Side::After)]).collect();
    if tries_all() || all.len() <= SAMPLE {
        return all;
    }
    let given = std::env::var("ORRERY_CRASH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: usize = given.unwrap_or_else(|| std::process::id() as usize);
    eprintln!("{name}: ORRERY_CRASH_SEED={seed}");
    (0..SAMPLE).map(|n| all[(seed + n * (all.len() / SAMPLE)) % all.len()]).collect()
}

async fn crashes(flow: Flow) {
    let name = flow.name;
    let Some((stage, processes)) = flow_stage(&format!("flow-{name}")).await else { return };
    // The golden run counts the writes of each direction and gives both ends.
    let first = operator(&stage, Faults::default());
    create(&stage, &flow.first).await;
    let start = rested(&stage, &processes).await;
    let before = first.faults.writes().len();
    act(&stage, &flow, true).await;
    let end = rested(&stage, &processes).await;
    let there = first.faults.writes().len() - before;
    assert_ne!(start, end, "{name}: the flow changes something");
    if flow.back.is_some() {
        act(&stage, &flow, false).await;
        reaches(&stage, &processes, &start, &format!("{name}: back without faults")).await;
    }
    drop(first);
    assert!((1..=WRITES_MAX).contains(&there), "{name}: {there} writes");
    let mut crashes = 0;
    for point in points(there, name) {
        if flow.back.is_none() {
            delete(&stage).await;
            create(&stage, &flow.first).await;
            let fresh = operator(&stage, Faults::default());
            reaches(&stage, &processes, &start, &format!("{name}: a new object")).await;
            drop(fresh);
        }
        for (forth, expected) in [(true, &end), (false, &start)] {
            if !forth && flow.back.is_none() {
                continue;
            }
            act(&stage, &flow, forth).await;
            crashes += usize::from(dies_at(&stage, &processes, point, expected).await);
            let _fresh = operator(&stage, Faults::default());
            let when = format!("{name}: {} crash {point:?}", if forth { "there" } else { "back" });
            reaches(&stage, &processes, expected, &when).await;
        }
    }
    eprintln!("{name}: {there} writes, {crashes} crashes");
    assert!(crashes > 0, "{name}: none of the writes came");
    in_a_past_view(&stage, &processes, &flow, (&start, &end)).await;
}

/// A fresh operator that sees the first end only, while the second is there.
async fn in_a_past_view(
    stage: &Stage,
    processes: &Answering,
    flow: &Flow,
    (start, end): (&State, &State),
) {
    if flow.back.is_none() {
        return;
    }
    let name = flow.name;
    reaches(stage, processes, start, name).await;
    let past = revision(stage).await;
    let present = operator(stage, Faults::default());
    act(stage, flow, true).await;
    reaches(stage, processes, end, name).await;
    drop(present);
    let before = (identities(stage).await, pods(stage).await);
    let running = in_the_past(stage, &past, 2).await;
    let during = (identities(stage).await, pods(stage).await);
    assert_eq!(during, before, "{name}: while it sees the past");
    running.faults.lists_at(None);
    running.faults.hold_watches(false);
    reaches(stage, processes, end, &format!("{name}: once it has caught up")).await;
    assert_eq!((identities(stage).await, pods(stage).await), before, "{name}: caught up");
}

/// UIDs of the pods.
async fn pods(stage: &Stage) -> Vec<(String, Option<String>)> {
    let pods = stage.namespace.api::<Pod>().list(&ListParams::default()).await.expect("a list");
    pods.iter().map(|pod| (pod.name_any(), pod.uid())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_added_and_removed() {
    let one = json!({ "followers": 1 });
    crashes(Flow::new("followers", one.clone(), json!({ "followers": 2 }), one)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hibernated_and_woken() {
    let run = json!({ "operation": "Run" });
    crashes(Flow::new("sleep", run.clone(), json!({ "operation": "Hibernate" }), run)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paused_and_resumed() {
    let run = json!({ "operation": "Run" });
    crashes(Flow::new("pause", run.clone(), json!({ "operation": "Pause" }), run)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_by_a_value() {
    let one = json!({ "restart": "one" });
    crashes(Flow::new("restart", one.clone(), json!({ "restart": "two" }), one)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_declared_and_removed() {
    let named = |prefix: &str| {
        json!({ "clusterRef": { "name": "a" }, "class": "Cache",
        "match": { "prefix": prefix } })
    };
    let flow = Flow::new("namespaces", json!({}), json!({}), json!({}));
    let namespaces = Some([named("a:"), named("b:")]);
    crashes(Flow { namespaces, ..flow }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_grown() {
    let size = |size: &str| json!({ "deletionPolicy": "Delete", "storage": { "size": size } });
    let flow = Flow::new("grow", size("1Gi"), size("2Gi"), json!({}));
    crashes(Flow { back: None, ..flow }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_moved_to_another_class() {
    let class = |class: &str| json!({ "followers": 1, "storage": { "storageClassName": class } });
    crashes(Flow::new("move", class("standard"), class("spare"), class("standard"))).await;
}

/// What is wrong with a spec is no reason to let a primary's lease run out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_is_kept_alive_while_its_spec_cannot_be_carried_out() {
    let Some((stage, processes)) = flow_stage("flow-kept").await else { return };
    let first = operator(&stage, Faults::default());
    create(&stage, &json!({ "followers": 1 })).await;
    rested(&stage, &processes).await;
    drop(first);
    for spec in [
        json!({ "memcached": { "mode": "On" } }),
        json!({ "memcached": { "mode": "Off" }, "resp": { "auth": { "secretRef": { "name": "nowhere" } } } }),
        json!({
            "memcached": { "mode": "On" }, "operation": "Pause", "resp": { "auth": null }
        }),
    ] {
        change(&stage, &spec).await;
        let renewals = || processes.seen().get("a-kv-0").map_or(0, |seen| seen.renewals);
        let before = renewals();
        let _fresh = operator(&stage, Faults::default());
        let kept = || async { renewals() >= before + 3 };
        poll("the primary is kept alive", LIMIT, kept).await.unwrap_or_else(|error| {
            panic!("{spec}: {error}");
        });
    }
}
