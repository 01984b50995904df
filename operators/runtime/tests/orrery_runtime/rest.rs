//! At rest nothing is sent; what others change is put back; what is no longer asked for goes.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use orrery_api::ConditionType;
use orrery_api::condition::{find, is_true};
use orrery_e2e_cluster::poll;
use orrery_runtime::faults::Faults;
use serde_json::json;

use crate::stage::{LIMIT, Running, Stage, options, stage};
use crate::toy::{ToyItem, ToyItemSpec, ToySpec};

fn spec() -> ToySpec {
    ToySpec { replicas: 1, text: "one".into(), service: true, ..ToySpec::default() }
}

/// The sum of all samples whose line starts with `name` and holds none of `but`.
fn figure(operator: &Running, name: &str, but: &str) -> f64 {
    let text = operator.metrics.encode();
    let samples = text.lines().filter(|line| line.starts_with(name) && !line.contains(but));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_rest_rounds_go_on_and_write_nothing() {
    let Some(stage) = stage("rest").await else { return };
    let operator = stage.plain();
    for n in 0..5 {
        stage.create(&format!("a{n}"), spec()).await;
    }
    for n in 0..5 {
        stage.ready(&format!("a{n}")).await;
    }
    let settled = || async {
        let before = operator.metrics.writes();
        tokio::time::sleep(Duration::from_secs(2)).await;
        operator.metrics.writes() == before
    };
    poll("quiet for two seconds", LIMIT, settled).await.expect("it comes to rest");
    let rounds =
        |operator: &Running| figure(operator, "controller_runtime_reconcile_total", "\u{0}");
    let (before, writes) = (rounds(&operator), operator.metrics.writes());
    let reads_before = operator.faults.reads();
    poll("twenty more rounds", LIMIT, || async { rounds(&operator) >= before + 20.0 })
        .await
        .expect("the net calls every second");
    assert_eq!(operator.metrics.writes(), writes, "no round wrote");
    let reads = operator.faults.reads();
    assert_eq!(reads, reads_before, "no round read: 0 requests per object");
}

/// Changes a child of each kind and expects it back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_of_every_child_is_repaired() {
    let Some(stage) = stage("drift").await else { return };
    let _operator = stage.plain();
    stage.create("a", spec()).await;
    stage.ready("a").await;
    let expected = stage.state().await;
    let edit = |patch: serde_json::Value| Patch::Merge(patch);
    let by = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    let label = json!({ "metadata": { "labels": { "app.kubernetes.io/version": "edited" } } });
    stage
        .namespace
        .api::<ServiceAccount>()
        .patch("a-toy", &by, &edit(label.clone()))
        .await
        .expect("edited");
    stage
        .namespace
        .api::<Secret>()
        .patch("a-toy", &by, &edit(json!({ "data": { "management-token": null } })))
        .await
        .expect("edited");
    stage
        .namespace
        .api::<ConfigMap>()
        .patch("a-toy", &by, &edit(json!({ "data": { "text": "edited" } })))
        .await
        .expect("edited");
    stage.namespace.api::<Service>().patch("a-toy", &by, &edit(label)).await.expect("edited");
    stage
        .namespace
        .api::<StatefulSet>()
        .patch("a-toy", &by, &edit(json!({ "spec": { "replicas": 3 } })))
        .await
        .expect("edited");
    back(&stage, &expected, "edited").await;
    stage
        .namespace
        .api::<ServiceAccount>()
        .delete("a-toy", &DeleteParams::default())
        .await
        .expect("there");
    stage.namespace.api::<Secret>().delete("a-toy", &DeleteParams::default()).await.expect("there");
    stage
        .namespace
        .api::<ConfigMap>()
        .delete("a-toy", &DeleteParams::default())
        .await
        .expect("there");
    stage
        .namespace
        .api::<Service>()
        .delete("a-toy", &DeleteParams::default())
        .await
        .expect("there");
    stage
        .namespace
        .api::<StatefulSet>()
        .delete("a-toy", &DeleteParams::default())
        .await
        .expect("there");
    back(&stage, &expected, "deleted").await;
}

