//! What becomes of running objects: volumes that grow, rollouts that wait for a release or a
//! window, restarts on request.

use serde_json::Value;

use crate::kubernetes::Stage;

fn cluster(spec: &str) -> String {
    format!(
        "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: a}}\nspec: {spec}\n"
    )
}

async fn uid_of_pod(stage: &Stage, pod: &str) -> String {
    let path = ["get", "pod", pod, "-o=jsonpath={.metadata.uid}"];
    stage.until(&path, |uid| !uid.is_empty() && !uid.contains(' ')).await
}

async fn get(stage: &Stage) -> Value {
    let text = stage.kubectl(&["get", "kvcluster/a", "-o=json"]).await.expect("it is there");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_grows_with_the_spec_while_the_pod_runs() {
    let Some(stage) = Stage::new("grow").await else { return };
    stage.apply(&cluster("{storage: {size: 1Gi}}")).await;
    stage.ready("kvcluster/a").await;
    let before = uid_of_pod(&stage, "a-kv-0").await;
    stage.apply(&cluster("{storage: {size: 2Gi}}")).await;
    let claim = ["get", "pvc/data-a-kv-0", "-o=jsonpath={.status.capacity.storage}"];
    stage.until(&claim, |size| size == "2Gi").await;
    stage.ready("kvcluster/a").await;
    assert_eq!(uid_of_pod(&stage, "a-kv-0").await, before, "the pod must not restart");
    let smaller = stage.dry_run(&cluster("{storage: {size: 1Gi}}")).await;
    assert!(smaller.is_err_and(|why| why.contains("size cannot shrink")));
    // A template cannot change; what the set was made with stays, and the object is at rest.
    let template = "-o=jsonpath={.spec.volumeClaimTemplates[0].spec.resources.requests.storage}";
    assert_eq!(stage.kubectl(&["get", "statefulset/a-kv", template]).await.as_deref(), Ok("1Gi"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_may_not_grow_says_so() {
    let Some(stage) = Stage::new("fixed").await else { return };
    stage.apply(&cluster("{storage: {size: 1Gi}}")).await;
    stage.ready("kvcluster/a").await;
    // The most a namespace may ask for, as an administrator sets it.
    let quota = "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: volumes}\n\
                 spec: {hard: {requests.storage: 1Gi}}\n";
    stage.apply(quota).await;
    let used = ["get", "resourcequota/volumes", "-o=jsonpath={.status.used.requests\\.storage}"];
    stage.until(&used, |used| used == "1Gi").await;
    stage.apply(&cluster("{storage: {size: 2Gi}}")).await;
    let stalled = "-o=jsonpath={.status.conditions[?(@.type==\"Stalled\")].reason}";
    stage.until(&["get", "kvcluster/a", stalled], |reason| reason == "VolumeNotGrown").await;
    stage.kubectl(&["delete", "resourcequota/volumes"]).await.expect("it is deleted");
    stage.ready("kvcluster/a").await;
    let claim = ["get", "pvc/data-a-kv-0", "-o=jsonpath={.status.capacity.storage}"];
    stage.until(&claim, |size| size == "2Gi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_value_restarts_once_and_a_gated_change_waits_for_its_release() {
    let Some(stage) = Stage::new("roll").await else { return };
    stage.apply(&cluster("{restart: one}")).await;
    stage.ready("kvcluster/a").await;
    let first = uid_of_pod(&stage, "a-kv-0").await;
    stage.apply(&cluster("{restart: two}")).await;
    let path = ["get", "pod", "a-kv-0", "-o=jsonpath={.metadata.uid}"];
    let second = stage.until(&path, |uid| !uid.is_empty() && !uid.contains(' ') && *uid != first);
    let second = second.await;
    stage.ready("kvcluster/a").await;

    stage.apply(&cluster("{restart: three, rollout: {strategy: Gated}}")).await;
    let reason = "-o=jsonpath={.status.conditions[?(@.type==\"Reconciling\")].reason}";
    stage.until(&["get", "kvcluster/a", reason], |text| text == "WaitingForRelease").await;
    assert_eq!(uid_of_pod(&stage, "a-kv-0").await, second, "it waits");
    let object = get(&stage).await;
    let revision = object["status"]["updateRevision"].as_str().expect("a revision").to_owned();
    let told = object["status"]["conditions"].to_string();
    assert!(told.contains(&revision), "the message names what to write: {told}");
    let released =
        format!("{{restart: three, rollout: {{strategy: Gated, released: {revision}}}}}");
    stage.apply(&cluster(&released)).await;
    stage.until(&path, |uid| !uid.is_empty() && !uid.contains(' ') && *uid != second).await;
    stage.ready("kvcluster/a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_release_waits_for_the_window_and_a_change_of_the_spec_does_not() {
    let Some(mut stage) = Stage::new("window").await else { return };
    // A minute of the past: the window is closed for a year.
    let closed =
        "maintenanceWindows: [{name: rare, schedule: \"0 0 29 2 *\", durationSeconds: 60}]";
    stage.apply(&cluster(&format!("{{{closed}}}"))).await;
    stage.ready("kvcluster/a").await;
    let first = uid_of_pod(&stage, "a-kv-0").await;
    stage.upgrade("registry.example/orrery:next");
    let image = ["get", "statefulset/a-kv", "-o=jsonpath={..containers[0].image}"];
    stage.until(&image, |image| image.ends_with(":next")).await;
    let message = "-o=jsonpath={.status.conditions[?(@.type==\"Ready\")].message}";
    stage.until(&["get", "kvcluster/a", message], |text| text.contains("maintenance window")).await;
    stage.ready("kvcluster/a").await;
    assert_eq!(uid_of_pod(&stage, "a-kv-0").await, first, "it waits");
    stage.apply(&cluster(&format!("{{restart: now, {closed}}}"))).await;
    let path = ["get", "pod", "a-kv-0", "-o=jsonpath={.metadata.uid}"];
    stage.until(&path, |uid| !uid.is_empty() && !uid.contains(' ') && *uid != first).await;
    stage.ready("kvcluster/a").await;
}
