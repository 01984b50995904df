//! Toy nodes carry what the real scheduler and controllers send them.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use orrery_e2e_cluster::{Cluster, Namespace, Order, Rule, poll, poll_for};
use serde_json::json;

const LIMIT: Duration = Duration::from_mins(1);

const STATEFUL_SET: &str = "
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 2
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: none
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

async fn ready_replicas(sets: &Api<StatefulSet>) -> i32 {
    let set = sets.get("web").await.expect("the set is there");
    set.status.and_then(|status| status.ready_replicas).unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|status| status.restart_count).sum()
}

async fn with_set(name: &str) -> Option<Namespace> {
    let (cluster, _) = Cluster::shared_with_nodes().await?;
    let namespace = cluster.namespace(name).await.expect("a namespace");
    namespace.apply_yaml(STATEFUL_SET).await.expect("it is applied");
    Some(namespace)
}

#[tokio::test]
async fn a_stateful_set_with_volumes_becomes_ready_and_goes() {
    let Some(namespace) = with_set("stateful").await else { return };
    let begun = std::time::Instant::now();
    let sets = namespace.api::<StatefulSet>();
    poll("two pods ready", LIMIT, async || ready_replicas(&sets).await == 2).await.expect("ready");
    println!("two pods with volumes ready in {:?}", begun.elapsed());

    let claims = namespace.api::<PersistentVolumeClaim>();
    let claim = claims.get("data-web-1").await.expect("a claim of the second pod");
    assert_eq!(claim.status.and_then(|status| status.phase).as_deref(), Some("Bound"));

    let pods = namespace.api::<Pod>();
    sets.delete("web", &DeleteParams::default()).await.expect("it is deleted");
    let gone =
        async || pods.list(&ListParams::default()).await.is_ok_and(|pods| pods.items.is_empty());
    poll("no pod left", LIMIT, gone).await.expect("garbage collection ends the pods");
    claims.get("data-web-1").await.expect("the claim stays");
}

#[tokio::test]
async fn a_service_of_marked_pods_has_their_addresses() {
    let Some(namespace) = with_set("endpoints").await else { return };
    let slices = namespace.api::<EndpointSlice>();
    let two = async || {
        let slices = slices.list(&ListParams::default()).await.expect("a list").items;
        let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
        let ready = |endpoint: &&Endpoint| {
            endpoint.conditions.as_ref().is_some_and(|held| held.ready == Some(true))
        };
        endpoints.filter(ready).count() == 2
    };
    poll("two endpoints", LIMIT, two).await.expect("the real controller writes them");
}

#[tokio::test]
async fn a_deleted_pod_comes_back_with_its_volume() {
    let Some(namespace) = with_set("comeback").await else { return };
    let (sets, pods) = (namespace.api::<StatefulSet>(), namespace.api::<Pod>());
    poll("two pods ready", LIMIT, async || ready_replicas(&sets).await == 2).await.expect("ready");
    let claims = namespace.api::<PersistentVolumeClaim>();
    let volume = async || claims.get("data-web-0").await.expect("a claim").spec?.volume_name;
    let (before, first) = (volume().await, pods.get("web-0").await.expect("a pod").metadata.uid);

    pods.delete("web-0", &DeleteParams::default()).await.expect("it is deleted");

    poll("another pod ready", LIMIT, async || {
        let uid = pods.get_opt("web-0").await.ok().flatten().and_then(|pod| pod.metadata.uid);
        uid.is_some() && uid != first && ready_replicas(&sets).await == 2
    })
    .await
    .expect("it comes back");
    assert_eq!(volume().await, before);
}

#[tokio::test]
async fn a_held_pod_stops_the_rollout_until_it_is_let_go() {
    let Some((cluster, nodes)) = Cluster::shared_with_nodes().await else { return };
    let namespace = cluster.namespace("held").await.expect("a namespace");
    let hold = nodes.rule(namespace.name(), "web-1", Rule::Hold);
    namespace.apply_yaml(STATEFUL_SET).await.expect("it is applied");
    let (sets, pods) = (namespace.api::<StatefulSet>(), namespace.api::<Pod>());
    let bound = async || {
        let pod = pods.get_opt("web-1").await.ok().flatten()?;
        pod.spec.as_ref()?.node_name.as_ref()?;
        Some(pod)
    };
    let held = poll_for("the second pod bound", LIMIT, bound).await.expect("it is scheduled");
    assert_eq!(held.status.and_then(|status| status.phase).as_deref(), Some("Pending"));
    drop(hold);
    poll("two pods ready", LIMIT, async || ready_replicas(&sets).await == 2).await.expect("ready");
}

#[tokio::test]
async fn a_refused_pod_fails_with_the_reason() {
    let Some((cluster, nodes)) = Cluster::shared_with_nodes().await else { return };
    let namespace = cluster.namespace("refused").await.expect("a namespace");
    let _refuse = nodes.rule(namespace.name(), "alone", Rule::Refuse("OutOfcpu".to_owned()));
    let yaml = "{apiVersion: v1, kind: Pod, metadata: {name: alone}, \
                spec: {containers: [{name: main, image: none}]}}";
    namespace.apply_yaml(yaml).await.expect("it is applied");
    let pods = namespace.api::<Pod>();
    let failed = async || {
        let status = pods.get("alone").await.ok()?.status?;
        (status.phase.as_deref() == Some("Failed")).then_some(status)
    };
    let status = poll_for("a failed pod", LIMIT, failed).await.expect("it fails");
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
}

#[tokio::test]
async fn a_crash_is_counted_and_unready_shows() {
    let Some(namespace) = with_set("crash").await else { return };
    let nodes = namespace.cluster().nodes().expect("toy nodes").clone();
    let (sets, pods) = (namespace.api::<StatefulSet>(), namespace.api::<Pod>());
    poll("two pods ready", LIMIT, async || ready_replicas(&sets).await == 2).await.expect("ready");

    assert!(nodes.order(namespace.name(), "web-0", Order::Crash));
    let crashed = async || pods.get("web-0").await.is_ok_and(|pod| restarts(&pod) == 1);
    poll("a restart", LIMIT, crashed).await.expect("it restarts");

    assert!(nodes.order(namespace.name(), "web-0", Order::Ready(false)));
    let one = async || ready_replicas(&sets).await == 1;
    poll("one pod ready", LIMIT, one).await.expect("it is not ready");
    assert!(!nodes.order(namespace.name(), "web-7", Order::Crash), "there is no such pod");
}

#[tokio::test]
async fn a_bound_claim_grows() {
    let Some(namespace) = with_set("grow").await else { return };
    let claims = namespace.api::<PersistentVolumeClaim>();
    let capacity = async || {
        let status = claims.get_opt("data-web-0").await.ok().flatten()?.status?;
        Some(status.capacity?.get("storage")?.0.clone())
    };
    let bound = async || capacity().await.as_deref() == Some("1Gi");
    poll("a bound claim", LIMIT, bound).await.expect("it is bound");
    let size = json!({ "spec": { "resources": { "requests": { "storage": "2Gi" } } } });
    let (params, size) = (PatchParams::default(), Patch::Merge(size));
    let grown = claims.patch("data-web-0", &params, &size);
    grown.await.expect("the class allows growing");
    let bigger = async || capacity().await.as_deref() == Some("2Gi");
    poll("a grown claim", LIMIT, bigger).await.expect("it grows");
}