async fn back(
    stage: &Stage,
    expected: &std::collections::BTreeMap<String, serde_json::Value>,
    what: &str,
) {
    let done = poll(&format!("{what} children are back"), LIMIT, || async {
        stage.state().await == *expected
    })
    .await;
    if done.is_err() {
        assert_eq!(&stage.state().await, expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_spec_stalls_and_going_back_recovers() {
    let Some(stage) = stage("refused").await else { return };
    let _operator = stage.plain();
    stage.create("a", ToySpec { broken: true, ..spec() }).await;
    stage
        .until("a", "stalled", |toy| {
            toy.status.as_ref().is_some_and(|status| {
                is_true(&status.common.conditions, ConditionType::Stalled)
                    && status.common.observed_generation == Some(1)
            })
        })
        .await;
    stage.change("a", json!({ "broken": false })).await;
    stage.ready("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_holds_an_edit_back_and_hibernation_stops_the_pods() {
    let Some(stage) = stage("operation").await else { return };
    let _operator = stage.plain();
    stage.create("a", spec()).await;
    stage.ready("a").await;
    stage.change("a", json!({ "operation": "Pause", "text": "two" })).await;
    stage
        .until("a", "paused", |toy| {
            let conditions = toy.status.as_ref().map(|status| &status.common.conditions);
            conditions.is_some_and(|conditions| {
                find(conditions, ConditionType::Ready).is_some_and(|ready| ready.reason == "Paused")
            })
        })
        .await;
    let toy = stage.toys().get("a").await.expect("there");
    assert_eq!(toy.status.expect("reported").common.observed_generation, Some(1));
    let text = |map: ConfigMap| map.data.and_then(|data| data.get("text").cloned());
    let map = stage.namespace.api::<ConfigMap>().get("a-toy").await.expect("there");
    assert_eq!(text(map).as_deref(), Some("one"), "nothing is changed while paused");
    stage.change("a", json!({ "operation": "Hibernate" })).await;
    stage.ready("a").await;
    let set = stage.namespace.api::<StatefulSet>().get("a-toy").await.expect("kept");
    assert_eq!(set.spec.and_then(|spec| spec.replicas), Some(0));
    let map = stage.namespace.api::<ConfigMap>().get("a-toy").await.expect("there");
    assert_eq!(text(map).as_deref(), Some("two"));
    stage.change("a", json!({ "operation": "Run" })).await;
    stage.ready("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_object_alone_creates_the_default_engine() {
    let Some(stage) = stage("declared").await else { return };
    let _operator = stage.plain();
    let item = ToyItem::new("i", ToyItemSpec { toy: None, value: 1, map: None });
    stage.namespace.api::<ToyItem>().create(&PostParams::default(), &item).await.expect("valid");
    stage.ready("default").await;
    // The engine's name is deleted under it: it is created again.
    stage.delete("default").await;
    stage.ready("default").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_operator_leaves_the_object_of_a_newer_one_alone() {
    let Some(stage) = stage("release").await else { return };
    let release = |version: &str| {
        let mut options = options(stage.name());
        options.version = version.to_owned();
        stage.operator(options, Faults::default())
    };
    let newer = release("2.1.0");
    stage.create("a", spec()).await;
    stage.ready("a").await;
    let made = stage.state().await;
    newer.stop().await.expect("an orderly end");

    let older = release("2.0.9");
    stage.change("a", json!({ "text": "two" })).await;
    stage
        .until("a", "refused", |toy| {
            let conditions = toy.status.as_ref().map(|status| &status.common.conditions);
            let stalled = conditions.and_then(|all| find(all, ConditionType::Stalled));
            stalled.is_some_and(|stalled| {
                stalled.reason == "UnsupportedVersion" && stalled.message.contains("2.1.0")
            })
        })
        .await;
    let service = stage.namespace.api::<Service>();
    service.delete("a-toy", &DeleteParams::default()).await.expect("there");
    let rounds =
        |operator: &Running| figure(operator, "controller_runtime_reconcile_total", "\u{0}");
    let before = rounds(&older);
    poll("three rounds", LIMIT, || async { rounds(&older) >= before + 3.0 }).await.expect("net");
    assert!(
        older.faults.writes().iter().all(|write| write.ends_with("/toys/a/status")),
        "{:?}",
        older.faults.writes()
    );
    older.stop().await.expect("an orderly end");

    let _newer = release("2.1.1");
    stage.ready("a").await;
    let state = stage.state().await;
    assert_eq!(state.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>(), "all is back");
    assert_eq!(state["ConfigMap a-toy"]["data"]["text"], "two");
}
