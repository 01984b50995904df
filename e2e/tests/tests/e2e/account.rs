//! The chart's account in a cluster: its rights as the chart renders them, and a kubeconfig of it.
//!
//! The operators of these tests run with it, so that a right that is missing fails them.

use std::path::{Path, PathBuf};

use orrery_e2e_cluster::Cluster;
use serde_json::{Value, json};

use crate::charts::{chart, helm};

/// Long enough for any test; the account's namespace goes before.
const TOKEN_DURATION: &str = "--duration=6h";

/// What of the chart makes an account and its rights.
const PARTS: [&str; 3] = [
    "--show-only=templates/serviceaccount.yaml",
    "--show-only=templates/rbac.yaml",
    "--show-only=templates/aggregate.yaml",
];

/// An account in `namespace` with the rights of a release, in all namespaces or in `only` this.
pub(crate) async fn install(cluster: &Cluster, release: &str, namespace: &str, only: Option<&str>) {
    let text = render(release, namespace, only);
    let applied = cluster.kubectl_with_input(["apply", "-f", "-"], &text).await;
    let applied = applied.expect("kubectl runs");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    if only.is_some() {
        goes_with(cluster, release, namespace).await;
    }
}

/// Lets the role that reads catalogs, which belongs to the whole cluster, go with the namespace.
async fn goes_with(cluster: &Cluster, release: &str, namespace: &str) {
    let uid = ["get", "namespace", namespace, "-o=jsonpath={.metadata.uid}"];
    let uid = cluster.kubectl(uid).await.expect("kubectl runs").stdout;
    let uid = String::from_utf8(uid).expect("it is text");
    let owner = json!({ "apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid });
    let patch = json!({ "metadata": { "ownerReferences": [owner] } }).to_string();
    let name = format!("{release}-{namespace}-catalogs");
    let objects = [format!("clusterrole/{name}"), format!("clusterrolebinding/{name}")];
    let words = ["patch", &objects[0], &objects[1], "--type=merge", "--patch", &patch];
    let patched = cluster.kubectl(words).await.expect("kubectl runs");
    assert!(patched.status.success(), "{}", String::from_utf8_lossy(&patched.stderr));
}

/// Removes what [`install`] made outside its namespace too.
pub(crate) async fn remove(cluster: &Cluster, release: &str, namespace: &str) {
    let text = render(release, namespace, None);
    let words = ["delete", "--ignore-not-found", "--wait=false", "-f", "-"];
    cluster.kubectl_with_input(words, &text).await.expect("kubectl runs");
}

fn render(release: &str, namespace: &str, only: Option<&str>) -> String {
    let path = chart("orrery");
    let mut args = vec!["template", release, &path, "--namespace", namespace];
    args.extend(["--kube-version", "1.34.0"]);
    let set = only.map(|only| format!("namespaces={{{only}}}"));
    match &set {
        Some(set) => {
            // Roles for people are the whole cluster's.
            args.extend(["--set", set]);
            args.extend(&PARTS[..2]);
        }
        None => args.extend(PARTS),
    }
    helm(&args).unwrap_or_else(|what| panic!("{what}"))
}

/// Where [`kubeconfig`] writes in a folder.
pub(crate) fn kubeconfig_in(folder: &Path) -> PathBuf {
    folder.join("account.kubeconfig")
}

/// A kubeconfig in `folder` with which a program acts as the account `name` of `namespace`.
pub(crate) async fn kubeconfig(cluster: &Cluster, namespace: &str, name: &str, folder: &Path) {
    let words = ["create", "token", name, "--namespace", namespace, TOKEN_DURATION];
    let made = cluster.kubectl(words).await.expect("kubectl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let token = String::from_utf8(made.stdout).expect("a token is text");
    let admin = std::fs::read_to_string(cluster.kubeconfig_path()).expect("it was written");
    let mut config: Value = serde_saphyr::from_str(&admin).expect("it is YAML");
    config["users"][0]["user"] = json!({ "token": token.trim() });
    std::fs::write(kubeconfig_in(folder), config.to_string()).expect("a file");
}
