//! A control plane starts, answers, and keeps tests apart.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace as Resource};
use kube::Api;
use kube::api::ListParams;
use orrery_e2e_cluster::{Cluster, ClusterError, Options, not_run, poll, tool};

const LIMIT: Duration = Duration::from_mins(1);

const CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
data: {answer: '42'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two}
";

#[tokio::test]
async fn the_cluster_answers_as_its_version() {
    let Some(cluster) = Cluster::shared().await else { return };
    let version = cluster.client().apiserver_version().await.expect("a version");
    assert_eq!(version.major, "1");
    assert!(!version.minor.is_empty());
}

#[tokio::test]
async fn clients_of_ended_runtimes_do_not_break_others() {
    let Some(cluster) = Cluster::shared().await else { return };
    let other = cluster.clone();
    let once = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            other.client().apiserver_version().await.expect("a version");
        });
    };
    tokio::task::spawn_blocking(once).await.expect("no panic");
    cluster.client().apiserver_version().await.expect("a version");
}

#[tokio::test]
async fn what_kubectl_applies_a_client_sees_and_a_dropped_namespace_goes() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = cluster.namespace("cleanup").await.expect("a namespace");
    namespace.apply_yaml(CONFIG).await.expect("both are applied");

    let seen = namespace.api::<ConfigMap>().list(&ListParams::default()).await.expect("a list");
    let names: Vec<_> = seen.items.iter().filter_map(|c| c.metadata.name.as_deref()).collect();
    assert!(names.contains(&"one") && names.contains(&"two"), "{names:?}");
    let answer = namespace.kubectl(&["get", "configmap", "one", "-o", "jsonpath={.data.answer}"]);
    assert_eq!(answer.await.expect("kubectl gets it"), "42");

    let name = namespace.name().to_owned();
    drop(namespace);
    let namespaces: Api<Resource> = Api::all(cluster.client());
    let gone = || async { namespaces.get_opt(&name).await.is_ok_and(|found| found.is_none()) };
    poll("the namespace gone", LIMIT, gone).await.expect("it is removed");
}

#[tokio::test]
async fn a_refused_document_says_why() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = cluster.namespace("refused").await.expect("a namespace");
    let error = namespace.apply_yaml("apiVersion: v1\nkind: Unknown\nmetadata: {name: x}\n").await;
    let text = error.expect_err("there is no such kind").to_string();
    assert!(text.contains("Unknown"), "{text}");
}

#[tokio::test]
async fn a_cluster_of_its_own_leaves_nothing_behind() {
    if Cluster::shared_with_nodes().await.is_none() {
        return;
    }
    let options = Options { nodes: 1, ..Options::default() };
    let cluster = Cluster::start(options).await.expect("a second cluster beside the shared one");
    let nodes = cluster.nodes().expect("toy nodes").names().to_vec();
    assert_eq!(nodes, ["toy-1"]);
    let kubeconfig = cluster.kubeconfig_path().to_owned();
    let client = cluster.client();
    drop(cluster);
    assert!(!kubeconfig.exists());
    client.apiserver_version().await.expect_err("nobody answers");
}

#[tokio::test]
async fn helm_is_built_when_asked_for() {
    let built = tokio::task::spawn_blocking(|| tool("helm")).await;
    let helm = match built.expect("no panic") {
        Err(ClusterError::Missing(reason)) => {
            return not_run(&reason);
        }
        other => other.expect("it is built"),
    };
    let output = std::process::Command::new(helm).args(["version", "--short"]).output();
    let version = String::from_utf8(output.expect("it runs").stdout).expect("a text");
    assert!(version.starts_with("v3."), "{version}");
}
