//! A control plane starts, answers, and keeps tests apart.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace as Resource};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::ListParams;
use orrery_e2e_cluster::{Cluster, ClusterError, Options, not_run, poll, tool};
use serde_json::json;

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
async fn an_installed_kind_is_served_at_once_and_may_be_installed_again() {
    let Some(cluster) = Cluster::shared().await else { return };
    let crd: CustomResourceDefinition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "moons.e2e.orrery.dev" },
        "spec": {
            "group": "e2e.orrery.dev",
            "scope": "Namespaced",
            "names": { "kind": "Moon", "plural": "moons", "singular": "moon" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                } },
            }],
        },
    }))
    .expect("a definition");
    cluster.install_crds(std::slice::from_ref(&crd)).await.expect("it is installed");
    cluster.install_crds(&[crd]).await.expect("it is installed again");
    let namespace = cluster.namespace("kinds").await.expect("a namespace");
    let moon = "{apiVersion: e2e.orrery.dev/v1, kind: Moon, metadata: {name: io}}";
    namespace.apply_yaml(moon).await.expect("the kind is served");
    let name = namespace.kubectl(&["get", "moons", "-o", "name"]).await.expect("a list");
    assert_eq!(name, "moon.e2e.orrery.dev/io\n");
}

#[tokio::test]
async fn a_restricted_namespace_refuses_a_pod_that_may_do_everything() {
    let Some(cluster) = Cluster::shared().await else { return };
    let namespace = cluster.namespace("restricted").await.expect("a namespace");
    namespace.enforce_restricted().await.expect("it is labelled");
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: free}, \
               spec: {containers: [{name: main, image: none}]}}";
    let error = namespace.apply_yaml(pod).await.expect_err("it is refused").to_string();
    assert!(error.contains("PodSecurity"), "{error}");
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
